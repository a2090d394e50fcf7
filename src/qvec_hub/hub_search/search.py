"""Find the vectors that fit a receiver, the best measured first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import QVecError
from ..grid.grid import Grid
from ..hub.cards.front_matter import hub_id
from .base_of import BaseMatch, find_base
from .declared_base import Model
from .fetch import open_configs
from .listing import ListedVector, list_vectors

__all__ = ["VERIFIED", "SearchResult", "search"]

VERIFIED = 20  # best hits whose configs are opened and checked
ROUNDS = 5  # attempts to fill up these hits when some are broken
MAX_CONFIGS = 500  # configs opened because a card says too little; the rest is listed as broken
ADVANCE = 100  # repositories between two calls of `advance`

Advance = Callable[[int], None]


@dataclass(frozen=True)
class SearchResult(Sequence[ListedVector]):
    """A sequence of vectors, the best evidence first; repositories that cannot be used are in `broken`.

    Attributes:
        vectors: the fitting vectors, up to the limit.
        broken: vectors that cannot be used; each says why.
        base_model: the receiver's base; None when none was given, or only vectors of unpublished bases fit.
        found_by: how the base was found.
        total: number of vectors that fit.
    """

    vectors: tuple[ListedVector, ...]
    broken: tuple[ListedVector, ...]
    base_model: str | None = None
    found_by: str | None = None
    total: int = 0

    def __getitem__(self, index: Any) -> Any:
        return self.vectors[index]

    def __len__(self) -> int:
        return len(self.vectors)

    def to_dict(self) -> dict[str, Any]:
        """All fields for ``--json``, see `ListedVector.to_dict`."""
        return {
            "base_model": self.base_model,
            "found_by": self.found_by,
            "total": self.total,
            "vectors": [vector.to_dict() for vector in self.vectors],
            "broken": [vector.to_dict() for vector in self.broken],
        }


@dataclass(frozen=True)
class _Wanted:
    """The search conditions; None matches everything."""

    receiver: BaseMatch | None
    bits: int | None
    grid: str | None
    task: str | None

    def takes(self, vector: ListedVector) -> bool:
        named = f"{vector.task or ''}\n{vector.dataset or ''}".lower()
        return (
            (self.receiver is None or self.receiver.takes(vector))
            and self.bits in (None, vector.bits)
            and self.grid in (None, vector.grid)
            and (self.task is None or self.task.lower() in named)
        )

    def may_take(self, broken: ListedVector) -> bool:
        """Whether a broken vector may match: nothing that it states contradicts a condition."""
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
    """Find all vectors on the Hub that were made on a receiver's base.

    Args:
        receiver: the model to quantize: a folder, ``"org/name[@revision]"`` or a model. Its base is read from its card,
            config or name, or else found by comparing its weights with the base fingerprints of the vectors, also of
            those whose base is not published.
        base_model: repo id of the base; `receiver` is then not needed. Without both, vectors of every base are found.
        bits, grid: only vectors trained for this width or grid.
        task: only vectors whose task or dataset contains this text.
        limit: return at most this many vectors, 1 or more.
        token: for private and gated repositories; by default the one that is logged in.
        advance: called with the number of repositories seen, at every hundredth.

    Returns:
        Vectors sorted by `ListedVector.score` (the reported mean gain, shrunk towards 0 when few receivers were
        measured), base donors before others of the same score, then by downloads. The configs of the first `VERIFIED`
        are opened and checked. Broken and unreachable repositories are listed separately, if their cards match the
        conditions.

    Raises:
        QVecError: when `base_model` or `limit` is not possible.
        LineageError: when no vector was made on the receiver's base.
        ArtifactError, HubError: when the receiver or the Hub's listing cannot be read.
    """
    grid = Grid.parse(grid).name if grid is not None else None
    if base_model is not None and not hub_id(base_model):
        raise QVecError(f"base_model: expected a Hub repo id such as 'org/name', found {base_model!r}")
    if limit is not None and limit < 1:
        raise QVecError(f"limit: expected at least 1, found {limit}")
    listed = _complete(list(_counting(list_vectors(token), advance)), token)
    usable = [vector for vector in listed if vector.broken is None]
    known = BaseMatch(base_model, "as asked for") if base_model else None
    if receiver is not None and known is None:
        known = find_base(receiver, usable, token)
    wanted = _Wanted(known, bits, grid, task)
    fitting = sorted(filter(wanted.takes, usable), key=lambda v: (-v.score, not v.of_base, -v.downloads, v.name))
    good, bad = _verified(fitting, limit, token)
    broken = [vector for vector in listed if vector.broken is not None and wanted.may_take(vector)] + bad
    return SearchResult(
        vectors=tuple(good[:limit]),
        broken=tuple(sorted(broken, key=lambda vector: vector.name)),
        base_model=known.base_model if known else None,
        found_by=known.found_by if known else None,
        total=len(good),
    )


def _counting(vectors: Iterable[ListedVector], advance: Advance | None) -> Iterator[ListedVector]:
    for number, vector in enumerate(vectors, 1):
        if advance is not None and number % ADVANCE == 0:
            advance(number)
        yield vector


def _complete(listed: list[ListedVector], token: str | bool | None) -> list[ListedVector]:
    """Open the configs of the vectors whose cards do not say what a search needs."""
    silent = [vector for vector in listed if vector.broken is None and not vector.told]
    opened = {vector.name: vector for vector in open_configs(silent[:MAX_CONFIGS], token)}
    for vector in silent[MAX_CONFIGS:]:
        reason = f"its card does not describe it, and the configs of {MAX_CONFIGS} others were opened already"
        opened[vector.name] = replace(vector, broken=reason)
    return [opened.get(vector.name, vector) for vector in listed]


def _verified(
    fitting: list[ListedVector], limit: int | None, token: str | bool | None
) -> tuple[list[ListedVector], list[ListedVector]]:
    """Open the first vectors' configs; return the usable vectors and those that turned out to be broken."""
    wanted = min(VERIFIED, limit or VERIFIED)
    good: list[ListedVector] = []
    bad: list[ListedVector] = []
    for _ in range(ROUNDS):
        batch, fitting = fitting[: wanted - len(good)], fitting[wanted - len(good) :]
        opened = {vector.name: vector for vector in open_configs([v for v in batch if not v.verified], token)}
        checked = [opened.get(vector.name, vector) for vector in batch]
        good += [vector for vector in checked if vector.broken is None]
        bad += [vector for vector in checked if vector.broken is not None]
        if len(good) == wanted or all(vector.unreachable for vector in checked):
            break
    return good + fitting, bad
