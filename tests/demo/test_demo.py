"""The demo at its smallest: it runs to the end, its rows add up, its table and picture come out."""

import json
from pathlib import Path

import pytest

import qvec_hub as qv
from qvec_hub.controls import random_like
from qvec_hub.demo import DemoSettings, draw, run_demo, table
from qvec_hub.training import TrainingRecipe


@pytest.mark.filterwarnings("ignore:.*warm.*:UserWarning")  # two steps of training end within any warm-up
def test_a_small_demo(tmp_path: Path) -> None:
    recipe = TrainingRecipe(epochs=1, learning_rate=1e-3, warmup_steps=1)
    settings = DemoSettings(
        tasks=("digits", "counting"), images=200, recipe=recipe, mean_curve=(0.5,), random_curve=(2.0,)
    )
    lines: list[str] = []
    rows = run_demo(tmp_path / "out", settings, lines.append)
    assert {row.method for row in rows} == {"fp", "rtn", "donor", "mean", "random", "own_qat"}
    assert all(0 <= row.correct <= row.n for row in rows)
    assert {row.donor for row in rows if row.receiver == "digits" and row.method == "donor"} == {"counting"}
    lines_of_table = table(rows, settings)
    assert [line[0] for line in lines_of_table] == ["digits", "counting", "mean"]
    (digits,) = (row for row in rows if (row.receiver, row.method) == ("digits", "rtn"))
    assert f"({digits.correct}/{digits.n})" in lines_of_table[0][2]
    draw(rows, settings, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000
    assert "identical logits" in lines[-1]
    counted = qv.evaluate(tmp_path / "out" / "counting" / "fp", "zoo:counting", progress=False)
    (fp,) = (row for row in rows if (row.receiver, row.method) == ("counting", "fp"))
    assert (counted.n, counted.correct) == (fp.n, fp.correct)


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
    assert "no earlier demo" in done.stderr
    assert (tmp_path / "mine" / "thesis.txt").exists()
