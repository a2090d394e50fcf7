"""The ``qvec`` command line: one file a command group, assembled here."""

from . import train  # noqa: F401  (registers its command)
from .app import main

__all__ = ["main"]
