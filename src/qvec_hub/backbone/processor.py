"""The image processor of a checkpoint: found in one place, with the hub arguments that the model was loaded with.

The processor is found when its model is loaded and kept with the model object, because no token is kept that could
find it later. Proxy images, calibration images, evaluation and saving all take it from here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from huggingface_hub.file_download import repo_folder_name
from torch import nn
from transformers import AutoImageProcessor, BaseImageProcessor, ViTImageProcessorPil

from ..artifact.schema import REPO_ID
from ..errors import HubError, QVecError
from ..hub.transfer.ask import hub_status
from ..hub.transfer.client import LIBRARY, hub_errors
from ..hub.transfer.repo_path import RepoPath, is_folder, parse_place
from ..util.foreign import foreign_errors
from .checkpoint_files import place_in_cache
from .provenance import known_origin, provenance_of, set_provenance_

__all__ = [
    "ADVICE",
    "keep_processor_",
    "kept_files",
    "knows_processor",
    "load_processor",
    "processor_of",
    "remember_processor_",
    "remember_processor_beside_",
    "require_processor",
]

# In transformers' order of precedence; the last one names the model's type, by which an untyped processor is known.
FILES = ("processor_config.json", "preprocessor_config.json", "config.json")
ADVICE = "; pass processor="  # the end of every message that says that there is none


def load_processor(source: str | Path, **hub: Any) -> Any:
    """Load the image processor of a folder or Hub repository, on the Pillow backend.

    Args:
        source: a folder, ``"org/name[@revision]"`` or ``"hf://org/name[@revision]/subfolder"``.
        hub: revision, token, cache_dir, local_files_only and subfolder, as the model's; nothing is asked of the Hub
            when `local_files_only` is set or the files of this commit are in the cache.

    Raises:
        QVecError: when there is none, or it does not load.
    """
    return _load(*_find(source, **hub))


def _find(
    source: str | Path,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    subfolder: str = "",
) -> tuple[str, Path]:
    """What to call a checkpoint, and the folder its processor lies in."""
    if is_folder(source):
        folder: Path | None = Path(source).expanduser() / subfolder
    else:
        place = parse_place(str(source), revision, subfolder or None)
        folder = _fetch(place, token, cache_dir, local_files_only or constants.HF_HUB_OFFLINE)
    if folder is None or not any((folder / name).is_file() for name in FILES[:2]):
        raise QVecError(
            f"model {str(source)!r}: expected an image processor (preprocessor_config.json) with it, found none{ADVICE}"
        )
    return str(source), folder


def _load(said: str, folder: Path) -> Any:
    with foreign_errors(
        QVecError,
        f"model {said!r}: expected an image processor (preprocessor_config.json) with it, found none that loads",
        ADVICE.removeprefix("; "),
    ):
        return _from_folder(folder)


def processor_of(model: Any) -> Any | None:
    """The image processor of a model: the one kept with it, else the one beside its checkpoint; None without one."""
    found = _kept(model)
    return None if isinstance(found, str) else found


def require_processor(model: Any) -> Any:
    """As `processor_of`.

    Raises:
        QVecError: where there is none; says why.
    """
    found = _kept(model)
    if isinstance(found, str):
        raise QVecError(found)
    return found


def remember_processor_(model: nn.Module, source: str | Path, **hub: Any) -> None:
    """Find the processor of a model that was just loaded from `source`, and keep it with the model.

    If there is none, this is recorded too, so that it is searched only once. Never raises.

    Args:
        hub: as for `load_processor`; nothing of it stays with the model.
    """
    files: dict[str, bytes] = {}
    try:
        said, folder = _find(source, **hub)
        files = {name: path.read_bytes() for name in FILES[:2] if (path := folder / name).is_file()}
        found = _load(said, folder)
    except (QVecError, OSError) as error:
        found = str(error)
    set_provenance_(model, processor=found, processor_files=files)


def kept_files(model: Any) -> dict[str, bytes]:
    """The files of a model's processor, as bytes by name, also if it does not load here; empty if there are none."""
    _kept(model)  # looks for them, if nobody has
    return dict(provenance_of(model).processor_files)


