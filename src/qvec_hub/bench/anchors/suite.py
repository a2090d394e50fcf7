"""A suite of anchors: published classifiers, the images they are counted on, and the measurements on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from ...errors import DataError
from ...grid.grid import Grid
from ...results.row import Row
from ..methods import calibrated, proxied
from ..suite import Limit, Measure, Name, Seed, Strict, suite_path, validated_suite

__all__ = ["AnchorCell", "AnchorImages", "AnchorSuite", "anchor_cells", "cell_of_row", "load_anchors"]

HERE = Path(__file__).parent  # the suites of the package
Key = tuple[str, str, Grid | None]


class AnchorImages(Strict):
    """The images of a suite.

    Attributes:
        dataset: a Hub id, a folder of class folders, or whatever `qvec_hub.data.images.load_images` takes.
        config, revision, image_column, label_column: as for `load_images`.
        train_split: where calibration images are drawn from.
        test_split: what is counted.
        files: for a split of a Hub dataset, a pattern of its files in the repository; others are not fetched.
        test: number of images to count, evenly spread over the split; None is all.
        calibration: number of images that calibrated methods are shown.
        seed: of their choice.
    """

    dataset: str = Field(min_length=1)
    config: str | None = None
    revision: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    train_split: str = "train"
    test_split: str = "validation"
    files: Mapping[str, str] | None = None
    test: Limit | None = None
    calibration: Limit = 1024
    seed: Seed = 0


class AnchorSuite(Strict):
    """The measurements to make; ``imagenet-anchors.yaml`` beside this file is one.

    Attributes:
        models: timm models on the Hub, or folders of such.
    """

    name: Name
    version: str
    about: str
    models: tuple[str, ...] = Field(min_length=1)
    images: AnchorImages
    measure: tuple[Measure, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> AnchorSuite:
        short = [short_name(model) for model in self.models]
        if len(set(short)) < len(short):  # folders and tables name models by it
            raise ValueError("models: expected names that differ behind the last slash; found one twice")
        for each in self.measure:
            if each.donors or not (each.method in ("fp", "ptq", *calibrated()) or proxied(each.method)):
                raise ValueError(f"measure: anchors have no vectors and no training, found method {each.method!r}")
            if each.method != "fp" and not each.grids:
                raise ValueError(f"measure: method {each.method!r} needs grids, such as [int3-channel-mse-affine]")
        return self

    def on(self, **changes: Any) -> AnchorSuite:
        """The suite with other values of `AnchorImages`; those that are None stay as they are.

        Another dataset drops what belongs to the suite's own: config, revision, columns and files.
        """
        given = {key: value for key, value in changes.items() if value is not None}
        if "dataset" in given:
            own = ("config", "revision", "image_column", "label_column", "files")
            given = dict.fromkeys(own) | given
        return self.model_copy(update={"images": self.images.model_copy(update=given)}) if given else self


@dataclass(frozen=True)
class AnchorCell:
    """One measurement, which makes one row."""

    model: str
    method: str
    grid: Grid | None

    @property
    def key(self) -> Key:
        """Identifies the cell's row among all rows of its suite."""
        return self.model, self.method, self.grid

    @property
    def needs_data(self) -> bool:
        """Whether images of the dataset are shown to the model before it is counted."""
        return self.method in calibrated()

    def __str__(self) -> str:
        return " ".join([short_name(self.model), self.method, *([self.grid.name] if self.grid else [])])


def anchor_cells(
    suite: AnchorSuite, models: Sequence[str] = (), bits: Sequence[int] = (), data_free: bool = False
) -> list[AnchorCell]:
    """List the cells of a suite once each, model by model.

    Args:
        models: only these of the suite, by their whole or short names; empty is all.
        bits: only grids of these widths, and the unquantized models.
        data_free: leave out what needs images of the dataset.

    Raises:
        DataError: when the suite has no such model or width.
    """
    chosen = [model for model in suite.models if not models or model in models or short_name(model) in models]
    unknown = [name for name in models if name not in (*suite.models, *map(short_name, suite.models))]
    if unknown:
        raise DataError(f"suite {suite.name}: expected models among {', '.join(suite.models)}, found {unknown[0]!r}")
    widths = {grid.bits for each in suite.measure for grid in each.grids or ()}
    missing = [width for width in bits if width not in widths]
    if missing:
        raise DataError(f"suite {suite.name}: expected bits among {sorted(widths)}, found {missing[0]}")
    cells = [
        AnchorCell(model, each.method, grid)
        for model in chosen
        for each in suite.measure
        for grid in each.grids or (None,)
        if not bits or grid is None or grid.bits in bits
    ]
    return [cell for cell in dict.fromkeys(cells) if not (data_free and cell.needs_data)]


def cell_of_row(row: Row) -> AnchorCell:
    """The cell that a row belongs to."""
    return AnchorCell(row.receiver, row.method, row.grid)


def short_name(model: str) -> str:
    """``timm/vit_small_patch16_224.augreg_in21k_ft_in1k`` -> what timm's own tables call it."""
    return model.rstrip("/").rpartition("/")[2]


def load_anchors(source: str | Path) -> AnchorSuite:
    """Load a suite of anchors of the package by its name, or one from a YAML file.

    Raises:
        DataError: when there is none, or it is not valid; the message names each error with its place in the file.
    """
    return validated_suite(suite_path(source, HERE), AnchorSuite)
