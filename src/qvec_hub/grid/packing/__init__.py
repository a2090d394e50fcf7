"""Codes of 2 to 8 bits packed densely into bytes, and unpacked. Imports nothing of this package."""

from .layout import packed_size
from .pack import pack
from .unpack import unpack

__all__ = ["pack", "packed_size", "unpack"]
