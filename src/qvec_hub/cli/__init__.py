"""The ``qvec`` command line: one file a command group, assembled here."""

from . import apply, bench, demo, eval, hub, interop, merge, train, vectors, zoo  # noqa: F401  # importing a module registers its commands
from .app import main

__all__ = ["main"]
