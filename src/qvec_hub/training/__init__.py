"""Making donors: a plain and a quantization-aware fine-tune of one base on transformers' `Trainer`.

Imports `data`, `vector` and `grid`.
"""
