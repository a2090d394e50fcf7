"""Finding the vectors that fit a receiver, the best measured first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.constants import DEFAULT_REVISION
from transformers import PreTrainedModel

from ..artifact import CONFIG_FILE, VectorConfig
from ..errors import QVecError, first_line
from ..grids import Grid
from ..remote import LIBRARY, hub_errors
from .listing import Listed, list_vectors, listed_from_config
from .receiver import Receiver, find_base

__all__ = ["SearchResult", "search"]

WORKERS = 8
VERIFIED = 20  # configs of the best hits that are opened, so that what is shown can be used
MAX_CONFIGS = 500  # configs opened because a card says too little; beyond that they are listed as unchecked

Advance = Callable[[int], None]


@dataclass(frozen=True)
class SearchResult(Sequence[Listed]):
    """Vectors, the best evidence first, and apart from them the repositories that cannot be used."""

    vectors: tuple[Listed, ...]
    broken: tuple[Listed, ...]
    base_model: str | None = None
    found_by: str | None = None  # how the receiver's base was found

    def __getitem__(self, index: Any) -> Any:
        return self.vectors[index]

    def __len__(self) -> int:
        return len(self.vectors)

    def to_dict(self) -> dict[str, Any]:
        return {
            "base_model": self.base_model,
            "found_by": self.found_by,
            "vectors": [vector.to_dict() for vector in self.vectors],
            "broken": [vector.to_dict() for vector in self.broken],
        }


def search(
    receiver: str | Path | PreTrainedModel | None = None,
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
        receiver: the model to help: a folder, a repo id or a model. Its base is taken from its card, its config, or
            found by comparing its weights with the sketches of the bases that vectors were made on.
        base_model: the base, if you know it; then no receiver is needed. Neither: vectors of every base.
        bits, grid: only vectors trained for this width or grid.
        task: only vectors whose task or dataset contains this text.
        limit: at most so many.
        advance: called with the number of repositories seen, now and then.

    Returns:
        Vectors sorted by their mean gain, shrunk where it was measured on few receivers, then by downloads; and the
        repositories that are broken, which no filter hides unless their card tells that they are of another kind.

    Raises:
        QVecError: when the receiver's base cannot be found, or the Hub's listing cannot be read.
    """
    wanted_grid = Grid.parse(grid).name if grid is not None else None
    listed = _complete(_counting(list_vectors(token), advance), token)
    known = Receiver(base_model, "as asked for") if base_model else None
    if receiver is not None and known is None:
        known = find_base(receiver, [vector for vector in listed if vector.broken is None], token)
    base = known.base_model if known else None
    tests: list[Callable[[Listed], bool]] = [
        lambda vector: base is None or vector.base_model == base,
        lambda vector: bits is None or vector.bits == bits,
        lambda vector: wanted_grid is None or vector.grid == wanted_grid,
        lambda vector: task is None or task.lower() in f"{vector.task or ''} {vector.dataset or ''}".lower(),
    ]
    usable = [vector for vector in listed if vector.broken is None and all(test(vector) for test in tests)]
    broken = [vector for vector in listed if vector.broken is not None and _may_fit(vector, base)]
    usable.sort(key=lambda vector: (-vector.score, -vector.downloads, vector.repo_id))
    checked = _open_configs(usable[:VERIFIED], token)
    good = [*(vector for vector in checked if vector.broken is None), *usable[VERIFIED:]]
    broken += [vector for vector in checked if vector.broken is not None]
    return SearchResult(tuple(good[:limit]), tuple(broken), base_model=base, found_by=known.found_by if known else None)


def _may_fit(vector: Listed, base: str | None) -> bool:
    return base is None or vector.base_model in (None, base)


def _counting(vectors: Iterable[Listed], advance: Advance | None) -> Iterable[Listed]:
    for number, vector in enumerate(vectors, 1):
        if advance is not None and number % 100 == 0:
            advance(number)
        yield vector


def _complete(vectors: Iterable[Listed], token: str | bool | None) -> list[Listed]:
    """Open the config of the repositories whose card does not say what a search needs; leave the others alone."""
    listed = list(vectors)
    silent = [v for v in listed if v.broken is None and (v.grid is None or v.base_model is None)]
    opened = {v.repo_id: v for v in _open_configs(silent[:MAX_CONFIGS], token)}
    for vector in silent[MAX_CONFIGS:]:
        opened[vector.repo_id] = replace(vector, broken="its card says neither base nor grid, and it was not opened")
    return [opened.get(vector.repo_id, vector) for vector in listed]


def _open_configs(vectors: Sequence[Listed], token: str | bool | None) -> list[Listed]:
    """The vectors with what their configs say; those with an unreadable one are marked as broken."""

    def checked(vector: Listed) -> Listed:
        try:
            return listed_from_config(vector, _config(vector, token))
        except QVecError as error:
            return replace(vector, broken=first_line(error))

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(checked, vectors))


def _config(vector: Listed, token: str | bool | None) -> VectorConfig:
    with hub_errors(vector.repo_id, f"its {CONFIG_FILE} could not be fetched"):
        path = hf_hub_download(
            vector.repo_id, CONFIG_FILE, revision=vector.revision or DEFAULT_REVISION, token=token, **LIBRARY
        )
    return VectorConfig.read(Path(path))
