"""Several workers on one machine: the rows of one process, and a clear end when something happens to one of them."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import qvec_hub.bench.runner as runner
from qvec_hub.bench.cells import cells, key_of_row
from qvec_hub.bench.model_store import Library
from qvec_hub.bench.runner import run_suite
from qvec_hub.bench.workers import rows_by_workers
from qvec_hub.errors import ArtifactError, QVecError
from qvec_hub.results.row import Row
from qvec_hub.results.rows import read_rows

from .library import BASE, a_suite, fill

ROOT = Path(__file__).parents[2]
FEW = {"measure": [{"method": "fp"}, {"method": "ptq", "grids": ["int2-channel-mse"]}, {"method": "own_qat"}]}


@pytest.fixture
def two_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "MANY", 1)
    monkeypatch.setattr(runner, "worthwhile_workers", lambda suite: 2)


def counted(rows: list[Row]) -> list[tuple]:
    return sorted((*map(str, key_of_row(row)), row.scale, row.n, row.correct) for row in rows)


def test_two_workers_count_what_one_process_does(library: Library, tmp_path: Path, two_workers: None) -> None:
    suite = a_suite(**FEW)
    run_suite(suite, tmp_path, library.root)
    bench = runner.Workbench(suite, library, runner.processes().device)
    assert counted(read_rows(tmp_path / "rows.jsonl")) == counted([bench.count(cell) for cell in cells(suite)])
    assert not multiprocessing.active_children()


def test_a_worker_s_complaint_is_the_run_s(library: Library, tmp_path: Path, two_workers: None) -> None:
    suite, damaged = a_suite(), Library(tmp_path / "models")
    fill(damaged, suite)
    for task in ("counting", "textures"):
        tensors = damaged.vector(BASE, 0, task, suite.grids[0]) / "qvec.safetensors"
        tensors.write_bytes(tensors.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"qvec\.safetensors"):
        run_suite(suite, tmp_path / "out", damaged.root)
    assert read_rows(tmp_path / "out" / "rows.jsonl"), "what was counted before stays"
    assert not multiprocessing.active_children()


def test_a_worker_that_is_killed_is_told(library: Library) -> None:
    suite = a_suite()
    rows = rows_by_workers(suite, library, cells(suite), workers=2)
    next(rows)
    for worker in multiprocessing.active_children():
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(QVecError, match="exit code -9"):
        list(rows)
    assert not multiprocessing.active_children()


PROGRAM = """
import sys
sys.path.insert(0, {root!r})
import qvec_hub.bench.runner as runner
from tests.bench.library import a_suite
runner.MANY, runner.worthwhile_workers = 1, lambda suite: 2
if __name__ == "__main__":
    runner.run_suite(a_suite(), sys.argv[1], sys.argv[2])
"""


def test_a_killed_run_leaves_no_worker_behind(library: Library, tmp_path: Path) -> None:
    program, path = tmp_path / "program.py", tmp_path / "out" / "rows.jsonl"
    program.write_text(PROGRAM.format(root=str(ROOT)))
    run = subprocess.Popen(
        [sys.executable, str(program), str(path.parent), str(library.root)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not path.exists() and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    assert path.exists()
    assert run.poll() is None
    workers = [process for process in psutil.Process(run.pid).children() if process.is_running()]
    assert len(workers) >= 2
    run.send_signal(signal.SIGKILL)
    run.wait()
    while any(alive(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(worker) for worker in workers)


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
