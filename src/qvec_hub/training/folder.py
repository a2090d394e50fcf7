"""The folder of a donor: each part is complete or absent, and only the same training can be resumed in it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from accelerate import PartialState

from ..errors import ArtifactError, QVecError
from ..util.atomic import new_folder, write_text
from ..util.scratch import check_writable

__all__ = ["RECORD", "check_free", "publish", "read_record", "remove_run", "run_folder", "start_record", "write_record"]

RECORD = "training.json"  # the settings of the training, and in the end its scores
CHECKPOINTS = "checkpoints"  # of runs in progress, removed when they end; it may hold folders of others too
MARK = ".qvec-run"  # in a folder of checkpoints that a training of ours made


def publish(folder: Path, write: Callable[[Path], Any]) -> None:
    """Write a folder under another name and move it in place, so that it exists only complete."""
    state = PartialState()
    if state.is_main_process:
        with new_folder(folder) as partial:
            write(partial)
    state.wait_for_everyone()


def check_free(out: Path, runs: Iterable[Path], resume: bool) -> None:
    """Refuse to train into a folder that cannot be written to or holds another donor or foreign checkpoints.

    Args:
        runs: the folders of the models to be trained.

    Raises:
        ArtifactError: when `out` cannot be written to.
        QVecError: when `out` holds a donor and `resume` is off, or checkpoints that no training of ours made.
    """
    check_writable(out)
    taken = [name for name in (RECORD, "fp", "qat", "vector") if (out / name).exists()]
    if taken and not resume:
        raise QVecError(
            f"folder '{out}': expected a new one, found a donor there ({', '.join(taken)}); "
            "continue it with resume=True (--resume), or choose another folder"
        )
    for run in runs:
        folder = _checkpoints(run)
        blocked = folder.parent.exists() and not folder.parent.is_dir()
        if blocked or (os.path.lexists(folder) and not (folder / MARK).is_file() and not (out / RECORD).exists()):
            raise QVecError(
                f"folder '{out}': expected room for checkpoints in '{folder}', found something that no training of "
                "qvec_hub made; nothing was changed: move it away, or choose another folder"
            )


def run_folder(run: Path) -> Path:
    """The folder for the checkpoints of a model that is trained; made, and marked as ours, where there is none.

    Raises:
        ArtifactError: when it cannot be made.
    """
    folder = _checkpoints(run)
    if not folder.exists() and PartialState().is_main_process:
        try:
            folder.mkdir(parents=True)
            (folder / MARK).touch()
        except OSError as error:
            raise ArtifactError(
                f"'{folder}': cannot be written ({error}); the models there stay as they are"
            ) from error
    return folder


def remove_run(run: Path) -> None:
    """Remove the checkpoints of a finished training, three times the model's size; those of others stay."""
    folder = _checkpoints(run)
    if (folder / MARK).is_file():
        shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # it holds something else
        folder.parent.rmdir()


def _checkpoints(run: Path) -> Path:
    return run.parent / CHECKPOINTS / run.name


def start_record(out: Path, settings: dict[str, Any], resume: bool) -> None:
    """Write down the settings, or check that they are those of the interrupted training.

    Raises:
        QVecError: other settings than those in the folder, or a folder that cannot be made.
        ArtifactError: a damaged record.
    """
    state = PartialState()
    state.wait_for_everyone()  # no process may take what another writes here for an older training
    if resume and (out / RECORD).exists():
        before = read_record(out)
        for key, value in settings.items():
            if before.get(key) != value:
                raise QVecError(
                    f"resume: '{out / RECORD}': expected the {key} that the training began with, "
                    f"{before.get(key)}, found {value}; resume with the same settings, or choose another folder"
                )
    elif state.is_main_process:
        write_record(out, settings)
    state.wait_for_everyone()


def read_record(out: Path) -> dict[str, Any]:
    """The settings, and perhaps the scores, that the record in a donor's folder holds.

    Raises:
        ArtifactError: when there is none, or it is damaged.
    """
    try:
        record = json.loads((out / RECORD).read_text())
    except (OSError, ValueError) as error:
        raise ArtifactError(f"'{out / RECORD}': expected the record of a training, found {error}") from error
    if not isinstance(record, dict):
        raise ArtifactError(f"'{out / RECORD}': expected a JSON object, found {type(record).__name__}")
    return record


def write_record(out: Path, record: dict[str, Any]) -> None:
    """Write the record of a donor's folder, making the folder if needed.

    Raises:
        QVecError: when it cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / RECORD, json.dumps(record, indent=2) + "\n")
    except OSError as error:
        raise QVecError(f"folder '{out}': cannot be made or written to ({error}); choose another") from error
