"""The demo at its smallest: it runs to the end, its rows add up, its table and figure come out."""

import json
from pathlib import Path

import pytest
from huggingface_hub import HfApi, ModelCard

import qvec_hub as qv
from qvec_hub.artifact.config import Revision
from qvec_hub.bench.controls.random_vector import random_like
from qvec_hub.demo.report import draw, table
from qvec_hub.demo.run import ROWS_FILE, DemoSettings, run_demo
from qvec_hub.results.row import Row
from qvec_hub.results.rows import read_rows
from qvec_hub.training.recipes.training_recipe import TrainingRecipe

RECIPE = TrainingRecipe(epochs=1, learning_rate=1e-3, warmup_steps=1)
SMALL = DemoSettings(tasks=("digits", "counting"), images=200, recipe=RECIPE, mean_curve=(0.5,), random_curve=(2.0,))
pytestmark = [
    pytest.mark.usefixtures("quick_rounding"),
    pytest.mark.filterwarnings("ignore:.*warm.*:UserWarning"),  # two steps of training end within any warm-up
]


def test_a_small_demo(qvec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings, recipe = SMALL, RECIPE
    lines: list[str] = []
    rows = run_demo(tmp_path / "out", settings, lines.append)
    assert read_rows(tmp_path / "out" / ROWS_FILE) == rows
    for receiver, other in [("digits", "counting"), ("counting", "digits")]:
        mine = [row for row in rows if row.receiver == receiver]
        kinds = [(row.method, row.control, row.merge, row.scale, row.scale_policy) for row in mine]
        assert kinds == [
            ("fp", None, None, None, None),
            ("ptq", None, None, None, None),
            ("own_qat", None, None, None, None),
            ("qvec", None, None, 1.0, "recommended"),
            ("qvec", "random", None, 1.0, "recommended"),
            ("qvec", None, "mean", 1.0, "unit"),
            ("qvec", None, "mean", 0.5, None),
            ("proxy_tuned", None, "mean", mine[7].scale, "auto"),
            ("qvec", "random", "mean", 1.0, "unit"),
            ("qvec", "random", "mean", 2.0, None),
        ]
        assert {donor.repo for row in mine for donor in row.donors} == {other}
        assert {(row.dataset, row.split, row.seed) for row in mine} == {(f"zoo:{receiver}", "test", recipe.seed)}
        assert mine[3].correct == mine[5].correct  # a mean of one donor is that donor
    lines_of_table = table(rows, settings)
    assert [line[0] for line in lines_of_table] == ["digits", "counting", "mean"]
    cells = [rows[i] for i in (0, 1, 3, 5, 8, 7, 2)]
    assert lines_of_table[0][1:] == [f"{row.top1:.3f} ({row.correct}/{row.n})" for row in cells]
    draw(rows, settings, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert "identical logits" in lines[-1]
    counted = qv.evaluate(tmp_path / "out" / "counting" / "fp", "zoo:counting", progress=False)
    (fp,) = (row for row in rows if (row.receiver, row.method) == ("counting", "fp"))
    assert (counted.n, counted.correct) == (fp.n, fp.correct)
    monkeypatch.setattr("qvec_hub.demo.run.run_demo", lambda *_: rows)  # once is enough: what the command prints of it
    printed = json.loads(qvec("demo", "--out", "other", "--json").stdout)
    assert [Row.from_dict(values) for values in printed["rows"]] == rows
    assert f"({rows[0].correct}/{rows[0].n})" in qvec("demo", "--out", "other").stdout


def test_a_published_demo_loads_everything_from_the_hub(hub, tmp_path: Path) -> None:
    rows = run_demo(tmp_path / "out", SMALL, lambda line: None, "lab")
    revisions = {name: HfApi().list_repo_commits(name)[0].commit_id for name in ("lab/zoo-s-digits", "lab/zoo-s-base")}
    assert {row.receiver for row in rows} == {"lab/zoo-s-digits", "lab/zoo-s-counting"}
    assert {row.receiver_revision for row in rows if row.receiver == "lab/zoo-s-digits"} == {
        revisions["lab/zoo-s-digits"]
    }
    name = "lab/zoo-s-counting-int2-channel-absmax-qvec"
    vector = qv.QuantizationVector.from_pretrained(name)
    assert vector.config.base_model == Revision("lab/zoo-s-base", revisions["lab/zoo-s-base"])
    assert vector.config.donor.finetuned.repo_id == "lab/zoo-s-counting"
    card = ModelCard.load(name)
    copied = tmp_path / "out" / "cards" / "counting"
    published = Path(HfApi().hf_hub_download(name, "README.md")).read_text()
    assert published == (copied / "README.md").read_text()
    shared = HfApi().hf_hub_download(name, "images.png")
    assert (copied / "images.png").read_bytes() == Path(shared).read_bytes()
    card.validate()
    alone = [row for row in rows if row.merge is None and [donor.repo for donor in row.donors] == [name]]
    (kept,) = (row for row in alone if row.control is None)
    assert f"({kept.correct}/{kept.n})" in card.content
    quantized = ModelCard.load("lab/zoo-s-digits-int2-channel-absmax")
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
