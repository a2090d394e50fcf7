"""A benchmark row: one count of one model on one split, and all it depends on.

Only `n` and `correct` are measured; shares and gains follow from them.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ..errors import DataError, GridError
from ..grid.grid import Grid
from .checks import COUNT, NAME, NUMBER, SECONDS, TEXT, TEXTS, TIME, Check, one_of, or_null, shown

if TYPE_CHECKING:
    from .counts import EvalResult

__all__ = ["CONTROLS", "SCALE_POLICIES", "DonorUse", "Row", "build_row"]

CONTROLS = ("random", "shuffle", "task_vector")
SCALE_POLICIES = ("unit", "recommended", "auto", "validation")
WITHOUT_VECTOR = ("fp", "ptq", "own_qat")


@dataclass(frozen=True)
class DonorUse:
    """A vector that was added to a receiver, alone or merged with others.

    Attributes:
        repo: its Hub id, or its name before it is published.
        weight: its factor in the merged vector.
    """

    repo: str
    revision: str | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check(self, {"repo": TEXT, "revision": or_null(TEXT), "weight": NUMBER})
        object.__setattr__(self, "weight", float(self.weight))


@dataclass(frozen=True)
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

    Raises:
        DataError: when a value has the wrong type or is out of range, or values contradict each other.
    """

    suite: str
    suite_version: str
    receiver: str
    receiver_revision: str | None
    dataset: str
    dataset_revision: str | None
    split: str
    method: str
    grid: Grid | None
    donors: tuple[DonorUse, ...]
    merge: str | None
    scale: float | None
    scale_policy: str | None
    control: str | None
    seed: int
    n: int
    correct: int
    top1: float = field(init=False)
    wall_s: float
    image_backend: str
    versions: dict[str, str]
    device: str
    created: str

    def __post_init__(self) -> None:
        _check(self, CHECKS)
        _check_together(self)
        exact = {"top1": self.correct / self.n, "donors": tuple(self.donors), "wall_s": float(self.wall_s)}
        exact["scale"] = None if self.scale is None else float(self.scale)
        for name, value in exact.items():
            object.__setattr__(self, name, value)

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
        )

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON values, keys in the order of the fields."""
        grid = {} if self.grid is None else self.grid.to_dict()
        return asdict(self) | {"grid": grid, "donors": [asdict(donor) for donor in self.donors]}

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


def _are_donors(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(donor, DonorUse) for donor in value)


CHECKS: dict[str, Check] = {
    "suite": TEXT,
    "suite_version": TEXT,
    "receiver": TEXT,
    "receiver_revision": or_null(TEXT),
    "dataset": TEXT,
    "dataset_revision": or_null(TEXT),
    "split": TEXT,
    "method": NAME,
    "grid": ("a grid", lambda value: value is None or isinstance(value, Grid)),
    "donors": ("a sequence of DonorUse", _are_donors),
    "merge": or_null(NAME),
    "scale": or_null(NUMBER),
    "scale_policy": or_null(one_of(*SCALE_POLICIES)),
    "control": or_null(one_of(*CONTROLS)),
    "seed": COUNT,
    "n": COUNT,
    "correct": COUNT,
    "wall_s": SECONDS,
    "image_backend": TEXT,
    "versions": TEXTS,
    "device": TEXT,
    "created": TIME,
}


def _check(record: Any, checks: Mapping[str, Check]) -> None:
    for name, (wanted, holds) in checks.items():
        value = getattr(record, name)
        if not holds(value):
            raise DataError(f"{name}: expected {wanted}, found {shown(value)}")


def _check_together(row: Row) -> None:
    """Values that are each of their kind can still contradict each other."""
    about_vectors = {name: getattr(row, name) for name in ("merge", "scale", "scale_policy", "control")}
    stray = {name: value for name, value in about_vectors.items() if value is not None}
    rules = [
        (row.n < 1, "n", "at least one image", row.n),
        (row.correct > row.n, "correct", f"at most n, which is {row.n}", row.correct),
        (row.method == "fp" and row.grid is not None, "grid", "an empty one with method 'fp'", str(row.grid)),
        (row.method != "fp" and row.grid is None, "grid", f"the grid of method {row.method!r}", {}),
        (row.method == "qvec" and not row.donors, "donors", "at least one with method 'qvec'", []),
        (row.method in WITHOUT_VECTOR and row.donors, "donors", f"none with method {row.method!r}", len(row.donors)),
        (not row.donors and stray, next(iter(stray), ""), "null without donors", next(iter(stray.values()), None)),
        (row.donors and row.scale is None, "scale", "a number, as there are donors", None),
        (len(row.donors) > 1 and row.merge is None, "merge", "the method that merged several donors", None),
        (row.scale_policy == "unit" and row.scale != 1, "scale", "1 under scale_policy 'unit'", row.scale),
    ]
    for broken, name, wanted, value in rules:
        if broken:
            raise DataError(f"{name}: expected {wanted}, found {shown(value)}")


def build_row(values: Any, where: str) -> tuple[Row, list[str]]:
    """A row and the keys that no row has.

    Raises:
        DataError: naming `where` and the key.
    """
    try:
        unknown = _check_keys(values, Row, "")
        donors = values["donors"]
        if not isinstance(donors, list):
            raise DataError(f"donors: expected a list, found {shown(donors)}")
        parsed = {f.name: values[f.name] for f in fields(Row) if f.init}
        parsed["grid"] = _grid(values["grid"])
        parsed["donors"] = tuple(_donor(donor, f"donors[{i}].", unknown) for i, donor in enumerate(donors))
        row = Row(**parsed)
        top1 = values["top1"]
        if not NUMBER[1](top1) or abs(top1 - row.top1) > 1e-6:
            raise DataError(f"top1: expected correct / n = {row.top1}, found {shown(top1)}")
    except DataError as error:
        raise DataError(f"{where}: {error}; take the row out and measure it again") from None
    return row, unknown


def _check_keys(values: Any, cls: Any, prefix: str) -> list[str]:
    """Refuse a missing key of a dataclass; return the unknown ones."""
    if not isinstance(values, dict):
        raise DataError(f"{prefix.rstrip('.') or 'row'}: expected an object, found {shown(values)}")
    names = [f.name for f in fields(cls)]
    missing = [prefix + name for name in names if name not in values]
    if missing:
        raise DataError(f"{missing[0]}: expected the keys {', '.join(names)}, found none of {', '.join(missing)}")
    return sorted(prefix + name for name in values if name not in names)


def _grid(values: Any) -> Grid | None:
    if values == {}:
        return None
    unknown = _check_keys(values, Grid, "grid.")  # a default would name another grid in a later version
    if unknown:
        raise DataError(f"{unknown[0]}: expected no such key, found {shown(values)}")
    try:
        return Grid.from_dict(values)
    except (GridError, TypeError) as error:
        raise DataError(f"grid: expected one that exists, found {shown(values)} ({error})") from None


def _donor(values: Any, prefix: str, unknown: list[str]) -> DonorUse:
    unknown += _check_keys(values, DonorUse, prefix)
    try:
        return DonorUse(values["repo"], values["revision"], values["weight"])
    except DataError as error:
        raise DataError(f"{prefix}{error}") from None
