"""``qvec bench`` and ``qvec zoo`` as they are typed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from qvec_hub import zoo
from qvec_hub.bench.model_store import Library

from .library import BASE, a_suite

SMALL = [{"method": "fp"}, {"method": "ptq"}, {"method": "qvec", "donors": "each", "scales": ["unit"]}]
Command = Callable[..., object]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite in a file, over the models of the fixture `library`."""
    path = tmp_path / "small.yaml"
    path.write_text(a_suite(measure=SMALL).model_dump_json(exclude_none=True))  # JSON is YAML
    return path


def test_run_report_and_verify(qvec: Command, suite: Path, library: Library, tmp_path: Path) -> None:
    options = ["--out", "run", "--models", library.root]
    part = qvec("bench", "run", suite, *options, "--receiver", "shapes", "--json")
    assert json.loads(part.stdout) == {"out": "run", "new": 5, "total": 5, "cells": 5}, part.stderr
    whole = qvec("bench", "run", suite, *options)
    assert "10 cells measured now, 15 of 15 in all" in whole.stdout
    assert "qvec bench report run --out run/report" in whole.stdout

    written = qvec("bench", "report", "run", "--out", "run/report", "--json")
    found = json.loads(written.stdout)
    assert found["rows"] == 15, written.stderr
    assert Path(found["leaderboard"]).is_file()
    assert "| " in Path(found["markdown"]).read_text()

    again = qvec("bench", "verify", "run", "--sample", 4, "--models", library.root, "--json")
    assert again.returncode == 0, again.stderr
    assert (json.loads(again.stdout)["checked"], json.loads(again.stdout)["reproduce"]) == (4, 4)

    lines = Path("run/rows.jsonl").read_text().splitlines()
    false = [json.loads(line) for line in lines]
    for row in false:
        row["correct"] = row["correct"] - 1 if row["correct"] else 1
        row["top1"] = row["correct"] / row["n"]
    Path("run/rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in false))
    broken = qvec("bench", "verify", "run", "--sample", 3, "--models", library.root)
    assert broken.returncode == 1
    assert broken.stdout.count("differs") == 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["bench", "run", "zoo-23", "--out", "x"],
            1,
            "expected one of demo, dinov2-s, dinov2-s-own, vision-22, zoo-22, zoo-22-best, zoo-6-int3, zoo-mini",
        ),
        (["bench", "run", "zoo-22", "--out", "x", "--base", "base-xxl"], 1, "expected bases among base-xs"),
        (["bench", "verify", "."], 1, "expected benchmark rows, found none"),
        (["bench", "report", "--out", "x"], 2, "--from-hub"),
        (["bench", "report", "nothing.jsonl", "--out", "x"], 1, "nothing.jsonl"),
        (["zoo", "build", "--out", "x", "--task", "dogs"], 1, "expected tasks among digits"),
        (["zoo", "build", "--out", "x", "--grid", "int99"], 1, "bits must be an integer from 2 to 8"),
        (["zoo", "tasks", "--image", "x.nothing"], 1, "expected an image file"),
    ],
)
def test_bad_input_ends_in_one_line(qvec: Command, arguments: list[str], code: int, message: str) -> None:
    done = qvec(*arguments)
    assert done.returncode == code
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert code == 2 or done.stderr.count("\n") == 1


def test_tasks_are_listed_and_drawn(qvec: Command, tmp_path: Path) -> None:
    done = qvec("zoo", "tasks", "--json", "--image", "tasks.png")
    assert list(json.loads(done.stdout)) == list(zoo.tasks())
    with Image.open(tmp_path / "tasks.png") as image:
        assert len(image.getcolors(1 << 24) or []) > 1000


def test_bases_of_every_scale_are_known() -> None:
    assert list(zoo.BASES) == ["base-xs", "base-s", "base-m", "base-l"]
    sizes = [zoo.BASES[name].parameters for name in zoo.BASES]
    for size, wanted in zip(sizes, (0.2e6, 0.5e6, 1.5e6, 4e6), strict=True):
        assert size == pytest.approx(wanted, rel=0.15)
    assert BASE in zoo.BASES