def remember_processor_beside_(model: Any, weights: str | Path, **hub: Any) -> None:
    """As `remember_processor_`, of a model whose weights were read from this file, in a folder or in a Hub's cache."""
    name, folder, place = str(model.config.name_or_path), Path(weights).parent, place_in_cache(weights)
    if place is None or not name or Path(name).is_dir():
        remember_processor_(model, folder)
        return
    snapshot = next(each for each in (folder, *folder.parents) if each.name == place.revision)
    where = {"revision": place.revision, "subfolder": place.subfolder or "", "cache_dir": snapshot.parents[2]}
    remember_processor_(model, name, **{**hub, **where})


def knows_processor(model: nn.Module) -> bool:
    """Whether a model's processor was looked for already."""
    return provenance_of(model).processor is not None


def keep_processor_(model: nn.Module, processor: Any) -> None:
    """Keep a processor with a model, for `processor_of`."""
    set_provenance_(model, processor=processor, processor_files={})


def _kept(model: Any) -> Any:
    """The processor, or the text that says why there is none."""
    found = provenance_of(model).processor
    if found is not None:
        return found
    name, origin = str(getattr(getattr(model, "config", None), "_name_or_path", "") or ""), known_origin(model)
    if not name:
        return "model: expected an image processor with it, found a model made in memory" + ADVICE
    # transformers does not always tell which commit it loaded: where a single one is cached, it is that.
    cached = [] if origin.revision or Path(name).is_dir() else _cached_commits(name)
    if origin.repo_id or len(cached) == 1:
        commit = origin.revision or (cached[0] if len(cached) == 1 else None)
        remember_processor_(model, origin.repo_id or name, revision=commit, subfolder=origin.subfolder or "")
    elif Path(name).is_dir():
        remember_processor_(model, name)
    else:  # a path that moved, which is not to be taken for a repository
        return (
            f"model {name!r}: expected an image processor where it was loaded from, found neither a folder nor a "
            f"cached repository; load it with qvec_hub.from_pretrained, or{ADVICE.removeprefix(';')}"
        )
    return provenance_of(model).processor


def _cached_commits(name: str) -> list[str]:
    """The commits at which a repository's model lies in the cache; none for what is no repository."""
    if not REPO_ID.accepts(name):
        return []
    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model") / "snapshots"
    return sorted(path.parent.name for path in folder.glob(f"*/{FILES[-1]}"))


def _fetch(place: RepoPath, token: str | bool | None, cache_dir: str | Path | None, offline: bool) -> Path | None:
    """The folder in the cache that holds a repository's processor; None when it has none."""
    at: dict[str, Any] = {"cache_dir": cache_dir, "revision": place.revision}
    pinned = bool(re.fullmatch("[0-9a-f]{40}", place.revision or ""))
    known = pinned and all(try_to_load_from_cache(place.repo_id, place.inside(name), **at) for name in FILES)
    found = None
    with hub_errors(place, "its image processor could not be fetched"):
        # Asked first, because the client would retry for half a minute for each file.
        answers = known or offline or hub_status(place.repo_id, place.revision, token) is not None
        options = {**at, "token": token, "local_files_only": known or offline or not answers, **LIBRARY}
        for name in FILES:
            try:
                path = hf_hub_download(place.repo_id, place.inside(name), **options)
            except (EntryNotFoundError, LocalEntryNotFoundError):
                continue
            found = Path(path).parent if name != FILES[-1] else found
    if found is None and not answers:
        raise HubError(
            f"model {str(place)!r}: expected an image processor with it, found none in the cache and no answer from "
            f"{constants.ENDPOINT}{ADVICE}"
        )
    return found


def _from_folder(folder: Path) -> Any:
    """Pillow everywhere: the pixels, and so the counts, must not depend on whether torchvision is installed."""
    try:
        return AutoImageProcessor.from_pretrained(str(folder), backend="pil", trust_remote_code=False)
    except Exception:
        processor = _by_its_old_name(folder)
        if processor is None:
            raise
        return processor


def _by_its_old_name(folder: Path) -> Any | None:
    """Checkpoints of 2022 call their processor ``ViTFeatureExtractor``, which transformers 5 no longer knows."""
    values, _ = BaseImageProcessor.get_image_processor_dict(str(folder))
    if values.get("image_processor_type") != "ViTFeatureExtractor":
        return None
    return ViTImageProcessorPil.from_dict({**values, "image_processor_type": "ViTImageProcessor"})
