"""`QuantizationVector`: the difference ``θ_QAT − θ_FP`` of two fine-tunes of one base, head excluded.

Holds tensors, arithmetic and files, no quantization. Tensors of a loaded vector are read from memory-mapped files, and
those of sums and multiples are computed, one by one as they are used.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo
from torch import Tensor
from transformers import PreTrainedModel

from ..artifact import folder as storage
from ..artifact.config import CARD_FILE, IMAGES_FILE, Donor, Encoding, Source, VectorConfig
from ..artifact.images import MAX_SHIPPED, as_images, interleaved, read_images, side_of
from ..errors import ArtifactError, MisfitError
from ..grid.grid import Grid
from ..hub.cards.vector_card import write_card
from ..hub.publish.push import push_vector
from ..hub.transfer.download import fetch_vector, way_out
from ..hub.transfer.repo_path import RepoPath, find_source
from .extraction import difference, scale_in
from .misfits import refuse_other_origins, refuse_other_shapes

__all__ = ["QuantizationVector"]


class QuantizationVector:
    """A quantization vector: its `config`, and one float32 tensor for each backbone tensor, by canonical name.

    Immutable. Make one with `extract` or `from_pretrained`. ``vec[name]`` reads a tensor in the shape of the model's;
    ``0.5 * vec``, ``vec + other`` and ``-vec`` are vectors again.
    """

    __array_ufunc__ = None  # NumPy numbers then call our __rmul__

    def __init__(
        self,
        config: VectorConfig,
        tensors: Mapping[str, Tensor],
        lineage: Mapping[str, Tensor] | None = None,
        origin: RepoPath | None = None,
        folder: Path | None = None,
        images: Callable[[int], Tensor | None] | None = None,
    ) -> None:
        self.config = config
        self.lineage = lineage
        self.origin = origin  # repository it was loaded from; None if not from the Hub
        self.folder = folder  # local folder it was loaded from, if any
        self._tensors = tensors
        self._images = images  # called when images are used

    @classmethod
    def extract(
        cls,
        finetuned: PreTrainedModel | str | Path,
        qat: PreTrainedModel | str | Path,
        base: PreTrainedModel | str | Path | None = None,
        *,
        donor: Donor | Mapping[str, Any] | None = None,
        recipe: Mapping[str, Any] | Any = None,
        grid: Grid | str = "int3",
        scale: float = 1.0,
        images: object = None,
    ) -> QuantizationVector:
        """Compute ``ρ = θ_QAT − θ_FP`` (arXiv 2604.03420) for all floating-point tensors of the backbone.

        Args:
            finetuned: the plain fine-tune: a model, a folder, ``"org/name[@revision]"`` or
                ``"hf://org/name[@revision]/subfolder"``; the same for `qat` and `base`. Models may be compiled or
                wrapped in DataParallel; quantized models and models with adapters are refused.
            qat: the quantization-aware fine-tune of the same base on the same task, as plain float weights.
            base: the common base; adds a base fingerprint, by which loading refuses receivers of other bases.
            donor: ``{"task": …, "dataset": …}``, and the repositories of the two models.
            recipe: how the QAT model was trained, ``{"name": "ste", …}`` or a dataclass.
            grid: the grid that it was trained on: a `Grid` or its name.
            scale: the recommended scale λ, a finite number.
            images: images of the donor's task to ship with the vector, see `with_images`.

        Raises:
            ArtifactError: when a checkpoint cannot be read or holds NaN, or the two models are identical.
            LineageError: when one of the models does not descend from `base`.
            MisfitError: when the models differ in architecture.
            QVecError: when a model is quantized or has adapters or parametrizations, or another argument is wrong.
        """
        vector = cls(*difference(finetuned, qat, base, donor=donor, recipe=recipe, grid=grid, scale=scale))
        return vector if images is None else vector.with_images(images)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        subfolder: str | None = None,
    ) -> QuantizationVector:
        """Open a vector from a folder or the Hub.

        Checks the hash of the tensor files once; the tensors are read later, one by one, as they are used.

        Args:
            source: a folder, ``"org/name"``, ``"org/name@revision"`` or ``"hf://org/name[@revision]/subfolder"``.
            revision, token, cache_dir, local_files_only: as in transformers' ``from_pretrained``.
            subfolder: folder of the vector within the repository or folder; by default the root.

        Raises:
            ArtifactError: when there is no such vector, or its files break the format.
            HubError: when the Hub refuses or cannot be reached, and the vector is not in the cache.
        """
        place = find_source(source, revision, subfolder)
        if isinstance(place, Path):
            folder, origin = place, None
        else:
            folder, origin = fetch_vector(place, token, cache_dir, local_files_only)
        try:
            config, tensors, lineage, has_images = storage.read(folder)
        except ArtifactError as error:
            raise ArtifactError(f"{error}{way_out(origin, cache_dir)}") from error
        size = config.architecture.get("image_size")
        images = partial(read_images, folder / IMAGES_FILE, size) if has_images else None
        return cls(config, tensors, lineage, origin, folder if origin is None else None, images)

    def save_pretrained(self, folder: str | Path, *, encoding: str | None = None) -> None:
        """Write the vector and its card; the folder always holds either the old vector or the complete new one.

        Keeps hand-written sections of the card, and every file that an earlier save did not write.

        Args:
            encoding: how matrices are stored: ``"float32"``, ``"bf16"``, ``"int8"``, ``"int4"`` or ``"int2"``; by
                default the loaded encoding, or float32. The config records the relative error ``‖ρ − ρ̂‖ / ‖ρ‖``.

        Raises:
            ArtifactError: when the folder cannot be written or holds a model, or a tensor holds NaN or infinity.
        """
        images = self.images()
        storage.write(folder, self.config, self._tensors, self.shapes(), self.lineage, images, encoding, write_card)

    def push_to_hub(
        self, repo_id: str, *, card: str | None = None, encoding: str | None = None, **options: Any
    ) -> CommitInfo:
        """Publish the vector and its card in one commit.

        Args:
            repo_id: ``"org/name"``; created if it does not exist.
            card: an existing card whose hand-written parts are kept; None takes the card of the local folder that
                the vector was loaded from.
            encoding: see `save_pretrained`.
            options: private, token, revision, create_pr, commit_message, subfolder, rows, license, replace; see
                `qvec_hub.hub.publish.push.push_vector`.

        Returns:
            The commit's URL.

        Raises:
            HubError: when the Hub refuses or the connection breaks; the repository is then as it was.
            MisfitError: when the repository holds a vector of another base, or a model.
        """
        with tempfile.TemporaryDirectory(prefix="qvec-push-") as scratch:
            folder = Path(scratch) / "vector"
            self.save_pretrained(folder, encoding=encoding)
            return push_vector(folder, repo_id, card=self.card() if card is None else card, **options)

    def with_config(self, **changes: Any) -> QuantizationVector:
        """Return the same tensors with changed values of the config: ``vec.with_config(scale=0.5)``.

        Raises:
            QVecError: when the scale is not a finite number.
        """
        if "scale" in changes:
            changes["scale"] = scale_in(changes["scale"])
        return QuantizationVector(replace(self.config, **changes), self._tensors, self.lineage, images=self._images)

    def images(self, most: int = MAX_SHIPPED) -> Tensor | None:
        """At most `most` of the vector's images, uint8 ``(n, size, size, 3)``; None when it carries none.

        A merged vector takes one image of each donor in turn.

        Raises:
            ArtifactError: when the contact sheet is damaged.
        """
        return None if self._images is None else self._images(most)

    def with_images(self, images: object) -> QuantizationVector:
        """Return the same vector with images of its donor's task, without labels.

        The images are saved and published with the vector. Loading uses them together with the proxy images (see
        `QVecConfig`), which improves the codes. Ship only images that you may publish; a few dozen are enough.

        Args:
            images: uint8 ``(n, height, width, 3)``, a tensor or an array; resized to the model's image size.

        Raises:
            QVecError: when the images have another type or shape, or are too many.
        """
        kept = as_images(images, side_of(self.config.architecture.get("image_size")))
        return QuantizationVector(
            self.config, self._tensors, self.lineage, self.origin, self.folder, images=lambda most: kept[:most]
        )

    def card(self) -> str:
        """Text of the card in the local folder that the vector was loaded from; empty without one."""
        path = self.folder / CARD_FILE if self.folder else None
        return path.read_text(encoding="utf-8", errors="replace") if path and path.is_file() else ""

    def names(self) -> list[str]:
        """Canonical tensor names: those of the base's checkpoint without the head class's prefix."""
        return list(self._tensors)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Canonical name -> shape, without reading the tensors."""
        return {name: storage.shape_of(self._tensors, name) for name in self._tensors}

    def files(self) -> list[Path]:
        """The files that the tensors are mapped from; empty if they are computed or in memory."""
        return storage.files_of(self._tensors)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._tensors:
            raise MisfitError(f"no tensor {name!r} in this vector; names() lists the {len(self)} it has")
        return self._tensors[name]

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def norm(self) -> float:
        """Euclidean norm over all tensors, summed in float64."""
        return math.sqrt(sum(float(self[name].double().square().sum()) for name in self))

    def cosine(self, other: QuantizationVector) -> float:
        """Cosine with another vector of the same architecture and base, from -1 to 1; 0 if one of them is zero.

        Raises:
            MisfitError: when the two differ in tensors, architecture or base.
        """
        self.refuse_unlike(other)
        dot = sum(float((self[name].double() * other[name].double()).sum()) for name in self)
        norms = self.norm() * other.norm()
        return dot / norms if norms else 0.0

    def __add__(self, other: QuantizationVector) -> QuantizationVector:
        if not isinstance(other, QuantizationVector):
            return NotImplemented
        self.refuse_unlike(other)
        return self.combined([(1.0, self), (1.0, other)], lambda name: self[name] + other[name])

    def __mul__(self, factor: float) -> QuantizationVector:
        number = scale_in(factor)
        return self.combined([(number, self)], lambda name: self[name] * number)

    __rmul__ = __mul__

    def __neg__(self) -> QuantizationVector:
        return self * -1.0

    def __sub__(self, other: QuantizationVector) -> QuantizationVector:
        return self + -other

    def __deepcopy__(self, memo: dict[int, Any]) -> QuantizationVector:
        return self  # immutable; transformers deep-copies the configs that hold vectors

    def __repr__(self) -> str:
        task = self.config.donor.task or "unnamed task"
        return f"QuantizationVector({task}, {self.config.model_type}, {self.config.grid.name}, {len(self)} tensors)"

    def sources(self) -> list[Source]:
        """The vectors that this one is a weighted sum of: itself if it is on the Hub, else its ingredients."""
        place = self.origin
        if place is not None:
            return [Source(place.repo_id, place.revision, 1.0, place.subfolder)]
        return self.config.sources or [Source(None, None, 1.0)]

    def provenance(self) -> list[dict[str, Any]]:
        """`sources` as JSON values for a quantized model's ``config.json``; a single vector adds its task and hash."""
        listed = [source.to_dict() for source in self.sources()]
        if (self.origin or not self.config.sources) and self.config.tensors is not None:
            listed[0] |= {"task": self.config.donor.task, "sha256": self.config.tensors.sha256}
        return listed

    def combined(
        self, terms: Sequence[tuple[float, QuantizationVector]], tensor: Callable[[str], Tensor]
    ) -> QuantizationVector:
        """Make a vector whose tensors are computed from weighted other vectors, which become its sources."""
        sources = [replace(s, weight=s.weight * weight) for weight, vector in terms for s in vector.sources()]
        donors = {vector.config.donor for _, vector in terms}
        config = replace(
            self.config,
            donor=donors.pop() if len(donors) == 1 else Donor(),
            scale=1.0,
            encoding=Encoding(),
            tensors=None,
            sources=sources,
        )
        vectors = {id(vector): vector for _, vector in terms}.values()

        def images(most: int) -> Tensor | None:
            found = [vector.images(most) for vector in vectors]
            return interleaved([each for each in found if each is not None], most)

        return QuantizationVector(config, storage.Computed(self.shapes(), tensor), self.lineage, images=images)

    def refuse_unlike(self, other: QuantizationVector) -> None:
        """Raise unless both vectors have the same tensors, architecture and base.

        Raises:
            MisfitError: when they differ; the message says in what.
            ArtifactError: when the config of one contradicts its tensors.
        """
        for vector, name in ((self, "this vector"), (other, "other vector")):
            storage.refuse_contradictions(vector.config, vector.shapes(), name)
        refuse_other_shapes(other.shapes(), self.shapes(), "other vector", "this vector")
        refuse_other_origins(self.config, other.config)
