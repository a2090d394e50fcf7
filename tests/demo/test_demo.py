"""The demo at its smallest: it runs to the end, its rows add up, its table and figure come out."""

import json
from pathlib import Path

import pytest
from huggingface_hub import HfApi, ModelCard

import qvec_hub as qv
from qvec_hub.artifact.config import Revision
from qvec_hub.bench.controls.random_vector import random_like
from qvec_hub.bench.model_store import Library
from qvec_hub.bench.runner import ROWS_FILE
from qvec_hub.bench.suite import Suite
from qvec_hub.demo.report import draw, table
from qvec_hub.demo.run import demo_suite, run_demo
from qvec_hub.results.row import Row
from qvec_hub.results.rows import read_rows

GRID = "int2-channel-absmax"
SEED = 2038


def small() -> Suite:
    """The suite of the demo with two tasks, hardly trained, and few scales."""
    suite = demo_suite(GRID).model_dump()
    merged = {"method": "qvec", "donors": "others", "merge": "mean"}
    return Suite.model_validate(
        suite
        | {
            "tasks": ["digits", "counting"],
            "images": {"train": 200},
            "recipe": {"epochs": 1, "learning_rate": 1e-3, "warmup_steps": 1},
            "measure": [
                *suite["measure"][:4],
                {**merged, "scales": ["unit", 2.0], "controls": ["random"]},
                {**merged, "scales": [0.5]},
                suite["measure"][-1],
            ],
        }
    )


pytestmark = [
    pytest.mark.usefixtures("quick_rounding"),
    pytest.mark.filterwarnings("ignore:.*warm.*:UserWarning"),  # two steps of training end within any warm-up
]


def test_a_small_demo(qvec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines: list[str] = []
    rows = run_demo(small(), tmp_path / "out", lines.append)
    assert read_rows(tmp_path / "out" / ROWS_FILE) == rows
    transferred = []
    for receiver, other in [("digits", "counting"), ("counting", "digits")]:
        mine = [row for row in rows if row.receiver == f"zoo-s-{receiver}"]
        own = [row for row in mine if [use.repo for use in row.donors] == [f"zoo-s-{receiver}-{GRID}-qvec"]]
        assert [(row.control, row.merge, row.scale_policy) for row in own] == [(None, None, "recommended")]
        mine = [row for row in mine if row not in own]
        transferred.append(mine)
        kinds = [(row.method, row.control, row.merge, row.scale, row.scale_policy) for row in mine]
        assert kinds == [
            ("fp", None, None, None, None),
            ("ptq", None, None, None, None),
            ("own_qat", None, None, None, None),
            ("qvec", None, None, 1.0, "recommended"),
            ("qvec", "random", None, 1.0, "recommended"),
            ("qvec", None, "mean", 1.0, "unit"),
            ("qvec", "random", "mean", 1.0, "unit"),
            ("qvec", None, "mean", 2.0, None),
            ("qvec", "random", "mean", 2.0, None),
            ("qvec", None, "mean", 0.5, None),
            ("proxy_fitted", None, "mean", mine[10].scale, "auto"),
        ]
        assert {donor.repo for row in mine for donor in row.donors} == {f"zoo-s-{other}-{GRID}-qvec"}
        assert {(row.dataset, row.split, row.seed) for row in mine} == {(f"zoo:{receiver}", "test", SEED)}
        assert mine[3].correct == mine[5].correct  # a mean of one donor is that donor
    lines_of_table = table(rows)
    assert [line[0] for line in lines_of_table] == ["digits", "counting", "mean"]
    for line, mine in zip(lines_of_table, transferred, strict=False):
        cells = [mine[i] for i in (0, 1, 3, 5, 6, 10, 2)]
        assert line[1:] == [f"{row.top1:.3f} ({row.correct}/{row.n})" for row in cells]
    draw(rows, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert lines[-2].startswith("6 of 6 rows have the same counts")
    assert "identical logits" in lines[-1]
    counted = qv.evaluate(
        Library(tmp_path / "out" / "models").fp("base-s", SEED, "counting"), "zoo:counting", progress=False
    )
    (fp,) = (row for row in rows if (row.dataset, row.method) == ("zoo:counting", "fp"))
    assert (counted.n, counted.correct) == (fp.n, fp.correct)
    monkeypatch.setattr("qvec_hub.demo.run.run_demo", lambda *_: rows)  # once is enough: what the command prints of it
    printed = json.loads(qvec("demo", "--out", "other", "--json").stdout)
    assert [Row.from_dict(values) for values in printed["rows"]] == rows
    assert f"({rows[0].correct}/{rows[0].n})" in qvec("demo", "--out", "other").stdout


def test_a_published_demo_loads_everything_from_the_hub(hub, tmp_path: Path) -> None:
    lines: list[str] = []
    rows = run_demo(small(), tmp_path / "out", lines.append, "lab")
    assert any(line.startswith("6 of 6 rows have the same counts") for line in lines)  # loaded from the Hub
    revisions = {name: HfApi().list_repo_commits(name)[0].commit_id for name in ("lab/zoo-s-digits", "lab/zoo-s-base")}
    assert {row.receiver for row in rows} == {"lab/zoo-s-digits", "lab/zoo-s-counting"}
    assert {row.receiver_revision for row in rows if row.receiver == "lab/zoo-s-digits"} == {
        revisions["lab/zoo-s-digits"]
    }
    name = f"lab/zoo-s-counting-{GRID}-qvec"
    vector = qv.QuantizationVector.from_pretrained(name)
    assert vector.config.base_model == Revision("lab/zoo-s-base", revisions["lab/zoo-s-base"])
    assert vector.config.donor.finetuned.repo_id == "lab/zoo-s-counting"
    card = ModelCard.load(name)
    assert read_rows(tmp_path / "out" / "cards" / ROWS_FILE) == rows
    copied = tmp_path / "out" / "cards" / "counting"
    published = Path(HfApi().hf_hub_download(name, "README.md")).read_text()
    assert published == (copied / "README.md").read_text()
    shared = HfApi().hf_hub_download(name, "images.png")
    assert (copied / "images.png").read_bytes() == Path(shared).read_bytes()
    card.validate()
    alone = [row for row in rows if row.merge is None and [donor.repo for donor in row.donors] == [name]]
    (kept,) = (row for row in alone if row.control is None and row.dataset == "zoo:digits")
    assert f"({kept.correct}/{kept.n})" in card.content
    pairs = card.data.to_dict()["quantization_vector_results"]["pairs"]
    assert [pair[0] for pair in pairs] == ["lab/zoo-s-digits"]  # not its own task's receiver
    quantized = ModelCard.load(f"lab/zoo-s-digits-{GRID}")
    assert f"[{name}]" in quantized.content
    assert "import qvec_hub" in quantized.content


def test_the_random_control_has_the_norms_and_nothing_else(vector) -> None:
    noise = random_like(vector)
    for name in vector:
        assert float(noise[name].norm()) == pytest.approx(float(vector[name].norm()), rel=1e-4)
    assert abs(noise.cosine(vector)) < 0.02
    assert abs(noise.cosine(random_like(vector, seed=1))) < 0.02
    assert noise.cosine(random_like(vector)) == pytest.approx(1)


def test_the_demo_writes_over_its_own_folder_only(qvec, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text(json.dumps("precious"))
    done = qvec("demo", "--out", "mine")
    assert done.returncode == 1
    assert "not of an earlier demo" in done.stderr
    assert (tmp_path / "mine" / "thesis.txt").exists()
