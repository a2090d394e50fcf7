"""Doors to other libraries: checkpoints of timm, open_clip and the method's authors in, ordinary checkpoints out.

May import everything up to `loading`; only the command line stands above it.
"""
