"""Read, check and write vector artifacts on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from torch import Tensor

from ..errors import ArtifactError
from ..util.atomic import new_folder
from ..util.untrusted import printable
from ..util.written import listed
from . import config as artifact
from .config import Encoding, TensorSummary, VectorConfig
from .encoding import ENCODINGS, check_encoding, encode, planned, relative_error
from .images import write_images
from .sizes import contradictions
from .tensor_files import BESIDE, TensorFiles, read_lineage, tensor_files
from .vector_layout import LAYOUT

__all__ = ["Computed", "files_of", "read", "refuse_contradictions", "shape_of", "summarize", "write"]

_HEADS = re.compile(r"(^|\.)(classifier|cls_classifier|distillation_classifier|head|fc_norm)\.")
# Clocks of file systems tick coarsely: a file changed within this time of its check may look unchanged.
SETTLED_NS = 2 * 10**9


def read(folder: Path) -> tuple[VectorConfig, Mapping[str, Tensor], dict[str, Tensor] | None, bool]:
    """Open an artifact and check all of it: config, tensors (read lazily), base fingerprint, and whether it has images.

    Raises:
        ArtifactError: when a file is missing, truncated or of another kind, a value is not finite, or the hash differs.
    """
    config = VectorConfig.read(folder / artifact.CONFIG_FILE)
    if config.encoding.name not in ENCODINGS:
        raise ArtifactError(
            f"{folder}: encoding {config.encoding.name!r} is unknown; this qvec_hub reads "
            f"{', '.join(ENCODINGS.names())}"
        )
    tensors = TensorFiles(tensor_files(folder))
    foreign = tensors.encodings() - {config.encoding.name}
    if foreign:
        raise ArtifactError(
            f"{folder}: {artifact.CONFIG_FILE} promises tensors in {config.encoding.name}, the files hold some in "
            f"{', '.join(sorted(foreign))}; fetch or extract the vector again"
        )
    assert config.tensors is not None
    _refuse_heads(tensors, str(folder))
    refuse_contradictions(config, tensors.shapes, str(folder))
    _check_content(folder, tensors, config.tensors)
    beside = tensors.beside()  # if the files do not say, whatever is in the folder counts as the vector's
    sketched = beside is None or artifact.LINEAGE_FILE in beside
    lineage = read_lineage(folder / artifact.LINEAGE_FILE, tensors) if sketched else None
    return config, tensors, lineage, beside is None or artifact.IMAGES_FILE in beside


def write(
    folder: str | Path,
    config: VectorConfig,
    tensors: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    lineage: Mapping[str, Tensor] | None,
    images: Tensor | None,
    encoding: str | None = None,
    card: Callable[[Path, Path], None] = lambda folder, old: None,
) -> None:
    """Write an artifact: the folder always holds either the old vector or the complete new one.

    Args:
        shapes: canonical name -> shape of each of `tensors`.
        lineage: the base fingerprint.
        images: uint8 ``(n, size, size, 3)``.
        encoding: the name of one of `ENCODINGS`; by default the encoding that the tensors have.
        card: called as ``card(new_folder, path_of_the_old_card)`` to write the card.

    Raises:
        ArtifactError: when the encoding is unknown, a tensor belongs to a head or holds NaN, or the folder cannot be
            written.
    """
    encoding = check_encoding(encoding or config.encoding.name)
    _refuse_heads(tensors, "this vector")
    refuse_contradictions(config, shapes, "this vector")
    kept = tensors if isinstance(tensors, TensorFiles) and encoding == config.encoding.name else None

    def entries(name: str) -> dict[str, Tensor]:
        return encode(name, tensors[name], encoding) if kept is None else kept.stored(name)

    with new_folder(folder, LAYOUT) as scratch:
        if images is not None:
            write_images(images, scratch / artifact.IMAGES_FILE)
        if lineage is not None:
            save_file({name: sample.contiguous() for name, sample in lineage.items()}, scratch / artifact.LINEAGE_FILE)
        summary = _write_tensors(scratch, shapes, encoding, entries, str(folder))
        if kept is None:
            error = None if encoding == "float32" else relative_error(tensors, TensorFiles(tensor_files(scratch)))
            config = replace(config, encoding=Encoding(encoding, error))
        text = replace(config, tensors=summary).to_json()
        (scratch / artifact.CONFIG_FILE).write_text(text, encoding="utf-8")
        card(scratch, Path(folder).expanduser() / artifact.CARD_FILE)


def refuse_contradictions(config: VectorConfig, shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Raise ArtifactError when a config's architecture and its tensors contradict each other."""
    problems = contradictions(config.model_type, config.architecture, shapes)
    if problems:
        more = f"; and {len(problems) - 4} more" if len(problems) > 4 else ""
        shown = "; ".join(printable(problem) for problem in problems[:4])
        raise ArtifactError(
            f"{where}: the {printable(config.model_type, 60)} architecture in its config does not belong to its "
            f"tensors: {shown}{more}; fetch or extract the vector again"
        )


class Computed(Mapping[str, Tensor]):
    """Tensors that are computed each time they are used, and not stored."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], tensor: Callable[[str], Tensor]) -> None:
        self.shapes = shapes
        self._tensor = tensor

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.shapes:
            raise KeyError(name)
        return self._tensor(name)

    def __contains__(self, name: object) -> bool:
        return name in self.shapes

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def shape_of(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    """A tensor's shape, without reading or computing the tensor where possible."""
    if isinstance(tensors, (Computed, TensorFiles)):
        return tensors.shapes[name]
    return tuple(tensors[name].shape)


