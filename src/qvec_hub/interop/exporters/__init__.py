"""Formats that other tools read, one file each; importing this package enters them into the registry."""

from . import compressed_tensors, float_checkpoint, onnx_model, torch_program

__all__ = ["compressed_tensors", "float_checkpoint", "onnx_model", "torch_program"]
