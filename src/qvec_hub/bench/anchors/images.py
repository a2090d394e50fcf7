"""The images of a suite of anchors: the split that is counted, and calibration images."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from ...data.hub_dataset import dataset_revision
from ...data.images import load_split
from ...errors import DataError
from ...evaluation.images import rows_to_take
from .suite import AnchorImages

__all__ = ["AnchorData", "spread_over_classes"]


class AnchorData:
    """The images that a suite names, each split opened at its first use.

    Args:
        token: for a gated or private dataset; None is the one that is logged in.
    """

    def __init__(self, spec: AnchorImages, token: str | None = None) -> None:
        self.spec, self.token = spec, token

    @cached_property
    def test(self) -> Dataset:
        """The images that are counted.

        Raises:
            DataError: when the dataset cannot be read, is gated, or lacks the split.
        """
        whole = self._open(self.spec.test_split)
        return whole.select(rows_to_take(len(whole), self.spec.test))

    @cached_property
    def calibration(self) -> Dataset:
        """Images of the train split, evenly spread over its classes; all of them where it has fewer than are asked for.

        Raises:
            DataError: as `test`, or when they would be images that are counted.
        """
        if self.spec.train_split == self.spec.test_split:
            raise DataError(
                f"dataset {self.spec.dataset!r}: expected calibration images from another split than "
                f"{self.spec.test_split!r}, which is counted; name a folder with train and val, or pass --data-free"
            )
        train = self._open(self.spec.train_split)
        labels = np.asarray(train.with_format("numpy")["label"][:])
        return train.select(spread_over_classes(labels, self.spec.calibration, self.spec.seed))

    @property
    def revision(self) -> str | None:
        """The commit that the counted images were read at; None for images that are not from the Hub."""
        return dataset_revision(self.test)

    def _open(self, split: str) -> Dataset:
        spec = self.spec
        where: dict[str, Any] = {"config": spec.config, "revision": spec.revision, "token": self.token}
        if spec.files and split in spec.files:
            where["files"] = {split: spec.files[split]}
        try:
            return load_split(spec.dataset, split, None, spec.image_column, spec.label_column, **where)[0]
        except DataError as error:
            advice = _advice(str(error), spec.dataset)
            raise DataError(f"{error}; {advice}" if advice else str(error)) from error


def spread_over_classes(labels: NDArray[np.integer], count: int, seed: int) -> list[int]:
    """Draw `count` rows, of every class as many or one fewer, and return them in ascending order.

    Args:
        labels: class ids ``(n,)``; all rows are taken where there are no more than `count`.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(len(labels))
    by_class = drawn[np.argsort(labels[drawn], kind="stable")]
    sizes = np.unique(labels[by_class], return_counts=True)[1]
    turn = np.concatenate([np.arange(size) for size in sizes])  # of each row among those of its class
    order = np.lexsort((rng.permutation(len(labels)), turn))  # chance says which classes give one more
    return sorted(by_class[order[:count]].tolist())


def _advice(found: str, dataset: str) -> str:
    """What to do about an error that is another library's."""
    text = found.lower()
    if re.search(r"\bgated\b|\b40[13]\b", text):
        return (
            f"ask for access on the page of {dataset}, then log in with `hf auth login` or pass --token; images that "
            "lie on this machine go with --images"
        )
    if "disk space" in text or "no space left" in text:
        return "free some space, or set HF_HOME to a folder on another disk"
    if "no connection" in text:
        return "images that lie on this machine go with --images"
    return ""
