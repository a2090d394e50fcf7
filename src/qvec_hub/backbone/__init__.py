"""The one room that knows transformers' models: names of tensors, checkpoints, processors and forward passes.

Imports `util`, and `hub.transfer` for the commit a checkpoint comes from.
"""
