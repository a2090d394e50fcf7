"""Find the image files of a folder, and report the others."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image, features

from ..errors import DataError, first_line
from ..util.untrusted import printable

__all__ = ["find_images", "image_suffixes", "is_hidden", "left_out", "visible_folders"]

# What operating systems, archives and network drives leave beside a user's files.
LEFTOVERS = {"__macosx", "__pycache__", "@eadir", "thumbs.db", "desktop.ini", "$recycle.bin"}
# Formats that Pillow only recognizes, or hands to another program, and films.
NOT_READ = {"BUFR", "EMF", "EPS", "GRIB", "HDF5", "MPEG", "PDF", "WMF"}
OPTIONAL = {"AVIF": "avif", "JPEG2000": "jpg_2000", "WEBP": "webp"}  # formats that a Pillow may be built without
NOTES = {".csv", ".htm", ".html", ".ini", ".json", ".jsonl", ".log", ".md", ".parquet", ".tsv", ".txt", ".xml", ".yaml"}

log = logging.getLogger(__name__)


def image_suffixes() -> set[str]:
    """The suffixes, in lower case, of files that the installed Pillow reads, plugins of others included."""
    found = Image.registered_extensions()
    lacking = {kind for kind, feature in OPTIONAL.items() if not features.check(feature)}
    readable = (set(Image.OPEN) | {"MPO"}) - NOT_READ - lacking  # MPO is opened as the JPEG that it begins with
    return {suffix.lower() for suffix, kind in found.items() if kind in readable}


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, a resource fork, or what a system left behind."""
    return name.startswith(".") or name.lower() in LEFTOVERS


def visible_folders(root: Path) -> list[Path]:
    """The folders in a folder that are not hidden, sorted."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not is_hidden(path.name))


def find_images(folders: Iterable[Path], name: str, outside: Iterable[Path] = ()) -> dict[Path, list[Path]]:
    """Find the images at any depth of each folder, sorted, as absolute paths.

    Warns of files whose suffix cannot be read, with their number (see `left_out` if no image is left). Skips hidden
    images and logs this.

    Args:
        name: what messages call the dataset.
        outside: folders in which images themselves lie in no class.

    Raises:
        DataError: when a folder cannot be listed, or a file's name is not valid text.
    """
    suffixes = image_suffixes()
    found: dict[Path, list[Path]] = {}
    unread: list[Path] = []
    hidden: list[Path] = []
    links: list[Path] = []
    for folder in folders:
        found[folder] = []
        for path, is_visible in _files(folder, name):
            kind = path.suffix.lower()
            if not is_visible:
                hidden += [path] if kind in suffixes else []
            elif path.is_dir():
                links.append(path)
            elif kind in suffixes:
                found[folder].append(_as_text(path, name))
            elif kind not in NOTES:
                unread.append(path)
        found[folder].sort()
    stray: list[Path] = []
    for path in (path for root in outside for path in sorted(root.iterdir())):
        if path.is_dir() and is_hidden(path.name):
            hidden += [each for each, _ in _files(path, name) if each.suffix.lower() in suffixes]
        elif path.suffix.lower() in suffixes and path.is_file():
            (hidden if is_hidden(path.name) else stray).append(path)
    if unread and any(found.values()):
        _warn(f"dataset {name}: {_counted(unread)} left out: the installed Pillow reads no such files; convert them")
    if links:
        _warn(f"dataset {name}: {_counted(links)} left out: links to folders are not followed; move the images here")
    if stray and any(found.values()):
        _warn(f"dataset {name}: {_counted(stray)} left out: they lie beside the folders of the classes, not in one")
    if hidden:
        log.warning("dataset %s: %s skipped: hidden, or left by an archive or a system", name, _counted(hidden))
    return found


def left_out(folder: Path, name: str) -> str:
    """What to say, in an error, of the files of a folder that has no images."""
    unread = [path for path, visible in _files(folder, name) if visible and path.suffix.lower() not in NOTES]
    return f", but {_counted(unread)} that the installed Pillow does not read" if unread else ""


def _files(folder: Path, name: str) -> Iterator[tuple[Path, bool]]:
    """All files and links to folders below a folder, and whether they are visible."""

    def refuse(error: OSError) -> None:
        raise DataError(f"dataset {name}: expected a folder that can be listed, found {first_line(error)}") from error

    top = folder.absolute()
    for place, inside, files in os.walk(top, onerror=refuse):
        here = Path(place)
        visible = not any(map(is_hidden, here.relative_to(top).parts))
        links = [each for each in inside if (here / each).is_symlink()]  # not followed: one may lead to another class
        for each in (*files, *links):
            path = here / each
            if path.is_file() or path.is_dir():
                yield path, visible and not is_hidden(each)


def _as_text(path: Path, name: str) -> Path:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"dataset {name}: expected file names in UTF-8, found {printable(ascii(path.name))} in "
            f"{printable(ascii(path.parent.name))}; rename it"
        ) from error
    return path


def _counted(paths: list[Path]) -> str:
    listed = ", ".join(printable(ascii(p.name) if not p.name.isprintable() else repr(p.name)) for p in paths[:4])
    return f"{len(paths)} {'file' if len(paths) == 1 else 'files'} ({listed}{', ...' if len(paths) > 4 else ''})"


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=3)
