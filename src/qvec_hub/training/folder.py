"""A donor's folder: nothing in it is half-written, and only the same training is resumed in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate import PartialState

from ..errors import ArtifactError, QVecError
from ..folders import new_folder, write_text

__all__ = ["RECORD", "check_free", "publish", "read_record", "start_record", "write_record"]

RECORD = "training.json"  # the settings of the training, and in the end its scores


def publish(folder: Path, write: Callable[[Path], Any]) -> None:
    """Write a folder under another name and move it in place, so that it exists only complete."""
    state = PartialState()
    if state.is_main_process:
        with new_folder(folder, owned=lambda name: True) as partial:
            write(partial)
    state.wait_for_everyone()


def check_free(out: Path, resume: bool) -> None:
    """Refuse to train over another donor.

    Raises:
        QVecError: when `out` holds one and `resume` is off.
    """
    taken = [name for name in (RECORD, "fp", "qat", "vector") if (out / name).exists()]
    if taken and not resume:
        raise QVecError(
            f"folder '{out}': expected a new one, found a donor there ({', '.join(taken)}); "
            "go on with it by resume=True (--resume), or choose another folder"
        )


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
    try:
        record = json.loads((out / RECORD).read_text())
    except (OSError, ValueError) as error:
        raise ArtifactError(f"'{out / RECORD}': expected the record of a training, found {error}") from error
    if not isinstance(record, dict):
        raise ArtifactError(f"'{out / RECORD}': expected a JSON object, found {type(record).__name__}")
    return record


def write_record(out: Path, record: dict[str, Any]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / RECORD, json.dumps(record, indent=2) + "\n")
    except OSError as error:
        raise QVecError(f"folder '{out}': cannot be made or written to ({error}); choose another") from error
