"""Proxy images: images to run a model on when no image of its task is available.

Imports `backbone` for the receiver's image processor.
"""
