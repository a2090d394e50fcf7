"""Which base does a receiver descend from? Its card may say, its config may, its weights always do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from ...artifact.lineage import MIN_SIMILARITY, probe, similarity
from ...backbone.names import backbone_tensors
from ...errors import LineageError
from .declared_base import Model, Origin
from .fetch import open_sketches
from .listing import Listed

__all__ = ["Receiver", "find_base"]

MAX_BASES = 200  # that weights are compared with, those of the most downloaded vectors first
MAX_UNNAMED = 50
TRIES = 3  # vectors of one base that are asked for a sketch, when those before have none that can be read

Sketch = Mapping[str, Tensor]


class _Candidate(NamedTuple):
    """Something a receiver may descend from: a published base, or the unpublished one of a single vector."""

    name: str  # the base's repo id, or the vector's name
    published: bool


@dataclass(frozen=True)
class Receiver:
    """A receiver's base, and how it was found.

    base_model: None when only vectors of unpublished bases fit.
    unnamed: names of the vectors whose base is not published and is the receiver's nevertheless.
    """

    base_model: str | None
    found_by: str
    unnamed: frozenset[str] = frozenset()

    def takes(self, vector: Listed) -> bool:
        if vector.base_model is None:
            return vector.name in self.unnamed
        return vector.base_model == self.base_model


def find_base(receiver: Model, vectors: Sequence[Listed], token: str | bool | None = None) -> Receiver:
    """The base that vectors on the Hub were made on and that the receiver descends from.

    The card and the config are believed when vectors of the base they name exist; else the receiver's weights are
    compared with the sketch of every base there is a vector of. Vectors of unpublished bases are compared one by
    one: with the receiver's weights, or, where those were not needed, with the sketch of its base.

    Args:
        receiver: a folder, ``"org/name[@revision]"`` or a model.
        vectors: all usable ones there are.

    Raises:
        LineageError: when none of them was made on its base; names the closest.
        ArtifactError, HubError: when the receiver cannot be read.
    """
    origin = Origin(receiver, token)
    claims = origin.claims()
    bases = _by_base(vectors)
    unnamed = _most_downloaded(v for v in vectors if v.base_model is None and v.lineage is not False)[:MAX_UNNAMED]
    for base, said in claims:
        if base in bases:
            return Receiver(base, said, _of_same_base(bases[base], unnamed, token))
    return _by_weights(origin, claims, bases, unnamed, token)


def _by_weights(
    origin: Origin,
    claims: Sequence[tuple[str, str]],
    bases: Mapping[str, Sequence[Listed]],
    unnamed: Sequence[Listed],
    token: str | bool | None,
) -> Receiver:
    tensors = backbone_tensors(origin.load())
    size = sum(tensor.numel() for tensor in tensors.values())
    candidates = {_Candidate(base, True): of for base, of in list(bases.items())[:MAX_BASES]}
    candidates |= {_Candidate(vector.name, False): [vector] for vector in unnamed}
    fitting_size = {of: [v for v in vectors if v.parameters in (None, size)] for of, vectors in candidates.items()}
    measured = {
        # A sketch of other tensors than the receiver's is one of another model, however well the shared ones agree.
        candidate: _agreement(sketch, {name: probe(name, tensors[name]) for name in sketch if name in tensors})
        for candidate, sketch in _sketches(fitting_size, token).items()
    }
    fitting = [candidate for candidate in measured if measured[candidate] >= MIN_SIMILARITY]
    if not fitting:
        raise LineageError(_nothing_fits(origin, claims, list(candidates), size, measured))
    best = max(fitting, key=lambda candidate: (candidate.published, measured[candidate]))
    return Receiver(
        best.name if best.published else None,
        f"its weights, similarity {measured[best]:.3f}",
        frozenset(candidate.name for candidate in fitting if not candidate.published),
    )


def _nothing_fits(
    origin: Origin,
    claims: Sequence[tuple[str, str]],
    candidates: Sequence[_Candidate],
    size: int,
    measured: Mapping[_Candidate, float],
) -> str:
    says = f"{claims[0][1]} names {claims[0][0]}" if claims else "neither its card nor its config names a base"
    published = sum(candidate.published for candidate in candidates)
    among = f"{published} published bases and {len(candidates) - published} vectors of unpublished ones"
    if measured:
        closest = max(measured, key=lambda candidate: measured[candidate])
        compared = (
            f"compared with {len(measured)} of {among}, the closest is {closest.name} with similarity "
            f"{measured[closest]:.3f}, expected at least {MIN_SIMILARITY}"
        )
    else:
        compared = f"of {among} none has its size, {size:,} parameters, and a sketch to compare with"
    return (
        f"{origin.name}: no vector on the Hub was made on its base ({says}; {compared}). Name the base with "
        "base_model (--base), or make a donor for it with `qvec train`"
    )


def _of_same_base(of_base: Sequence[Listed], unnamed: Sequence[Listed], token: str | bool | None) -> frozenset[str]:
    """Names of the vectors whose sketch is one of this base as well; no weights are needed for that."""
    sizes = {vector.parameters for vector in of_base}
    alone = [vector for vector in unnamed if vector.parameters in sizes or None in (vector.parameters, *sizes)]
    if not alone or not of_base:
        return frozenset()
    base = _Candidate(of_base[0].base_model or "", True)
    sketches = _sketches({base: of_base, **{_Candidate(v.name, False): [v] for v in alone}}, token)
    known = sketches.pop(base, {})
    return frozenset(other.name for other in sketches if _agreement(sketches[other], known) >= MIN_SIMILARITY)


def _agreement(sketch: Sketch, other: Sketch) -> float:
    """Similarity of a sketch with one of the same tensors at least; 0 with any other."""
    found = similarity(sketch, other) if sketch.keys() <= other.keys() else None
    return 0.0 if found is None else found


def _sketches(candidates: Mapping[_Candidate, Sequence[Listed]], token: str | bool | None) -> dict[_Candidate, Sketch]:
    """For each candidate the sketch of the first of its vectors that has one."""
    found: dict[_Candidate, Sketch] = {}
    for turn in range(TRIES):
        asked = {key: of[turn] for key, of in candidates.items() if key not in found and len(of) > turn}
        for key, sketch in zip(asked, open_sketches(list(asked.values()), token), strict=True):
            if sketch:
                found[key] = sketch
    return found


def _by_base(vectors: Iterable[Listed]) -> dict[str, list[Listed]]:
    """Base -> its vectors that may have a sketch, the most downloaded first."""
    bases: dict[str, list[Listed]] = {}
    for vector in _most_downloaded(vectors):
        if vector.base_model:
            bases.setdefault(vector.base_model, []).extend([vector] if vector.lineage is not False else [])
    return bases


def _most_downloaded(vectors: Iterable[Listed]) -> list[Listed]:
    return sorted(vectors, key=lambda vector: (-vector.downloads, vector.name))
