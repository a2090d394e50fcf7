"""Write a folder, or one text file, so that a crash leaves either the complete old content or the complete new one.

A new folder is renamed into its place. One that exists is exchanged in one step where that is possible and changes
nothing else: not through a link, not where the folder is mounted, is somebody's working directory or holds folders of
others. There the files inside are replaced one by one instead, the config file removed first and put back last: a
folder in which that was cut off has none, and saving again mends it.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from ..errors import ArtifactError, first_line
from .exchange import carry_over, exchange, may_exchange, resemble
from .scratch import check_writable, real_path, remove_dead, scratch_folder, uninterrupted
from .written import JOURNAL, Earlier, Layout, listed

__all__ = ["check_save", "new_folder", "write_file", "write_text"]

NEW, OLD = "new", "old"  # inside a scratch folder
COPIED_BYTES = 16 << 20  # a larger file is not copied for the case that something fails
UNTOUCHED = "nothing there was changed"


def check_save(target: str | Path, layout: Layout, names: Iterable[str], overwrite: bool = False) -> None:
    """Refuse a save before anything is computed for it: see `check_writable` and `Earlier`.

    Raises:
        ArtifactError: the folder cannot be written to, or files of these names in it are not of an earlier save.
    """
    check_writable(target)
    Earlier(real_path(target), layout, overwrite).refuse(names)


@contextmanager
def new_folder(target: str | Path, layout: Layout | None = None, overwrite: bool = False) -> Iterator[Path]:
    """An empty folder to write to, whose files take their place in `target` when the block ends well.

    Of what is in `target`, they replace files of the same name, and an earlier save's; everything else stays.

    Args:
        layout: how to tell an earlier save's files; None for a folder of which there is no earlier one.
        overwrite: whether to write over files of others that have the names of this save's.

    Raises:
        ArtifactError: `target` is a file or holds something else, or cannot be written to; says what was changed.
    """
    place = real_path(target)
    earlier = Earlier(place, layout, overwrite) if layout else None
    try:
        with _parents(place), scratch_folder(place.parent if may_exchange(place) else place) as scratch:
            remove_dead(place.parent)
            new = scratch / NEW
            new.mkdir()
            one_step = resemble(new, place)
            yield new
            names = sorted(path.name for path in new.iterdir())
            stale: set[str] = set()
            if earlier is not None:
                earlier.refuse(names)
                stale = earlier.stale(names)
            _give_modes(new, place)
            one_step = one_step and scratch.parent != place and carry_over(place, new, stale)
            _sync(*(new / name for name in names), new)
            with uninterrupted():
                _put_in_place(new, place, names, stale, layout, one_step)
    except _HalfwayError as error:
        config = f"; it has no {layout.config}, so that nobody takes it for whole" if layout and layout.config else ""
        raise ArtifactError(f"{target}: was being replaced when that failed ({error}){config}; save again") from error
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{target}: cannot be written ({first_line(error)}); {UNTOUCHED}") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file beside its place and move it there; a link leads to the file that is replaced.

    Raises:
        ArtifactError: when it cannot be written; it is then as it was.
    """
    write_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """As `write_text`, for a file of any kind, which `write` writes under a name of the same suffix.

    Raises:
        ArtifactError: when it cannot be written; it is then as it was.
    """
    place = Path(os.path.realpath(path))
    try:
        with scratch_folder(place.parent) as scratch:
            partial = scratch / f"file{place.suffix}"
            write(partial)
            _give_modes(scratch, place.parent, {partial.name: place.name})
            _sync(partial)
            partial.replace(place)
            _sync(place.parent)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be written ({first_line(error)}); {UNTOUCHED}") from error


class _HalfwayError(Exception):
    """A folder is neither as it was nor as it was to be."""


@contextmanager
def _parents(place: Path) -> Iterator[None]:
    """The folders that lead to `place`; those made here go again when the block fails."""
    missing = [path for path in place.parents if not path.exists()]
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in missing:
            with suppress(OSError):
                path.rmdir()
        raise


def _give_modes(new: Path, place: Path, names: dict[str, str] | None = None) -> None:
    """Give new files the mode of those that they replace, or the usual one: safetensors lets the owner alone read."""
    usual = 0o666 & ~_umask()
    for path in new.iterdir():
        with suppress(OSError):
            old = place / (names or {}).get(path.name, path.name)
            if path.is_file() and not path.is_symlink() and (names is None or path.name in names):
                path.chmod(stat.S_IMODE(old.stat().st_mode) if old.is_file() and not old.is_symlink() else usual)


def _put_in_place(
    new: Path, place: Path, names: list[str], stale: set[str], layout: Layout | None, one_step: bool
) -> None:
    """The last step of a save.

    Raises:
        OSError: when it failed, and everything is as it was.
        _HalfwayError: when it failed, and is not.
    """
    if not place.exists():
        new.rename(place)
    elif not (one_step and exchange(new, place, {*names, *stale})):
        _replace_files(new, place, names, stale, layout)
    with suppress(OSError):
        _sync(place.parent, place)


def _replace_files(new: Path, place: Path, names: list[str], stale: set[str], layout: Layout | None) -> None:
    """Replace files inside a folder one by one; when one cannot be, the others go back."""
    undo: list[tuple[Path, Path]] = []
    config = layout.config if layout else None
    with ExitStack() as stack:
        scratch = new.parent
        if scratch.parent != place:  # the folder turned out to be a mount, or the like
            scratch = stack.enter_context(scratch_folder(place))
            new = _copied(new, names, scratch)
        old = scratch / OLD
        old.mkdir()
        (scratch / JOURNAL).write_text(json.dumps(listed(new, names)), encoding="utf-8")
        _sync(scratch / JOURNAL, scratch)

        def take(name: str) -> None:
            if os.path.lexists(place / name):
                (place / name).rename(old / name)
                undo.append((old / name, place / name))

        def put(source: Path) -> None:
            name = source.name
            there = os.path.lexists(place / name)
            if there:
                _keep(place / name, old / name)
                undo.append((old / name, place / name))
            source.replace(place / name)
            if not there:
                undo.append((place / name, source))

        try:
            if config is not None:
                take(config)
                _sync(place)
            for name in sorted(stale - {config}):
                take(name)
            for name in names:
                if name != config:
                    put(new / name)
            _sync(place)
            if config in names:
                (new / config).replace(place / config)
        except OSError as error:
            _go_back(undo, error)
            raise


def _copied(new: Path, names: list[str], scratch: Path) -> Path:
    """Copy the files of a new folder into another scratch folder, perhaps on another file system."""
    copied = scratch / NEW
    copied.mkdir()
    for name in names:
        shutil.copy2(new / name, copied / name)
    _sync(*copied.iterdir())
    return copied


def _keep(path: Path, copy: Path) -> None:
    """Keep a file that is about to be replaced, under a second name."""
    try:
        os.link(path, copy, follow_symlinks=False)
    except OSError:
        if path.lstat().st_size > COPIED_BYTES:
            path.rename(copy)
        else:
            shutil.copy2(path, copy, follow_symlinks=False)


def _go_back(undo: list[tuple[Path, Path]], reason: OSError) -> None:
    try:
        for source, place in reversed(undo):
            source.replace(place)
    except OSError as error:
        raise _HalfwayError(f"{first_line(reason)}; and then {first_line(error)}") from reason


def _sync(*paths: Path) -> None:
    """Make sure that files, and the names in folders, are on the disk."""
    for path in paths:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            continue
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
