"""Running a suite: every cell once, whatever happens in between, and the counts that an independent loop gets."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import ViTForImageClassification, ViTImageProcessor

import qvec_hub.bench.runner as runner
from qvec_hub import zoo
from qvec_hub.bench.cells import cells, key_of_row
from qvec_hub.bench.context import read_context
from qvec_hub.bench.model_store import Library
from qvec_hub.bench.runner import run_suite
from qvec_hub.bench.stats.transfer import ceilings, transfers
from qvec_hub.bench.vector_cache import Donors
from qvec_hub.bench.verify import verify
from qvec_hub.errors import ArtifactError, DataError
from qvec_hub.results.pairing import Untreated
from qvec_hub.results.row import Row
from qvec_hub.results.rows import read_rows, row_files

from .library import BASE, a_suite, fill

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def finished(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    done = run_suite(a_suite(), out, library.root)
    assert (done.new, done.total, done.cells) == (84, 84, 84)
    return out


def rows_in(out: Path) -> list[Row]:
    return [row for path in row_files([out]) for row in read_rows(path)]


def results(out: Path) -> list[tuple]:
    """What was counted, without what differs from run to run."""
    return sorted(((*map(str, key_of_row(row)), row.scale, row.n, row.correct) for row in rows_in(out)), key=str)


def test_every_cell_has_one_row(finished: Path) -> None:
    assert sorted(map(str, (cell.key for cell in cells(a_suite())))) == sorted(
        str(key_of_row(r)) for r in rows_in(finished)
    )


def absmax(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """The paper's grid, as its formula stands there."""
    scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-8) / (2 ** (bits - 1) - 1)
    return (weight / scale).round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) * scale


def test_counts_equal_those_of_an_independent_loop(tmp_path: Path) -> None:
    """On the paper's grid: the receiver alone, one donor, and the mean of others."""
    measure = [
        {"method": "ptq"},
        {"method": "qvec", "donors": "each", "scales": ["unit", 0.4]},
        {"method": "qvec", "donors": "others", "merge": "mean", "scales": [1.5]},
    ]
    suite, library = a_suite(grids=["int3-channel-absmax"], measure=measure), Library(tmp_path / "models")
    fill(library, suite, seed=3)
    run_suite(suite, tmp_path / "out", library.root)
    found = rows_in(tmp_path / "out")
    assert len(found) == 3 * (1 + 3 * 2 + 1)
    assert [row.correct for row in found] == [by_the_paper(row, library) for row in found]


def by_the_paper(row: Row, library: Library) -> int:
    names = [donor.repo.removeprefix("zoo-xs-").removesuffix("-int3-channel-absmax-qvec") for donor in row.donors]
    assert all(name in ("shapes", "counting", "textures") for name in names)
    task = row.receiver.removeprefix("zoo-xs-")
    model = ViTForImageClassification.from_pretrained(library.fp(BASE, 0, task)).eval()
    pairs = [
        tuple(
            dict(ViTForImageClassification.from_pretrained(folder).named_parameters())
            for folder in (library.fp(BASE, 0, name), library.qat(BASE, 0, name, row.grid))
        )
        for name in names
    ]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("vit."):
                continue
            for fp, qat in pairs:
                parameter += row.scale / len(pairs) * (qat[name] - fp[name])
            module = model.get_submodule(name.rpartition(".")[0])
            if isinstance(module, torch.nn.Linear) and name.endswith("weight"):
                parameter.copy_(absmax(parameter, row.grid.bits))
        images, labels = zoo.arrays(task, "test", 25)
        processor = ViTImageProcessor.from_pretrained(library.fp(BASE, 0, task))
        pixels = processor(list(images), return_tensors="pt")["pixel_values"]
        return int((model(pixels).logits.argmax(-1).numpy() == labels).sum())


def test_every_row_reproduces_by_loading_the_models(finished: Path, library: Library) -> None:
    """The packed layers of `from_pretrained` and `evaluate` count what the bench counts."""
    rows = rows_in(finished)
    checks = verify(rows, context=read_context([finished]), library=library, suite=a_suite())
    assert len(checks) == len(rows)
    assert [check.why for check in checks if not check.reproduces] == []


def test_a_false_row_is_found_out(finished: Path, library: Library) -> None:
    row = next(row for row in rows_in(finished) if row.method == "ptq")
    fields = {name: getattr(row, name) for name in row.__dataclass_fields__ if name != "top1"}
    false = Row(**{**fields, "correct": row.correct + 1})
    other = Row(**{**fields, "receiver_revision": "sha256:0"})
    old = Row(**{**fields, "n": row.n, "correct": row.correct + 1, "versions": {"torch": "1.0"}})
    checks = verify([false, other, old], context=read_context([finished]), library=library, suite=a_suite())
    by_row = {id(check.row): check for check in checks}
    assert by_row[id(false)].reproduces is False
    assert by_row[id(other)].reproduces is None
    assert "expected the weights sha256:0" in by_row[id(other)].why
    assert by_row[id(old)].reproduces is False, "one of 25 images is more than half a percent"


def test_validation_takes_the_best_scale_of_the_validation_split(finished: Path) -> None:
    rows = [row for row in rows_in(finished) if row.scale_policy == "validation"]
    assert rows
    assert {row.scale for row in rows} <= {0.5, 1.5}
    assert {row.split for row in rows} == {"test"}


