"""Find the base that a receiver descends from, by its card, its config or its weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from ..artifact.lineage import MIN_SIMILARITY, probe, similarity
from ..backbone.names import backbone_tensors
from ..errors import LineageError
from .declared_base import DeclaredBase, Model
from .fetch import open_sketches
from .listing import ListedVector

__all__ = ["BaseMatch", "find_base"]

MAX_BASES = 200  # bases to compare weights with, those of the most downloaded vectors first
MAX_UNNAMED = 50
TRIES = 3  # vectors of one base to try until one has a readable base fingerprint

Sketch = Mapping[str, Tensor]


class _Candidate(NamedTuple):
    """Something a receiver may descend from: a published base, or the unpublished one of a single vector."""

    name: str  # the base's repo id, or the vector's name
    published: bool


@dataclass(frozen=True)
class BaseMatch:
    """A receiver's base, and how it was found.

    Attributes:
        base_model: repo id; None when only vectors of unpublished bases fit.
        found_by: what says so, in words.
        unnamed: names of the vectors that were made on this base although their configs name none.
    """

    base_model: str | None
    found_by: str
    unnamed: frozenset[str] = frozenset()

    def takes(self, vector: ListedVector) -> bool:
        """Whether a vector was made on this base."""
        if vector.base_model is None:
            return vector.name in self.unnamed
        return vector.base_model == self.base_model


def find_base(receiver: Model, vectors: Sequence[ListedVector], token: str | bool | None = None) -> BaseMatch:
    """Find the base of a receiver among the bases that vectors were made on.

    Uses the base that the card or the config names, if there are vectors of it; otherwise compares the receiver's
    weights with the fingerprint of every base. Vectors of unpublished bases are compared one by one, with the
    fingerprint of the receiver's base if that is known, else with its weights.

    Args:
        receiver: a folder, ``"org/name[@revision]"`` or a model.
        vectors: all usable vectors on the Hub.

    Raises:
        LineageError: when none of them was made on its base; the message names the closest.
        ArtifactError, HubError: when the receiver cannot be read.
    """
    origin = DeclaredBase(receiver, token)
    named_bases = origin.named_bases()
    bases = _by_base(vectors)
    unnamed = _most_downloaded(v for v in vectors if v.base_model is None and v.lineage is not False)[:MAX_UNNAMED]
    for base, said in named_bases:
        if base in bases:
            return BaseMatch(base, said, _of_same_base(bases[base], unnamed, token))
    return _by_weights(origin, named_bases, bases, unnamed, token)


def _by_weights(
    origin: DeclaredBase,
    named_bases: Sequence[tuple[str, str]],
    bases: Mapping[str, Sequence[ListedVector]],
    unnamed: Sequence[ListedVector],
    token: str | bool | None,
) -> BaseMatch:
    tensors = backbone_tensors(origin.load())
    size = sum(tensor.numel() for tensor in tensors.values())
    candidates = {_Candidate(base, True): of for base, of in list(bases.items())[:MAX_BASES]}
    candidates |= {_Candidate(vector.name, False): [vector] for vector in unnamed}
    fitting_size = {of: [v for v in vectors if v.parameters in (None, size)] for of, vectors in candidates.items()}
    measured = {
        # A fingerprint of other tensors belongs to another model, even if the shared ones agree.
        candidate: _agreement(sketch, {name: probe(name, tensors[name]) for name in sketch if name in tensors})
        for candidate, sketch in _sketches(fitting_size, token).items()
    }
    fitting = [candidate for candidate in measured if measured[candidate] >= MIN_SIMILARITY]
    if not fitting:
        raise LineageError(_nothing_fits(origin, named_bases, list(candidates), size, measured))
    best = max(fitting, key=lambda candidate: (candidate.published, measured[candidate]))
    return BaseMatch(
        best.name if best.published else None,
        f"its weights, similarity {measured[best]:.3f}",
        frozenset(candidate.name for candidate in fitting if not candidate.published),
    )


def _nothing_fits(
    origin: DeclaredBase,
    named_bases: Sequence[tuple[str, str]],
    candidates: Sequence[_Candidate],
    size: int,
    measured: Mapping[_Candidate, float],
) -> str:
    says = (
        f"{named_bases[0][1]} names {named_bases[0][0]}"
        if named_bases
        else "neither its card nor its config names a base"
    )
    published = sum(candidate.published for candidate in candidates)
    among = f"{published} published bases and {len(candidates) - published} vectors of unpublished ones"
    if measured:
        closest = max(measured, key=lambda candidate: measured[candidate])
        compared = (
            f"compared with {len(measured)} of {among}, the closest is {closest.name} with similarity "
            f"{measured[closest]:.3f}, expected at least {MIN_SIMILARITY}"
        )
    else:
        compared = f"of {among} none has its size, {size:,} parameters, and a base fingerprint to compare with"
    return (
        f"{origin.name}: no vector on the Hub was made on its base ({says}; {compared}). Name the base with "
        "base_model (--base), or make a donor for it with `qvec train`"
    )


def _of_same_base(
    of_base: Sequence[ListedVector], unnamed: Sequence[ListedVector], token: str | bool | None
) -> frozenset[str]:
    """Names of the vectors whose base fingerprint matches that of this base; needs no weights."""
    sizes = {vector.parameters for vector in of_base}
    alone = [vector for vector in unnamed if vector.parameters in sizes or None in (vector.parameters, *sizes)]
    if not alone or not of_base:
        return frozenset()
    base = _Candidate(of_base[0].base_model or "", True)
    sketches = _sketches({base: of_base, **{_Candidate(v.name, False): [v] for v in alone}}, token)
    known = sketches.pop(base, {})
    return frozenset(other.name for other in sketches if _agreement(sketches[other], known) >= MIN_SIMILARITY)


def _agreement(sketch: Sketch, other: Sketch) -> float:
    """Similarity of two fingerprints; 0 unless the second has all tensors of the first."""
    found = similarity(sketch, other) if sketch.keys() <= other.keys() else None
    return 0.0 if found is None else found


def _sketches(
    candidates: Mapping[_Candidate, Sequence[ListedVector]], token: str | bool | None
) -> dict[_Candidate, Sketch]:
    """For each candidate the base fingerprint of its first vector that has one."""
    found: dict[_Candidate, Sketch] = {}
    for turn in range(TRIES):
        asked = {key: of[turn] for key, of in candidates.items() if key not in found and len(of) > turn}
        for key, sketch in zip(asked, open_sketches(list(asked.values()), token), strict=True):
            if sketch:
                found[key] = sketch
    return found


def _by_base(vectors: Iterable[ListedVector]) -> dict[str, list[ListedVector]]:
    """Base -> its vectors that may have a base fingerprint, the most downloaded first."""
    bases: dict[str, list[ListedVector]] = {}
    for vector in _most_downloaded(vectors):
        if vector.base_model:
            bases.setdefault(vector.base_model, []).extend([vector] if vector.lineage is not False else [])
    return bases


def _most_downloaded(vectors: Iterable[ListedVector]) -> list[ListedVector]:
    return sorted(vectors, key=lambda vector: (-vector.downloads, vector.name))
