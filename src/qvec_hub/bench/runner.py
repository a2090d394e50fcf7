"""Run a suite: count one row for each cell, and continue after interruptions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from accelerate import PartialState
from filelock import FileLock, Timeout

from ..backbone.checkpoint import load_classifier
from ..backbone.names import backbone_tensors
from ..errors import DataError, first_line
from ..results.row import Row
from ..results.rows import append_row, read_all, read_rows, row_files
from ..training.progress import quiet_transformers
from ..util.atomic import write_text
from ..util.progress import counting
from ..util.scratch import check_writable
from .cells import Cell, Key, cells, key_of_row
from .context import Context, Trained, read_context
from .measure import Workbench
from .model_store import Library, donor_name, receiver_name
from .suite import Suite
from .train_models import build_library, recorded_similarity
from .workers import processes, rows_by_workers, worthwhile_workers

__all__ = ["ROWS_FILE", "SUITE_FILE", "Run", "alone", "open_run", "run_suite"]

ROWS_FILE, SUITE_FILE = "rows.jsonl", "suite.json"
MANY = 400  # cells that justify workers: starting them takes as long as counting dozens


@dataclass(frozen=True)
class Run:
    """The result of a run.

    Attributes:
        out: the folder of the rows.
        new: number of rows counted by this call.
        total: number of rows in the folder.
        cells: number of rows that the chosen cells make."""

    out: Path
    new: int
    total: int
    cells: int


@quiet_transformers()
def run_suite(
    suite: Suite,
    out: str | Path,
    models: str | Path | None = None,
    *,
    chosen: Suite | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Run:
    """Count every cell of a suite that has no row yet, and append its row to ``rows.jsonl`` in `out`.

    Each row is on the disk before the next cell begins, so an interrupted run continues where it ended. With several
    processes (accelerate launch, torchrun) each counts a part of the cells into a file of its own, ``rows-1.jsonl``, …;
    the counts do not depend on the number of processes.

    Args:
        out: folder of the rows; created if it does not exist.
        models: folder of the trained models, by default ``models`` in `out`; missing models are trained first.
        chosen: a narrowed copy of the suite; only its cells are counted.
        say: called with one line of text at each step.

    Raises:
        DataError: when `out` holds another suite's rows, or another run is writing to it.
        QVecError: when a model, vector or dataset cannot be read or does not fit.
    """
    out, chosen = Path(out), chosen or suite
    check_writable(out)
    library = Library(Path(models) if models else out / "models")
    state = processes()
    with alone(out, state.process_index):
        if state.is_main_process:
            _claim(out, suite)
        state.wait_for_everyone()
        build_library(chosen, library, say)
        wanted = cells(chosen)
        keys = {cell.key for cell in wanted}
        before = keys & _counted(out)
        state.wait_for_everyone()  # no process appends before all have read
        if state.is_main_process:
            _describe(chosen, library, out)
        pending = [cell for cell in wanted if cell.key not in before]
        _count(chosen, library, out, _share(pending, state), state)
        state.wait_for_everyone()
        after = keys & _counted(out)
    return Run(out, len(after) - len(before), len(after), len(keys))


def open_run(out: str | Path) -> tuple[list[Row], Context, Suite | None]:
    """Read the rows in a run's folder (or a file of rows), their context, and the suite; None if it is not there.

    Raises:
        DataError: when there are no rows, or damaged ones.
    """
    rows = read_all([out], torn_ok=True)
    path = Path(out, SUITE_FILE)
    try:
        suite = Suite.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: expected the suite that `qvec bench run` wrote beside its rows, found something else "
            f"({first_line(error)}); remove the file to read the rows alone"
        ) from error
    return rows, read_context([out]), suite


@contextmanager
def alone(out: Path, process: int = 0) -> Iterator[None]:
    """Hold a lock on the folder, so that two runs do not count the same cells twice."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out / f".{_rows_file(process)}.lock", timeout=0):
            yield
    except Timeout:
        raise DataError(
            f"{out}: another run is writing to it; wait until it ends, or name another folder with --out"
        ) from None
    except OSError as error:
        raise DataError(f"{out}: expected a folder to write rows to, but it cannot be used: {error}") from error


def _claim(out: Path, suite: Suite) -> None:
    """Write the suite to the folder, or check that its rows are of this suite."""
    path, text = out / SUITE_FILE, suite.model_dump_json(indent=1) + "\n"
    if not path.exists():
        write_text(path, text)
    elif not _is(suite, path):
        raise DataError(
            f"{path}: expected the suite {suite.name} {suite.version} as it stands now, found another "
            "suite or another version of it, which the rows there were counted for; name another folder with --out"
        )


def _is(suite: Suite, path: Path) -> bool:
    """Whether a file holds the suite, perhaps as a version wrote it that knew fewer keys."""
    try:
        return Suite.model_validate_json(path.read_text(encoding="utf-8")) == suite
    except (OSError, ValueError):
        return False


def _describe(suite: Suite, library: Library, out: Path) -> None:
    """Write the context beside the rows: the bases and tasks that the names in rows stand for."""
    names = [task.name for task in suite.tasks]
    context = Context(
        {
            receiver_name(base, name, kind): Trained(base, name, kind)
            for base in suite.bases
            for name in names
            for kind in suite.kinds
        },
        {
            donor_name(base, name, grid): Trained(base, name)
            for base in suite.bases
            for name in names
            for grid in suite.grids
        },
        {base: _parameters(library.base(base)) for base in suite.bases},
        {base: similarity for base in suite.bases if (similarity := recorded_similarity(suite, library, base))},
    )
    (read_context([out]) | context).write(out)


def _parameters(base: str | Path) -> int:
    """Number of parameters of the backbone, without a head."""
    model = load_classifier(base, head_required=False)
    return sum(tensor.numel() for tensor in backbone_tensors(model).values())


def _counted(out: Path) -> set[Key]:
    return {key_of_row(row) for path in row_files([out]) for row in read_rows(path, torn_ok=True)}


def _share(pending: list[Cell], state: PartialState) -> list[Cell]:
    """This process's part of the cells: consecutive ones, because those share a receiver."""
    size, rest = divmod(len(pending), state.num_processes)
    start = state.process_index * size + min(state.process_index, rest)
    return pending[start : start + size + (state.process_index < rest)]


def _count(suite: Suite, library: Library, out: Path, mine: list[Cell], state: PartialState) -> None:
    workers = worthwhile_workers(suite) if len(mine) >= MANY else 1
    if workers > 1:
        rows = rows_by_workers(suite, library, mine, workers)
    else:
        bench = Workbench(suite, library, state.device)
        rows = (bench.count(cell) for cell in mine)
    with counting("measuring cells", len(mine), state.is_main_process) as advance, closing(rows):
        for row in rows:
            append_row(out / _rows_file(state.process_index), row)
            advance(1)


def _rows_file(process: int) -> str:
    return f"rows-{process}.jsonl" if process else ROWS_FILE
