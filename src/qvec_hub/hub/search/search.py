"""Finding the vectors that fit a receiver, the best measured first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...errors import QVecError
from ...grid.grid import Grid
from ..cards.front_matter import hub_id
from .base_of import Receiver, find_base
from .declared_base import Model
from .fetch import open_configs
from .listing import Listed, list_vectors

__all__ = ["VERIFIED", "SearchResult", "search"]

VERIFIED = 20  # configs of the best hits that are opened, so that what is shown can be used
ROUNDS = 5  # of such openings, when broken ones leave less to show
MAX_CONFIGS = 500  # configs opened because a card says too little; the rest is listed as not looked at
ADVANCE = 100  # repositories between two words of progress

Advance = Callable[[int], None]


@dataclass(frozen=True)
class SearchResult(Sequence[Listed]):
    """Vectors, the best evidence first, and apart from them the repositories that cannot be used.

    base_model: the receiver's base; None when none was asked for, or only vectors of unpublished bases fit.
    found_by: how it was found.
    total: how many vectors fit; `vectors` holds the first of them, up to the limit.
    """

    vectors: tuple[Listed, ...]
    broken: tuple[Listed, ...]
    base_model: str | None = None
    found_by: str | None = None
    total: int = 0

    def __getitem__(self, index: Any) -> Any:
        return self.vectors[index]

    def __len__(self) -> int:
        return len(self.vectors)

    def to_dict(self) -> dict[str, Any]:
        return {
            "base_model": self.base_model,
            "found_by": self.found_by,
            "total": self.total,
            "vectors": [vector.to_dict() for vector in self.vectors],
            "broken": [vector.to_dict() for vector in self.broken],
        }


@dataclass(frozen=True)
class _Wanted:
    """What was asked for; None is anything."""

    receiver: Receiver | None
    bits: int | None
    grid: str | None
    task: str | None

    def takes(self, vector: Listed) -> bool:
        named = f"{vector.task or ''}\n{vector.dataset or ''}".lower()
        return (
            (self.receiver is None or self.receiver.takes(vector))
            and self.bits in (None, vector.bits)
            and self.grid in (None, vector.grid)
            and (self.task is None or self.task.lower() in named)
        )

    def may_take(self, broken: Listed) -> bool:
        """Whether a broken one could have been meant: nothing it says is of another kind."""
        base = self.receiver.base_model if self.receiver else None
        return all(
            asked is None or said is None or asked == said
            for asked, said in [(base, broken.base_model), (self.bits, broken.bits), (self.grid, broken.grid)]
        )


def search(
    receiver: Model | None = None,
    *,
    base_model: str | None = None,
    bits: int | None = None,
    task: str | None = None,
    grid: Grid | str | None = None,
    limit: int | None = None,
    token: str | bool | None = None,
    advance: Advance | None = None,
) -> SearchResult:
    """All vectors on the Hub that were made on a receiver's base.

    Args:
        receiver: the model to help: a folder, ``"org/name[@revision]"`` or a model. Its base is taken from its card,
            its config or its name, or found by comparing its weights with the sketches of the bases that vectors were
            made on. Vectors of unpublished bases are compared as well.
        base_model: the base, if you know it; then no receiver is needed. Neither: vectors of every base.
        bits, grid: only vectors trained for this width or grid.
        task: only vectors whose task or dataset contains this text.
        limit: at most so many.
        advance: called with the number of vectors seen, now and then.

    Returns:
        Vectors by `Listed.score` (their mean gain, shrunk where it was measured on few receivers), then by
        downloads. The configs of the first `VERIFIED` are opened. Repositories that are broken or cannot be reached
        are listed apart, unless what their card says is not what was asked for.

    Raises:
        QVecError: when the receiver's base cannot be found, or the Hub's listing cannot be read.
    """
    grid = Grid.parse(grid).name if grid is not None else None
    if base_model is not None and not hub_id(base_model):
        raise QVecError(f"base_model: expected a Hub repo id such as 'org/name', found {base_model!r}")
    if limit is not None and limit < 1:
        raise QVecError(f"limit: expected at least 1, found {limit}")
    listed = _complete(list(_counting(list_vectors(token), advance)), token)
    usable = [vector for vector in listed if vector.broken is None]
    known = Receiver(base_model, "as asked for") if base_model else None
    if receiver is not None and known is None:
        known = find_base(receiver, usable, token)
    wanted = _Wanted(known, bits, grid, task)
    fitting = sorted(filter(wanted.takes, usable), key=lambda v: (-v.score, -v.downloads, v.name))
    good, bad = _verified(fitting, limit, token)
    broken = [vector for vector in listed if vector.broken is not None and wanted.may_take(vector)] + bad
    return SearchResult(
        vectors=tuple(good[:limit]),
        broken=tuple(sorted(broken, key=lambda vector: vector.name)),
        base_model=known.base_model if known else None,
        found_by=known.found_by if known else None,
        total=len(good),
    )


def _counting(vectors: Iterable[Listed], advance: Advance | None) -> Iterator[Listed]:
    for number, vector in enumerate(vectors, 1):
        if advance is not None and number % ADVANCE == 0:
            advance(number)
        yield vector


def _complete(listed: list[Listed], token: str | bool | None) -> list[Listed]:
    """Open the config of the vectors whose card does not say what a search needs; leave the others alone."""
    silent = [vector for vector in listed if vector.broken is None and not vector.told]
    opened = {vector.name: vector for vector in open_configs(silent[:MAX_CONFIGS], token)}
    for vector in silent[MAX_CONFIGS:]:
        reason = f"its card does not describe it, and the configs of {MAX_CONFIGS} others were opened already"
        opened[vector.name] = replace(vector, broken=reason)
    return [opened.get(vector.name, vector) for vector in listed]


def _verified(fitting: list[Listed], limit: int | None, token: str | bool | None) -> tuple[list[Listed], list[Listed]]:
    """The good ones, of which the first were opened, and those that turned out broken."""
    wanted = min(VERIFIED, limit or VERIFIED)
    good: list[Listed] = []
    bad: list[Listed] = []
    for _ in range(ROUNDS):
        batch, fitting = fitting[: wanted - len(good)], fitting[wanted - len(good) :]
        opened = {vector.name: vector for vector in open_configs([v for v in batch if not v.verified], token)}
        checked = [opened.get(vector.name, vector) for vector in batch]
        good += [vector for vector in checked if vector.broken is None]
        bad += [vector for vector in checked if vector.broken is not None]
        if len(good) == wanted or all(vector.unreachable for vector in checked):
            break
    return good + fitting, bad
