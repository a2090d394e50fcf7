"""Codes of 2 to 8 bits, or ternary ones, packed densely into bytes, and unpacked. Imports nothing of this package."""

from .layout import TERNARY, packed_size
from .pack import pack
from .unpack import unpack

__all__ = ["TERNARY", "pack", "packed_size", "unpack"]
