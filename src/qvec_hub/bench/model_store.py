"""Folders of a suite's models and vectors, and their names in rows.

<root>/dinov2-s/base                                     a base that was made here
<root>/base-xs/seed-0/digits/probe                       a receiver: the base with a fitted head
<root>/base-xs/seed-0/digits/fp                          a receiver: a fine-tune
<root>/base-xs/seed-0/digits/int2-channel-mse/qat        its quantization-aware twin
<root>/base-xs/seed-0/digits/int2-channel-mse/vector     the vector between the two
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..grid.grid import Grid
from ..zoo.base import BASES, base_path

__all__ = ["FINE_TUNE", "PROBE", "Library", "ReceiverKind", "donor_name", "receiver_label", "receiver_name"]

ReceiverKind = Literal["fine-tune", "probe"]
FINE_TUNE: ReceiverKind = "fine-tune"
PROBE: ReceiverKind = "probe"


@dataclass(frozen=True)
class Library:
    """A folder of trained models."""

    root: Path

    def base(self, base: str) -> str | Path:
        """A base: made in the library, shipped with the package, or a Hub id."""
        if self.own_base(base).is_dir():
            return self.own_base(base)
        return base_path(base) if base in BASES else base

    def own_base(self, base: str) -> Path:
        """The folder of a base that is pretrained or converted into the library."""
        return self.root / _short(base) / "base"

    def similarity(self, base: str) -> Path:
        """The file with the similarity of tasks under a base."""
        return self.root / _short(base) / "similarity.json"

    def task(self, base: str, seed: int, task: str) -> Path:
        """The folder of all models trained from a base on a task."""
        return self.root / _short(base) / f"seed-{seed}" / task

    def receiver(self, base: str, seed: int, task: str, kind: ReceiverKind) -> Path:
        """The folder of a receiver."""
        return self.probe(base, seed, task) if kind == PROBE else self.fp(base, seed, task)

    def probe(self, base: str, seed: int, task: str) -> Path:
        """The folder of a base with a fitted head."""
        return self.task(base, seed, task) / "probe"

    def fp(self, base: str, seed: int, task: str) -> Path:
        """The folder of a plain fine-tune."""
        return self.task(base, seed, task) / "fp"

    def qat(self, base: str, seed: int, task: str, grid: Grid) -> Path:
        """The folder of a quantization-aware fine-tune."""
        return self.task(base, seed, task) / grid.name / "qat"

    def vector(self, base: str, seed: int, task: str, grid: Grid) -> Path:
        """The folder of the vector between the two."""
        return self.task(base, seed, task) / grid.name / "vector"


def receiver_name(base: str, task: str, kind: ReceiverKind = FINE_TUNE) -> str:
    """``zoo-xs-digits``, ``dinov2-s-digits-probe``: what a receiver would be called when published."""
    return f"{_short(base).replace('base-', 'zoo-', 1)}-{receiver_label(task, kind)}"


def receiver_label(task: str, kind: str) -> str:
    """``digits``, ``digits-probe``: what tells a receiver from others of its base."""
    return f"{task}-probe" if kind == PROBE else task


def donor_name(base: str, task: str, grid: Grid) -> str:
    """``zoo-xs-digits-int2-channel-mse-qvec``"""
    return f"{receiver_name(base, task)}-{grid.name}-qvec"


def _short(base: str) -> str:
    return base.rpartition("/")[2]
