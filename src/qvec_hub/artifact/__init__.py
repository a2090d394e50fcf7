"""The files of a vector and of a quantized model's record: config, schema, tensors, encoding, base fingerprint, images.

Knows what a file may hold and not where it comes from; imports `grid` and `util`.
"""
