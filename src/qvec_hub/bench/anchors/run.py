"""Run a suite of anchors: count one row for each cell, and continue after interruptions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ...errors import DataError, QVecError, first_line
from ...results.row import Row
from ...results.rows import append_row, read_all, read_rows, row_files
from ...training.progress import quiet_transformers
from ...util.atomic import write_text
from ...util.scratch import check_writable
from ..runner import ROWS_FILE, alone
from ..workers import processes
from .bench import AnchorBench
from .classes import check_classes
from .estimate import estimate
from .images import AnchorData
from .models import AnchorModel, open_models
from .suite import AnchorCell, AnchorSuite, cell_of_row
from .tables import write_tables

__all__ = ["ANCHORS_FILE", "AnchorRun", "open_anchors", "run_anchors"]

ANCHORS_FILE = "anchors.json"


@dataclass(frozen=True)
class AnchorRun:
    """The result of a run.

    Attributes:
        out: the folder of the rows.
        new: number of rows counted by this call.
        total: number of rows of the chosen cells in the folder.
        cells: number of rows that the chosen cells make.
    """

    out: Path
    new: int
    total: int
    cells: int


@quiet_transformers()
def run_anchors(
    suite: AnchorSuite,
    out: str | Path,
    cells: Sequence[AnchorCell],
    models: str | Path | None = None,
    *,
    token: str | None = None,
    device: torch.device | None = None,
    only_estimate: bool = False,
    say: Callable[[str], None] = lambda line: None,
    show: bool = True,
) -> AnchorRun:
    """Count the cells that have no row yet, append each row to ``rows.jsonl`` in `out`, and write the tables.

    Each row is on the disk before the next cell begins, so an interrupted run continues where it ended.

    Args:
        out: folder of the rows; created if it does not exist.
        cells: of the suite, see `anchor_cells`.
        models: folder of the converted models, by default ``models`` in `out`; missing models are converted first.
        token: for gated or private models and images; None is the one that is logged in.
        device: where to round and count; by default the device that accelerate chooses.
        only_estimate: stop before the first row.
        say: called with one line of text at each step.
        show: show progress on stderr.

    Raises:
        DataError: when `out` holds another suite's rows, another run is writing to it, the dataset cannot be read, or
            its classes are not those of the models.
        ArtifactError, HubError, MisfitError: when a model cannot be fetched or converted.
        QVecError: when several processes run this, or a model computes NaN.
    """
    out = Path(out)
    state = processes()
    if state.num_processes > 1:
        raise QVecError(f"bench anchors: expected one process, found {state.num_processes}; start it without torchrun")
    check_writable(out)
    with alone(out):
        _claim(out, suite)
        before = _rows(out)
        done = {cell_of_row(row).key for row in before}
        pending = [cell for cell in cells if cell.key not in done]
        library = _library(out, models)
        names = list(dict.fromkeys(cell.model for cell in (*cells, *map(cell_of_row, before))))
        opened = open_models(names, library, say, token)
        _same_models(before, opened, out)
        if pending:
            data = AnchorData(suite.images, token)
            bench = AnchorBench(suite, opened, data, device or state.device, show)
            _prepare(bench, pending, say, [] if only_estimate else pending)
            if not only_estimate:
                _count(bench, pending, out, say)
        rows = _rows(out)
        if rows:
            write_tables(out, rows, opened)
    keys = {cell.key for cell in cells}
    after = keys & {cell_of_row(row).key for row in rows}
    return AnchorRun(out, len(rows) - len(before), len(after), len(keys))


def open_anchors(out: str | Path) -> tuple[list[Row], AnchorSuite]:
    """Read the rows in a run's folder, and its suite.

    Raises:
        DataError: when there are no rows or damaged ones, or no suite.
    """
    path = Path(out, ANCHORS_FILE)
    rows = read_all([out], torn_ok=True)
    try:
        return rows, AnchorSuite.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: expected the suite that `qvec bench anchors` wrote beside its rows, found something else "
            f"({first_line(error)})"
        ) from error


def _library(out: Path, models: str | Path | None) -> Path:
    return Path(models) if models else out / "models"


def _claim(out: Path, suite: AnchorSuite) -> None:
    """Write the suite to the folder, or check that its rows are of this suite."""
    path, text = out / ANCHORS_FILE, suite.model_dump_json(indent=1) + "\n"
    if not path.exists() and not (out / ROWS_FILE).exists():
        write_text(path, text)
    elif not path.is_file() or path.read_bytes() != text.encode():
        raise DataError(
            f"{path}: expected the suite {suite.name} {suite.version} with these images, found another suite, version "
            "or images, which the rows there were counted for; name another folder with --out"
        )


def _rows(out: Path) -> list[Row]:
    return [row for path in row_files([out]) for row in read_rows(path, torn_ok=True)]


def _same_models(rows: Sequence[Row], models: dict[str, AnchorModel], out: Path) -> None:
    for row in rows:
        revision = models[row.receiver].revision
        if row.receiver_revision != revision:
            raise DataError(
                f"{out}: expected rows of {row.receiver} at {revision}, found rows at {row.receiver_revision}; name "
                "the --models that these were counted with, or another folder with --out"
            )


def _prepare(
    bench: AnchorBench, pending: Sequence[AnchorCell], say: Callable[[str], None], counted: Sequence[AnchorCell]
) -> None:
    """Open the images that the cells need, check their classes, and say what the run costs.

    Args:
        counted: the cells that are counted in this run: what only those need is not opened for an estimate.
    """
    say(f"opening {bench.suite.images.dataset}")
    for name in dict.fromkeys(cell.model for cell in pending):
        check_classes(bench.models[name].config(), bench.data.test, name)
        if any(cell.needs_data for cell in counted):
            check_classes(bench.models[name].config(), bench.data.calibration, name)
    for line in estimate(bench, pending):
        say(line)


def _count(bench: AnchorBench, pending: Sequence[AnchorCell], out: Path, say: Callable[[str], None]) -> None:
    for number, cell in enumerate(pending, 1):
        say(f"[{number}/{len(pending)}] {cell}")
        row = bench.count(cell)
        append_row(out / ROWS_FILE, row)
        say(f"[{number}/{len(pending)}] {cell}: {row.correct} of {row.n} right, {100 * row.top1:.2f} %")
