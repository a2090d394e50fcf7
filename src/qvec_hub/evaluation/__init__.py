"""Counting a model's right predictions on a dataset, exactly, on one process or several.

Imports `data`, `loading` and `results`.
"""
