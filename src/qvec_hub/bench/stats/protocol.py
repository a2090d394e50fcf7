"""Protocols: transfers in which many receivers were treated in the same way belong together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..controls.registry import CONTROLS
from ..methods import label
from .measurement import fixed_scale
from .transfer import Transfer

__all__ = ["Protocol", "group"]

POLICIES = {
    "unit": "λ = 1",
    "recommended": "recommended λ",
    "auto": "automatic λ",
    "validation": "λ from validation (not zero-shot)",
}


@dataclass(frozen=True)
class Protocol:
    """How receivers of a base were treated; sorts by base and grid, then treatments before their controls.

    Attributes:
        grid: its name; empty without rounding.
        method, merge, control: as in a row.
        donors: ``"none"``, ``"one"`` (a single vector, unchanged) or ``"merged"``.
        scale_policy: as in a row, but ``"unit"`` for a scale of 1 set by hand.
        scale: the scale if it was set by hand, else None.
        own: whether the vector is of the receiver's own task: a ceiling.
    """

    base: str
    grid: str
    method: str
    donors: str = "none"
    merge: str | None = None
    scale_policy: str | None = None
    scale: float | None = None
    control: str | None = None
    own: bool = False

    @classmethod
    def of(cls, transfer: Transfer) -> Protocol:
        """The protocol of a transfer."""
        row = transfer.row
        donors = "merged" if row.merge is not None else "one" if row.donors else "none"
        policy, scale = fixed_scale(row)
        return cls(
            base=transfer.base,
            grid="" if row.grid is None else row.grid.name,
            method=row.method,
            donors=donors,
            merge=row.merge,
            scale_policy=policy,
            scale=scale,
            control=row.control,
            own=transfer.is_own,
        )

    @property
    def label(self) -> str:
        """A name for tables, without base and grid, such as ``"mean of others, λ = 1.5"``."""
        by_hand = "" if self.scale is None else f"λ = {self.scale:g}"
        return self._label(f", {POLICIES.get(self.scale_policy or '', by_hand)}")

    @property
    def label_without_scale(self) -> str:
        """The same without the scale, such as ``"mean of others"``."""
        return self._label("")

    def _label(self, scale: str) -> str:
        if self.method == "own_qat":
            return "own QAT"
        method = label(self.method)
        if self.donors == "none":
            return method
        vector = "own donor" if self.own else "one donor" if self.donors == "one" else f"{self.merge} of others"
        control = "" if self.control is None else f"{CONTROLS.get(self.control).label} control of "
        then = "" if self.method == "qvec" else f", then {method}"
        return f"{control}{vector}{scale}{then}"

    def __lt__(self, other: Protocol) -> bool:
        return self._order() < other._order()

    def _order(self) -> tuple[Any, ...]:
        scale = 0.0 if self.scale is None else self.scale
        words = (self.control, self.method, self.donors, self.merge, self.scale_policy)
        return self.base, self.grid, *(word or "" for word in words), scale, self.own


def group(transfers: Iterable[Transfer]) -> dict[Protocol, list[Transfer]]:
    """Group transfers by protocol, in the order of protocols."""
    groups: dict[Protocol, list[Transfer]] = {}
    for transfer in transfers:
        groups.setdefault(Protocol.of(transfer), []).append(transfer)
    return dict(sorted(groups.items()))
