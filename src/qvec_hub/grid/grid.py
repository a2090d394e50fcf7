"""`Grid`: the name of a set of representable values."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from typing import Any

from pydantic_core import CoreSchema, core_schema

from ..errors import GridError
from ..util.scalars import integer_in, number_in
from ..util.untrusted import printable
from ..util.validation import refuse, refuse_missing
from .packing import TERNARY
from .scale_rules.registry import SCALE_RULES
from .trellis import FANS

__all__ = ["GRANULARITIES", "MAX_GROUP_SIZE", "Grid"]


GRANULARITIES = ("tensor", "channel", "group")


MAX_GROUP_SIZE = 1 << 16  # rows are filled up to whole groups, and no linear layer of a ViT has rows this long


@dataclass(frozen=True)
class Grid:
    """The set of representable values.

    Args:
        bits: width of a code, 2 to 8, or 1.6 for ternary codes, of which five are stored in a byte.
        granularity: what shares a scale: ``"tensor"``, ``"channel"`` (an output row) or ``"group"``.
        range: the registered scale rule that picks the scale: ``"absmax"`` (the paper's), ``"mse"``, ``"hqq"``, …, or
            ``"trellis"``, whose codes 0 … 2**bits-1 stand for levels by the codes above them, times the scale.
        symmetric: codes ``-2**(bits-1) … 2**(bits-1)-1`` times the scale, ternary ``-1 … 1``; otherwise
            ``0 … 2**bits-1`` times the scale minus a shift.
        group_size: inputs per scale; only with ``granularity="group"``. A last, shorter group is fine.

    Raises:
        GridError: when the combination does not exist.
    """

    bits: float = 3
    granularity: str = "channel"
    range: str = "absmax"
    symmetric: bool = True
    group_size: int | None = None

    def __post_init__(self) -> None:
        bits: float | None = TERNARY if number_in(self.bits) == TERNARY else integer_in(self.bits)
        if bits is None or not TERNARY <= bits <= 8:
            raise GridError(
                f"grid: bits must be an integer from 2 to 8, or {TERNARY} on ternary grids, found {_shown(self.bits)}"
            )
        if self.granularity not in list(GRANULARITIES):
            raise GridError(
                f"grid: granularity must be one of {_listed(GRANULARITIES)}, found {_shown(self.granularity)}"
            )
        if self.range not in SCALE_RULES:
            known = _listed(SCALE_RULES.names())
            raise GridError(f"grid: range must be one of {known}, found {_shown(self.range)}")
        if not isinstance(self.symmetric, bool):
            raise GridError(f"grid: symmetric must be true or false, found {_shown(self.symmetric)}")
        if self.granularity == "group":
            size = integer_in(self.group_size)
            if size is None or not 1 <= size <= MAX_GROUP_SIZE:
                raise GridError(
                    f"grid: granularity 'group' needs a group_size from 1 to {MAX_GROUP_SIZE}, found "
                    f"{_shown(self.group_size)}"
                )
            object.__setattr__(self, "group_size", size)
        elif self.group_size is not None:
            raise GridError(
                f"grid: group_size={_shown(self.group_size)} goes only with granularity='group', "
                f"found {self.granularity!r}"
            )
        object.__setattr__(self, "bits", bits)  # a plain integer, whatever library it came from
        if self.symmetric and SCALE_RULES.get(self.range).affine_only:
            raise GridError(f"grid: range {self.range!r} fits the shift of an affine grid; pass symmetric=False")
        if self.trellis and not (self.symmetric and self.fan in FANS):
            raise GridError(
                f"grid: range {self.range!r} exists on ternary grids and at 2 or 3 bits, symmetric; found {bits} bits, "
                f"{'symmetric' if self.symmetric else 'affine'}"
            )
        if bits == TERNARY and not self.symmetric:
            raise GridError("grid: ternary codes stand for -1, 0 and 1 times the scale; expected symmetric=True")

    @property
    def fan(self) -> int:
        """How many codes there are."""
        return 3 if self.bits == TERNARY else 2 ** int(self.bits)

    @property
    def qmin(self) -> int:
        """The least code: ``-2**(bits-1)``, ternary -1, on an affine grid or a trellis 0."""
        return self.qmax - self.fan + 1

    @property
    def qmax(self) -> int:
        """The largest code: ``2**(bits-1) - 1``, ternary 1, on an affine grid or a trellis ``fan - 1``."""
        return (self.fan - 1) // 2 if self.symmetric and not self.trellis else self.fan - 1

    @property
    def trellis(self) -> bool:
        """Whether a code's level depends on the codes above it, see `qvec_hub.grid.trellis`."""
        return SCALE_RULES.get(self.range).trellis

    @property
    def codes_are_independent(self) -> bool:
        """Whether a row's codes may be replaced by others with the same scales, and all other rows stay as they are."""
        return self.granularity != "tensor" and not self.trellis

    @property
    def rows_are_independent(self) -> bool:
        """Whether a row is rounded the same, whatever other rows are rounded with it."""
        return self.codes_are_independent and not SCALE_RULES.get(self.range).joint

    @property
    def name(self) -> str:
        """For people and tags, e.g. ``int3-channel-absmax``; `Grid.parse` reads it back."""
        granularity = f"group{self.group_size}" if self.granularity == "group" else self.granularity
        return f"{self.width}-{granularity}-{self.range}" + ("" if self.symmetric else "-affine")

    @property
    def width(self) -> str:
        """The name of the width: ``"int3"``, ``"ternary"``."""
        return "ternary" if self.bits == TERNARY else f"int{self.bits}"

    @classmethod
    def parse(cls, spec: Grid | str | dict[str, Any]) -> Grid:
        """A grid from ``"int3"`` or ``"ternary"`` (the default grid of a width), a full `name`, a dict, or a grid.

        Raises:
            GridError: when `spec` names no grid.
        """
        if isinstance(spec, Grid):
            return spec
        if isinstance(spec, dict):
            return cls.from_dict(spec)
        match = isinstance(spec, str) and _NAME.fullmatch(spec)
        if not match:
            raise GridError(
                f"grid: expected a name such as 'int3' or 'int2-channel-mse', or a Grid, found {_shown(spec)}; "
                "widths are ternary and int2 to int8"
            )
        size = match["size"]
        return cls(
            bits=int(match["bits"]) if match["bits"] else TERNARY,
            granularity="group" if size else match["granularity"] or "channel",
            range=match["range"] or "absmax",
            symmetric=match["affine"] is None,
            group_size=int(size) if size else None,
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Grid:
        """A grid from the values `to_dict` gives; those left out take their defaults.

        Raises:
            GridError: when a key is unknown or the values name no grid.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(str(key) for key in values if key not in known)
        if unknown:
            shown = ", ".join(printable(key, 60) for key in unknown[:8])
            raise GridError(f"grid: unknown keys {shown}; known are {_listed(sorted(known))}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, as JSON values; `from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        """In a file all keys of a grid are needed: a default would name another grid in a later version."""
        return core_schema.no_info_plain_validator_function(_of_file)

    def __str__(self) -> str:
        return self.name


def _of_file(values: Any) -> Grid:
    if isinstance(values, Grid):
        return values
    if not isinstance(values, dict):
        refuse("", "an object", values)
    names = [field.name for field in fields(Grid)]
    refuse_missing(values, names)
    for key in values.keys() - names:
        refuse(str(key), "no such key", values[key])
    try:
        return Grid(**values)
    except GridError as error:
        refuse("", "one that exists", values, why=str(error))


_NAME = re.compile(
    r"(?:int(?P<bits>\d{1,9})|ternary)"
    r"(?:-(?:(?P<granularity>tensor|channel)|group(?P<size>\d{1,9})))?"
    r"(?:-(?P<range>(?!affine)[a-z]+))?(?P<affine>-affine)?"
)


def _shown(value: object) -> str:
    try:
        return printable(repr(value), 60)
    except ValueError:  # an integer with more digits than Python prints
        return f"a {type(value).__name__} beyond printing"


def _listed(names: Any) -> str:
    return ", ".join(repr(name) for name in names)
