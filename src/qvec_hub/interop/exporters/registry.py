"""The registry of export formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...util.extras import require_packages
from ...util.registry import Registry

__all__ = ["EXPORTERS", "Exporter", "exporter"]

Write = Callable[[Any, Path], str]


@dataclass(frozen=True)
class Exporter:
    """One format.

    Attributes:
        name, about: for ``--to`` and its help.
        packages: that it needs beside the core, in the extra ``export``.
        write: a model and an empty folder -> the Python code that loads what was written.
    """

    name: str
    about: str
    packages: tuple[str, ...]
    write: Write

    def refuse_missing(self) -> None:
        """Raise QVecError when a package that it needs is not installed."""
        require_packages(self.packages, "export", f"export to {self.name}")


EXPORTERS: Registry[Exporter] = Registry("export format")


def exporter(name: str, about: str, packages: tuple[str, ...] = ()) -> Callable[[Write], Write]:
    """Enter a function as an export format; see `Exporter`."""

    def enter(write: Write) -> Write:
        EXPORTERS.add(Exporter(name, about, packages, write))
        return write

    return enter
