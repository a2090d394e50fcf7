"""Doors to other libraries: checkpoints of timm, open_clip and the method's authors in, ordinary checkpoints out.

May import everything up to `loading`; the benchmark, whose bases may come from elsewhere, stands above it.
"""