def files_of(tensors: Mapping[str, Tensor]) -> list[Path]:
    """The files that tensors are mapped from; empty if they are in memory."""
    return tensors.paths() if isinstance(tensors, TensorFiles) else []


def summarize(tensors: Mapping[str, Tensor], where: str) -> TensorSummary:
    """Compute count, norm and hash of all tensors, in one pass in order of their names.

    Raises:
        ArtifactError: when a tensor holds NaN or infinity.
    """
    digest, squares, parameters = hashlib.sha256(), 0.0, 0
    for name in sorted(tensors):
        tensor = tensors[name].reshape(-1)
        square = float(torch.dot(tensor, tensor)) if tensor.numel() else 0.0
        if not math.isfinite(square) and not bool(torch.isfinite(tensor).all()):
            raise ArtifactError(f"{where}: {name} holds NaN or infinity")
        squares += float(tensor.double().square().sum()) if not math.isfinite(square) else square
        parameters += tensor.numel()
        digest.update(tensor.view(torch.uint8).numpy().data)
    return TensorSummary(len(tensors), parameters, math.sqrt(squares), digest.hexdigest())


def _check_content(folder: Path, tensors: TensorFiles, expected: TensorSummary) -> None:
    found = sum(math.prod(shape) for shape in tensors.shapes.values())
    if (len(tensors), found) != (expected.count, expected.parameters):
        raise ArtifactError(
            f"{folder}: {artifact.CONFIG_FILE} promises {expected.count} tensors with {expected.parameters} "
            f"parameters, the files hold {len(tensors)} with {found}; fetch or extract the vector again"
        )
    stamp = _stamp(tensors, expected)
    if stamp is not None and os.path.exists(stamp):  # noqa: PTH110  (False, not an error, where it cannot be seen)
        return
    content = summarize(tensors, str(folder))
    if content.sha256 != expected.sha256:
        raise ArtifactError(
            f"{folder}: the tensors are not the ones {artifact.CONFIG_FILE} describes: expected sha256 "
            f"{expected.sha256[:16]}…, found {content.sha256[:16]}…; fetch or extract the vector again"
        )
    if not math.isclose(content.norm, expected.norm, rel_tol=1e-3):
        raise ArtifactError(
            f"{folder}: {artifact.CONFIG_FILE} promises a norm of {expected.norm:.6g}, the tensors have "
            f"{content.norm:.6g}; fetch or extract the vector again"
        )
    if stamp is not None:
        with contextlib.suppress(OSError):  # only a shortcut for the next time
            stamp.parent.mkdir(parents=True, exist_ok=True)
            stamp.touch()


def _stamp(tensors: TensorFiles, expected: TensorSummary) -> Path | None:
    """The marker that says that these files (same inode, size, times) had this content; None if they are too new.

    Includes the time of the inode's last change: unlike the modification time, it cannot be set back.
    """
    identity = [expected.sha256, repr(expected.norm)]
    for path in tensors.paths():
        status = path.stat()
        if max(status.st_mtime_ns, status.st_ctime_ns) > time.time_ns() - SETTLED_NS:
            return None
        identity.append(f"{path.resolve()}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}")
    key = hashlib.sha256("\n".join(identity).encode()).hexdigest()
    return Path(huggingface_hub.constants.HF_HOME) / "qvec_hub" / "verified" / key


def _write_tensors(
    folder: Path,
    shapes: Mapping[str, tuple[int, ...]],
    encoding: str,
    entries: Callable[[str], dict[str, Tensor]],
    where: str,
) -> TensorSummary:
    """Write the tensor files, and summarize what they hold; `where` is for messages."""
    owners = {entry: name for name, shape in shapes.items() for entry in planned(name, shape, encoding)}
    plan = split_torch_state_dict_into_shards(
        {entry: empty for name, shape in shapes.items() for entry, empty in planned(name, shape, encoding).items()},
        filename_pattern=artifact.TENSOR_PATTERN,
        max_shard_size=artifact.MAX_SHARD_BYTES,
    )
    beside = json.dumps(listed(folder, sorted(path.name for path in folder.iterdir())))
    metadata = {BESIDE: beside}  # one entry alone: safetensors writes several in any order
    # Hashing takes longer than computing and writing, so it begins with the first tensor.
    exact = encoding == "float32" and not plan.is_sharded
    arriving: dict[str, Future[Tensor]] = {name: Future() for name in shapes} if exact else {}
    with ThreadPoolExecutor(1) as meanwhile:
        arrived = Computed(shapes, lambda name: arriving[name].result())
        summary = meanwhile.submit(summarize, arrived, where) if exact else None
        try:
            for file, wanted in plan.filename_to_tensors.items():
                here: dict[str, Tensor] = {}
                for name in sorted({owners[entry] for entry in wanted}):
                    here |= {entry: content.contiguous() for entry, content in entries(name).items() if entry in wanted}
                    if exact:
                        arriving[name].set_result(here[name])
                save_file({entry: here[entry] for entry in wanted}, folder / file, metadata=metadata)
        finally:
            for tensor in arriving.values():
                tensor.cancel()  # or the hashing would wait for ever for what an error keeps away
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        (folder / artifact.INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return summarize(TensorFiles(tensor_files(folder)), where) if summary is None else summary.result()


def _refuse_heads(tensors: Mapping[str, Tensor], where: str) -> None:
    heads = [name for name in tensors if _HEADS.search(name)]
    if heads:
        raise ArtifactError(
            f"{where}: {heads[0]} belongs to a head, and a vector holds only backbone tensors; extract it again"
        )
