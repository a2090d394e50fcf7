"""Make a vector from two checkpoints of another library: a plain fine-tune and a quantization-aware one."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..artifact.config import FORMAT_VERSION, Donor, Encoding, Revision, VectorConfig
from ..artifact.folder import Computed
from ..artifact.lineage import MIN_SIMILARITY, similarity, sketch
from ..backbone.checkpoint import load_classifier
from ..backbone.names import architecture, backbone_tensors
from ..backbone.provenance import known_origin
from ..errors import ArtifactError, LineageError, MisfitError
from ..grid.grid import Grid
from ..util.page_release import PageRelease
from ..vector.extraction import scale_in
from ..vector.vector import QuantizationVector
from ..version import __version__
from .state_dict import WEIGHTS, open_state_dict
from .translate import Translated, translate

__all__ = ["import_pair"]


def import_pair(
    finetuned: str | Path,
    qat: str | Path,
    base: str | Path | PreTrainedModel | None = None,
    *,
    donor: Donor | None = None,
    recipe: Mapping[str, Any] | None = None,
    grid: Grid | str = "int3",
    scale: float = 1.0,
    heads: int | None = None,
    head: tuple[str, ...] = (),
    base_model: Revision | None = None,
) -> QuantizationVector:
    """Make the vector ``ρ = θ_QAT − θ_FP`` from two checkpoints in the names of timm, open_clip or DINOv2.

    The files are mapped, and each tensor is translated and subtracted when it is used.

    Args:
        finetuned, qat: state dicts (``.safetensors``, ``.pt``, ``.pth``, ``.bin``), or folders with one of them. The
            head stays out of the vector.
        base: transformers' checkpoint of the base, a folder or Hub id, or the model itself; adds a base fingerprint,
            and the QAT checkpoint is compared with it.
        donor: the task that both were fine-tuned on.
        recipe: how `qat` was trained.
        grid: the grid that it was trained on.
        scale: the recommended scale λ.
        heads: number of attention heads, which weights do not tell; by default that of `base`, or the usual one of
            this width.
        head: names of head tensors, or their beginnings, beside the usual ``head.``, ``classification_head.``, ….
        base_model: repository of the base, where `base` is not at hand.

    Raises:
        ArtifactError: when a file holds more than tensors, is damaged, or both hold the same numbers.
        LineageError: when the two do not descend from one base.
        MisfitError: when they differ in names or shapes, or are of no architecture that can be translated.
    """
    grid = Grid.parse(grid)
    files = [_file(finetuned), _file(qat)]
    states = [open_state_dict(file) for file in files]
    _refuse_unlike(states[0], states[1], f"{finetuned} and {qat}")
    ancestor = None if base is None else load_classifier(base, head_required=False)
    if heads is None and ancestor is not None:
        heads = architecture(ancestor.config).get("num_attention_heads")
    plain, trained = (
        translate(state, str(path), heads=heads, head=head)
        for state, path in zip(states, (finetuned, qat), strict=True)
    )
    _refuse_strangers(plain.tensors, trained.tensors, f"{finetuned} and {qat}")
    lineage = None if ancestor is None else _fingerprint(ancestor, trained, qat)
    if grid.granularity == "tensor" and trained.layout.cuts:
        warnings.warn(
            f"grid {grid.name}: {trained.layout.name} keeps query, key and value in one tensor, transformers in three; "
            "with one scale a tensor their codes differ from those of the training",
            stacklevel=2,
        )
    config = VectorConfig(
        format_version=FORMAT_VERSION,
        qvec_hub_version=__version__,
        model_type=trained.layout.model_type,
        architecture=architecture(trained.config),
        base_model=base_model or Revision() if ancestor is None else known_origin(ancestor),
        donor=donor or Donor(),
        recipe=dict(recipe or {}),
        grid=grid,
        scale=scale_in(scale),
        encoding=Encoding(),
        tensors=None,
        sources=[],
    )
    return QuantizationVector(config, _difference(plain, trained, states, files), lineage)


def _difference(
    plain: Translated, trained: Translated, states: Sequence[Mapping[str, Tensor]], files: Sequence[Path]
) -> Computed:
    """The second less the first, tensor by tensor; the files' pages leave memory once they were used.

    Args:
        states: the tensors as they are mapped from `files`.
    """
    release = PageRelease(files)
    for state in states:  # what checks have touched: several pairs are opened before one of them is used
        for tensor in state.values():
            release(tensor)

    def difference(name: str) -> Tensor:
        before, after = plain.tensors[name], trained.tensors[name]
        result = after - before
        release(before)
        release(after)
        return result

    return Computed(trained.tensors.shapes, difference)


def _file(path: str | Path) -> Path:
    """The file itself, or the only state dict of a folder."""
    path = Path(path).expanduser()
    if not path.is_dir():
        return path
    found = sorted(entry for entry in path.iterdir() if entry.suffix in WEIGHTS and entry.is_file())
    if len(found) != 1:
        held = f"{len(found)} ({', '.join(entry.name for entry in found[:4])})" if found else "none"
        raise ArtifactError(f"{path}: expected one state dict ({', '.join(WEIGHTS)}) in the folder, found {held}")
    return found[0]


def _refuse_unlike(finetuned: Mapping[str, Tensor], qat: Mapping[str, Tensor], said: str) -> None:
    differing = sorted(finetuned.keys() ^ qat.keys())
    if differing:
        where = "the first" if differing[0] in finetuned else "the second"
        raise MisfitError(
            f"{said}: {len(differing)} tensors are in one of them alone, such as {differing[0]} in {where}; pass the "
            "plain and the quantization-aware fine-tune of one model, wrappers stripped"
        )
    for name, tensor in finetuned.items():
        if tensor.shape != qat[name].shape:
            raise MisfitError(
                f"{said}: {name} has shape {tuple(tensor.shape)} in the first and {tuple(qat[name].shape)} in the "
                "second; pass two fine-tunes of one model on one task"
            )


def _refuse_strangers(plain: Mapping[str, Tensor], trained: Mapping[str, Tensor], said: str) -> None:
    alike = similarity(sketch(plain), sketch(trained))
    if alike is not None and not alike >= MIN_SIMILARITY:
        raise LineageError(
            f"{said}: their weights agree at {alike:.2f}, expected at least {MIN_SIMILARITY}; they are fine-tunes of "
            "different bases"
        )
    if all(torch.equal(plain[name], trained[name]) for name in plain):
        raise ArtifactError(f"{said}: both hold the same numbers, so their vector is zero; pass the QAT model second")


def _fingerprint(ancestor: PreTrainedModel, trained: Translated, qat: object) -> dict[str, Tensor]:
    """The base fingerprint.

    Raises:
        LineageError, MisfitError: when the QAT model does not descend from this base.
    """
    base, tensors = ancestor.config._name_or_path or "base", backbone_tensors(ancestor)
    if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != dict(trained.tensors.shapes):
        raise MisfitError(f"{base}: its tensors differ from those of {qat} in names or shapes; name their common base")
    fingerprint = sketch(tensors)
    alike = similarity(fingerprint, sketch(trained.tensors))
    if alike is not None and not alike >= MIN_SIMILARITY:
        raise LineageError(
            f"{qat} does not descend from {base}: their weights agree at {alike:.2f}, expected at least "
            f"{MIN_SIMILARITY}"
        )
    return fingerprint
