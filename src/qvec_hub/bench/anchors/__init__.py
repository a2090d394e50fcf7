"""Anchors: full-size checkpoints of timm, rounded and counted on the dataset that they were trained for.

Receivers here are classifiers as they were published. Nothing is trained, and no vector is added.
"""
