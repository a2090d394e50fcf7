"""A benchmark row: one count of one model on one split, and all it depends on.

Only `n` and `correct` are measured; shares and gains follow from them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, field, fields
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict, StrictInt, StrictStr, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from ..errors import DataError
from ..grid.grid import Grid
from ..util.scalars import number_in
from ..util.validation import Finite, Kind, Stored, findings, raising, refuse, refuse_missing, validated

if TYPE_CHECKING:
    from .counts import EvalResult

__all__ = ["CONTROLS", "COUNT", "PROXY", "SCALE_POLICIES", "TEXT", "DonorUse", "ImagesUse", "Row", "build_row"]

CONTROLS = ("random", "shuffle", "task_vector")
SCALE_POLICIES = ("unit", "recommended", "auto", "validation")
WITHOUT_VECTOR = ("fp", "ptq", "own_qat")
PROXY = "proxy"  # as the split of `ImagesUse`: images that have nothing to do with the dataset
LEFT_OUT = ("correct_top5", "calibration")  # keys that older rows do not have


def _is_time(text: str) -> bool:
    try:
        # Before Python 3.11, fromisoformat does not know the Z that many write for UTC.
        return datetime.fromisoformat(re.sub("Z$", "+00:00", text)).tzinfo is not None
    except ValueError:
        return False


TEXT = Kind("a non-empty string", str.strip)
NAME = Kind("a lower-case identifier", re.compile("[a-z][a-z0-9_]*").fullmatch)
COUNT = Kind("an integer of 0 or more", lambda number: number >= 0)
NUMBER = Kind("a finite number")
SECONDS = Kind("a number of seconds, 0 or more", lambda number: number >= 0)
TEXTS = Kind("an object of strings")
TIME = Kind("a time with its offset from UTC, such as 2026-11-20T12:00:00+00:00", _is_time)


@raising(DataError)
@dataclass(frozen=True)
class DonorUse(Stored):
    """A vector that was added to a receiver, alone or merged with others.

    Attributes:
        repo: its Hub id, or its name before it is published.
        weight: its factor in the merged vector.
    """

    repo: Annotated[StrictStr, TEXT]
    revision: Annotated[StrictStr | None, TEXT] = None
    weight: Annotated[Finite, NUMBER] = 1.0


@raising(DataError)
@dataclass(frozen=True)
class ImagesUse(Stored):
    """The images that codes and scales were computed with.

    Attributes:
        split: of the row's dataset, or `PROXY`.
        n: number of images.
        seed: of their choice.
    """

    split: Annotated[StrictStr, TEXT]
    n: Annotated[StrictInt, COUNT]
    seed: Annotated[StrictInt, COUNT]


@raising(DataError)
@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Row:
    """`correct` of `n` images of a split, counted on a receiver that was treated by `method`.

    Args:
        suite, suite_version: the set of measurements this is one of.
        receiver, receiver_revision: the fine-tuned model, by Hub id and commit, or before it is published by name and
            ``sha256:`` of its weights; under ``own_qat`` too, so that what belongs to one receiver shares it.
        dataset, dataset_revision, split: the images.
        method: ``"fp"`` (unquantized), ``"ptq"`` (rounded to nearest, no vector), ``"qvec"`` (vector added, then
            rounded), ``"own_qat"`` (the receiver's own quantization-aware training), or a calibrated baseline's
            lower-case name, such as ``"gptq"``.
        grid: what the weights were rounded to; None (in JSON an empty object) for ``fp`` alone.
        donors: the vectors added, empty without any. For a control: those it imitates.
        merge: how they became one vector; None if a single one was added as it is.
        scale: what the vector was multiplied by, None without a vector.
        scale_policy: how the scale came about, one of `SCALE_POLICIES`; ``"unit"`` is always 1. None without a
            vector, and for a scale set by hand, such as the points of an accuracy curve.
        control: the one of `CONTROLS` that took the vector's place, or None.
        seed: the seed of what was trained for the measurement.
        n, correct: images shown, and images whose class was predicted. `top1` is their ratio.
        wall_s, image_backend, versions, device: as in `qvec_hub.results.counts.EvalResult`.
        created: when it was counted, ISO 8601 with the offset from UTC.
        correct_top5: images whose class was among the five largest logits; None where that was not counted.
        calibration: the images that were shown to find codes; None where there were none, or nobody recorded them.

    Raises:
        DataError: when a value has the wrong type or is out of range, or values contradict each other.
    """

    suite: Annotated[StrictStr, TEXT]
    suite_version: Annotated[StrictStr, TEXT]
    receiver: Annotated[StrictStr, TEXT]
    receiver_revision: Annotated[StrictStr | None, TEXT]
    dataset: Annotated[StrictStr, TEXT]
    dataset_revision: Annotated[StrictStr | None, TEXT]
    split: Annotated[StrictStr, TEXT]
    method: Annotated[StrictStr, NAME]
    grid: Grid | None
    donors: tuple[DonorUse, ...]
    merge: Annotated[StrictStr | None, NAME]
    scale: Annotated[Finite | None, NUMBER]
    scale_policy: Annotated[StrictStr | None, Kind(f"one of {', '.join(SCALE_POLICIES)}", SCALE_POLICIES.__contains__)]
    control: Annotated[StrictStr | None, Kind(f"one of {', '.join(CONTROLS)}", CONTROLS.__contains__)]
    seed: Annotated[StrictInt, COUNT]
    n: Annotated[StrictInt, COUNT]
    correct: Annotated[StrictInt, COUNT]
    top1: float = field(init=False)
    wall_s: Annotated[Finite, SECONDS]
    image_backend: Annotated[StrictStr, TEXT]
    versions: Annotated[dict[StrictStr, StrictStr], TEXTS]
    device: Annotated[StrictStr, TEXT]
    created: Annotated[StrictStr, TIME]
    correct_top5: Annotated[StrictInt | None, COUNT] = None
    calibration: ImagesUse | None = None

    def __post_init__(self) -> None:
        for name, wanted, value in _contradictions(self):
            refuse(name, wanted, value)
        object.__setattr__(self, "top1", self.correct / self.n)

    @model_validator(mode="wrap")
    @classmethod
    def _of_line(cls, values: Any, build: Callable[[Any], Row]) -> Row:
        """A line of a file writes out what follows from the others, and an empty object for no grid."""
        if not isinstance(values, dict):
            return build(values)
        refuse_missing(values, KEYS, LEFT_OUT)
        if values["grid"] is None:
            refuse("grid", "an object", None)
        others = {key: value for key, value in values.items() if key != "top1"}
        row = build(others | {"grid": None if values["grid"] == {} else values["grid"]})
        top1 = number_in(values["top1"])
        if top1 is None or abs(top1 - row.top1) > 1e-6:
            refuse("top1", f"correct / n = {row.top1}", values["top1"])
        return row

    @classmethod
    def of(
        cls,
        result: EvalResult,
        *,
        suite: str,
        suite_version: str,
        receiver: str,
        dataset: str,
        method: str,
        grid: Grid | str | None,
        seed: int,
        receiver_revision: str | None = None,
        dataset_revision: str | None = None,
        donors: Sequence[DonorUse] = (),
        merge: str | None = None,
        scale: float | None = None,
        scale_policy: str | None = None,
        control: str | None = None,
        calibration: ImagesUse | None = None,
    ) -> Row:
        """Make the row of an evaluation that has just ended, from its result and what was evaluated."""
        return cls(
            suite=suite,
            suite_version=suite_version,
            receiver=receiver,
            receiver_revision=receiver_revision,
            dataset=dataset,
            dataset_revision=dataset_revision,
            split=result.split,  # type: ignore[arg-type]  # None is refused by name
            method=method,
            grid=None if grid is None else Grid.parse(grid),
            donors=tuple(donors),
            merge=merge,
            scale=scale,
            scale_policy=scale_policy,
            control=control,
            seed=seed,
            n=result.n,
            correct=result.correct,
            wall_s=result.wall_s,
            image_backend=result.image_backend,
            versions=dict(result.versions),
            device=result.device,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            correct_top5=result.correct_top5,
            calibration=calibration,
        )

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON values, keys in the order of the fields; without those of `LEFT_OUT` that are None."""
        grid = {} if self.grid is None else self.grid.to_dict()
        values = asdict(self) | {"grid": grid, "donors": [asdict(donor) for donor in self.donors]}
        return {key: value for key, value in values.items() if value is not None or key not in LEFT_OUT}

    @classmethod
    def from_dict(cls, values: Any, where: str = "row") -> Row:
        """Build a row from parsed JSON; unknown keys are ignored with a warning.

        Raises:
            DataError: when it is no valid row; the message names `where`, the key, what was expected and found.
        """
        row, unknown = build_row(values, where)
        if unknown:
            warnings.warn(f"{where}: ignoring unknown keys {', '.join(unknown)}", stacklevel=2)
        return row


KEYS = [each.name for each in fields(Row)]


def _contradictions(row: Row) -> Iterator[tuple[str, str, Any]]:
    """Values that are each of their kind but contradict each other: the key, what its value must be, what it is."""
    if row.n < 1:
        yield "n", "at least one image", row.n
    if row.correct > row.n:
        yield "correct", f"at most n, which is {row.n}", row.correct
    if row.correct_top5 is not None and not row.correct <= row.correct_top5 <= row.n:
        yield "correct_top5", f"from {row.correct} to {row.n}, as correct and n are", row.correct_top5
    if row.method == "fp" and row.grid is not None:
        yield "grid", "an empty one with method 'fp'", str(row.grid)
    if row.method != "fp" and row.grid is None:
        yield "grid", f"the grid of method {row.method!r}", {}
    if row.method == "qvec" and not row.donors:
        yield "donors", "at least one with method 'qvec'", []
    if row.method in WITHOUT_VECTOR and row.donors:
        yield "donors", f"none with method {row.method!r}", len(row.donors)
    for name in () if row.donors else ("merge", "scale", "scale_policy", "control"):
        if getattr(row, name) is not None:
            yield name, "null without donors", getattr(row, name)
    if row.donors and row.scale is None:
        yield "scale", "a number, as there are donors", None
    if len(row.donors) > 1 and row.merge is None:
        yield "merge", "the method that merged several donors", None
    if row.scale_policy == "unit" and row.scale != 1:
        yield "scale", "1 under scale_policy 'unit'", row.scale


def build_row(values: Any, where: str) -> tuple[Row, list[str]]:
    """A row from parsed JSON, and the keys that no row has.

    Raises:
        DataError: when it is no valid row; the message names `where`, the key, what was expected and found.
    """
    try:
        return validated(Row, values)
    except ValidationError as error:
        raise DataError(f"{where}: {findings(error)[0]}; take the row out and measure it again") from None
