"""`from_pretrained`, `QVecConfig` and the transformers quantizer that patches and packs while weights arrive.

Imports `apply`, `layers` and everything below them.
"""
