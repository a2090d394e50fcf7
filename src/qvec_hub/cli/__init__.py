"""The ``qvec`` command line: one file a command group, assembled here."""

from .app import main

__all__ = ["main"]