def test_recommended_scales_are_the_vectors_own(finished: Path) -> None:
    merged = [row for row in rows_in(finished) if row.scale_policy == "recommended"]
    assert merged
    assert {row.scale for row in merged} == {1.0}, "a merged vector recommends 1"


def test_controls_differ_from_pair_to_pair(library: Library) -> None:
    donors = Donors(library)
    chosen = [cell for cell in cells(a_suite()) if cell.control == "random" and not cell.merge]
    name = "encoder.layer.0.attention.attention.query.weight"
    directions = [donors.vector(cell)[name] for cell in chosen]
    cosines = torch.corrcoef(torch.stack([each.flatten() for each in directions]))
    pairs = {(cell.receiver, cell.donors) for cell in chosen}
    assert float(cosines.abs().quantile(0.5)) < 0.1
    assert len(pairs) == 6


def test_rows_of_one_receiver_belong_together(finished: Path) -> None:
    """Every treatment on the vectors' grid finds the counts it is compared with, its ceiling among them."""
    rows, context = rows_in(finished), read_context([finished])
    found = transfers(rows, context)
    assert len(found) == 3 * (2 + 2 * 2 * 4 + 2 * 2)
    assert all(each.own_qat is not None and each.base == BASE for each in found)
    untreated = Untreated(rows)
    assert all("fp" in untreated.beside(each.row) for each in found)
    assert sum(each.row.method == "own_qat" for each in ceilings(rows, context)) == 3


def test_a_second_run_has_nothing_to_do(finished: Path, library: Library) -> None:
    before = (finished / "rows.jsonl").read_bytes()
    done = run_suite(a_suite(), finished, library.root)
    assert (done.new, done.total) == (0, 84)
    assert (finished / "rows.jsonl").read_bytes() == before


def test_parts_add_up_to_the_whole(finished: Path, library: Library, tmp_path: Path) -> None:
    for receiver in ("counting", "shapes", "textures"):
        run_suite(a_suite(), tmp_path, library.root, chosen=a_suite().narrowed(receivers=[receiver]))
    assert results(tmp_path) == results(finished)


def test_another_suite_s_folder_is_refused(finished: Path, library: Library) -> None:
    before = (finished / "rows.jsonl").read_bytes()
    with pytest.raises(DataError, match=r"suite\.json: expected the suite small 2 as it stands now, found another"):
        run_suite(a_suite(version="2"), finished, library.root)
    assert (finished / "rows.jsonl").read_bytes() == before


def test_two_runs_at_once_are_refused(library: Library, tmp_path: Path) -> None:
    with runner.alone(tmp_path), pytest.raises(DataError, match="another run is writing to it"):
        run_suite(a_suite(), tmp_path, library.root)


def test_a_damaged_vector_ends_the_run_and_keeps_its_rows(library: Library, tmp_path: Path) -> None:
    own = shutil.copytree(library.root, tmp_path / "models")
    broken = Library(own).vector(BASE, 0, "counting", a_suite().grids[0]) / "qvec.safetensors"
    broken.write_bytes(broken.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match=r"qvec\.safetensors"):
        run_suite(a_suite(), tmp_path / "out", own)
    assert len(rows_in(tmp_path / "out")) > 3, "what was counted before stays"


PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from tests.bench.library import a_suite
from qvec_hub.bench.runner import run_suite
run_suite(a_suite(), sys.argv[1], sys.argv[2])
"""


def start(out: Path, models: Path, **environment: str) -> subprocess.Popen:
    program = PROGRAM.format(root=str(ROOT))
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen([sys.executable, "-c", program, str(out), str(models)], env=env, stderr=subprocess.DEVNULL)


def test_killed_again_and_again_the_rows_are_those_of_a_quiet_run(
    finished: Path, library: Library, tmp_path: Path
) -> None:
    """``kill -9`` when a random number of rows is there; the script benchmarks/bench_kills.py does it twenty times."""
    rng, kills = random.Random(0), 0
    for _ in range(3):
        process = start(tmp_path, library.root)
        wanted = count_lines(tmp_path) + rng.randrange(1, 20)
        deadline = time.monotonic() + 120
        while process.poll() is None and count_lines(tmp_path) < wanted and time.monotonic() < deadline:
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills == 3
    run_suite(a_suite(), tmp_path, library.root)
    assert results(tmp_path) == results(finished)
    assert len(rows_in(tmp_path)) == 84


def count_lines(out: Path) -> int:
    path = out / "rows.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_two_processes_count_the_same(finished: Path, library: Library, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(root=str(ROOT)))
    out = tmp_path / "out"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    command = [*launch, str(program), str(out), str(library.root)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    assert results(out) == results(finished)
    assert [len(read_rows(path)) for path in row_files([out])] == [42, 42], "each did a half"


def test_the_context_says_what_names_stand_for(finished: Path) -> None:
    context = read_context([finished])
    values = json.loads((finished / "context.json").read_text())
    assert context.receivers["zoo-xs-shapes"].base == BASE
    assert context.donor_task("zoo-xs-shapes-int2-channel-mse-qvec") == "shapes"
    assert 150_000 < values["parameters"][BASE] < 250_000
    similarity = context.similarity[BASE]
    assert all(abs(similarity[task][task] - 1) < 1e-3 for task in similarity)
    assert similarity["shapes"]["counting"] == similarity["counting"]["shapes"] < 1
