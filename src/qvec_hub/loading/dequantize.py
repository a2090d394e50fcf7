"""Turn a quantized model back into an ordinary float one."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from ..layers.dequantize import dequantize_layers_

__all__ = ["dequantize_"]


def dequantize_(model: PreTrainedModel, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """Replace packed weights by the float values of their grid, in place, and forget that they were packed.

    The logits stay the same, bit for bit. The model then saves, trains and exports like any float model of
    transformers; ``model.dequantize()`` is this function.

    Args:
        dtype: of the model afterwards; by default its dtype now.

    Returns:
        The same model.
    """
    dequantize_layers_(model)
    for name in ("push_to_hub", "dequantize", "hf_quantizer", "quantization_method", "is_quantized"):
        vars(model).pop(name, None)
    if "quantization_config" in vars(model.config):
        del model.config.quantization_config
    return model if dtype is None else model.to(dtype)  # type: ignore[arg-type]
