"""Rows: what goes in comes out, and nothing that is not a row gets in."""

import json
from pathlib import Path
from typing import Any

import pytest

from qvec_hub import Grid
from qvec_hub.errors import DataError
from qvec_hub.results.counts import EvalResult
from qvec_hub.results.row import PROXY, DonorUse, ImagesUse, Row
from qvec_hub.results.rows import append_row, read_rows

KEYS = [
    "suite", "suite_version", "receiver", "receiver_revision", "dataset", "dataset_revision", "split", "method", "grid",
    "donors", "merge", "scale", "scale_policy", "control", "seed", "n", "correct", "top1", "wall_s", "image_backend",
    "versions", "device", "created",
]  # fmt: skip


def variants(make_row) -> list[Row]:
    several = (DonorUse("a/b", None, 0.5), DonorUse("c/d", "e" * 40, 0.5))
    return [
        make_row("fp"),
        make_row("ptq", grid=Grid(2, "group", "mse", False, 64)),
        make_row("own_qat"),
        make_row("gptq", correct=0),
        make_row("qvec", correct=300),
        make_row("qvec", donors=several, merge="mean", scale=0.25, scale_policy=None),
        make_row("qvec", scale=0.7, scale_policy="validation", control="task_vector", receiver="žluť"),
        make_row("gptq", donors=several, merge="mean", scale=0.5, scale_policy="auto"),
    ]


def test_rows_survive_a_file(make_row, tmp_path: Path) -> None:
    rows = variants(make_row)
    for row in rows:
        append_row(tmp_path / "rows.jsonl", row)
    lines = (tmp_path / "rows.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) == len(rows)
    assert all(line.endswith(b"\n") for line in lines)
    assert read_rows(tmp_path / "rows.jsonl") == rows


def test_a_written_row_has_the_keys_of_the_format_in_order(make_row) -> None:
    for row in variants(make_row):
        values = row.to_dict()
        assert list(values) == KEYS
        assert values["top1"] == values["correct"] / values["n"]
        assert isinstance(values["grid"], dict)
        for donor in values["donors"]:
            assert list(donor) == ["repo", "revision", "weight"]
        assert Row.from_dict(json.loads(json.dumps(values))) == row


def test_keys_that_older_rows_lack_are_written_where_they_say_something(make_row) -> None:
    row = make_row("gptq", correct_top5=200, calibration=ImagesUse("train", 1024, 0))
    values = row.to_dict()
    assert list(values) == [*KEYS, "correct_top5", "calibration"]
    assert values["calibration"] == {"split": "train", "n": 1024, "seed": 0}
    assert Row.from_dict(json.loads(json.dumps(values))) == row
    assert len({row.calibration, ImagesUse("train", 1024, 0), ImagesUse(PROXY, 1024, 0)}) == 2
    for top5 in (99, 301):
        with pytest.raises(DataError, match="correct_top5: expected from 100 to 300, as correct and n are"):
            make_row("gptq", correct_top5=top5)
    with pytest.raises(DataError, match="expected the keys split, n, seed"):
        Row.from_dict({**values, "calibration": {"n": 1}})


def test_a_row_of_an_evaluation(make_row) -> None:
    result = EvalResult(
        n=40, correct=30, correct_top5=None, agreed=None, split="test", wall_s=2.0, image_backend="pil", device="cpu",
        versions={"torch": "2.13.0"},
    )  # fmt: skip
    about: dict[str, Any] = {"suite": "s", "suite_version": "2", "receiver": "r", "dataset": "d", "seed": 1}
    row = Row.of(result, method="ptq", grid="int2-channel-mse", **about)
    assert (row.n, row.correct, row.top1, row.split, row.wall_s) == (40, 30, 0.75, "test", 2.0)
    assert row.grid == Grid(bits=2, range="mse")
    assert Row.from_dict(row.to_dict()) == row
    nameless = EvalResult(**{**result.__dict__, "split": None})
    with pytest.raises(DataError, match="split: expected a non-empty string, found null"):
        Row.of(nameless, method="ptq", grid="int3", **about)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("n", True, "n: expected an integer of 0 or more, found true"),
        ("n", 300.0, "n: expected an integer of 0 or more, found 300.0"),
        ("n", 0, "n: expected at least one image, found 0"),
        ("correct", -1, "correct: expected an integer of 0 or more, found -1"),
        ("correct", 301, "correct: expected at most n, which is 300, found 301"),
        ("correct", "100", 'correct: expected an integer of 0 or more, found "100"'),
        ("seed", None, "seed: expected an integer"),
        ("top1", 0.34, r"top1: expected correct / n = 0\.333\d+, found 0\.34"),
        ("top1", None, "top1: expected correct / n"),
        ("method", "QVec", "method: expected a lower-case identifier"),
        ("method", "own qat", "method: expected a lower-case identifier"),
        ("control", "noise", "control: expected one of random, shuffle, task_vector, or null"),
        ("scale_policy", "best", "scale_policy: expected one of unit, recommended, auto, validation, or null"),
        ("scale_policy", [], r"scale_policy: expected one of .*, found \[\]"),
        ("scale", float("nan"), "scale: expected a finite number, or null"),
        ("scale", 10**400, "scale: expected a finite number"),
        ("scale", True, "scale: expected a finite number"),
        ("scale", 0.5, "scale: expected 1 under scale_policy 'unit', found 0.5"),
        ("scale", None, "scale: expected a number, as there are donors"),
        ("donors", [], "donors: expected at least one with method 'qvec'"),
        ("donors", None, "donors: expected a list, found null"),
        ("donors", ["you/donor"], r"donors\[0\]: expected an object"),
        ("donors", [{"repo": "a/b", "revision": None}], r"donors\[0\]\.weight: expected the keys"),
        ("donors", [{"repo": "", "revision": None, "weight": 1}], r"donors\[0\]\.repo: expected a non-empty string"),
        ("donors", [{"repo": "a/b", "revision": None, "weight": 0.5}] * 2, "merge: expected the method"),
        ("grid", {}, "grid: expected the grid of method 'qvec'"),
        ("grid", None, "grid: expected an object, found null"),
        ("grid", "int3", "grid: expected an object"),
        ("grid", {"bits": 3}, "grid.granularity: expected the keys"),
        ("grid", {**Grid(3).to_dict(), "bits": 1}, "grid: expected one that exists"),
        ("grid", {**Grid(3).to_dict(), "range": []}, "grid: expected one that exists"),
        ("grid", {**Grid(3).to_dict(), "zero": 0}, "grid.zero: expected no such key"),
        ("receiver", "", "receiver: expected a non-empty string"),
        ("versions", {"torch": 2}, "versions: expected an object of strings"),
        ("wall_s", -1.0, "wall_s: expected a number of seconds"),
        ("created", "yesterday", "created: expected a time"),
        ("created", "2026-11-20T12:00:00", "created: expected a time with its offset"),
    ],
)
def test_a_wrong_value_is_refused_by_line_and_key(make_row, key: str, value: Any, message: str, tmp_path: Path) -> None:
    good = make_row().to_dict()
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(values) + "\n" for values in (good, {**good, key: value})))
    # Python writes NaN as a word that is no JSON, which is refused as such.
    message = "NaN is not a number" if value != value else message
    with pytest.raises(DataError, match=rf"rows\.jsonl:2: .*{message}.*measure it again"):
        read_rows(path)


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("fp", {"grid": Grid(3)}, "grid: expected an empty one with method 'fp'"),
        ("ptq", {"donors": (DonorUse("a/b"),), "scale": 1.0}, "donors: expected none with method 'ptq', found 1"),
        ("own_qat", {"scale": 1.0}, "scale: expected null without donors"),
        ("gptq", {"control": "random"}, "control: expected null without donors"),
        ("ptq", {"merge": "mean"}, "merge: expected null without donors"),
        ("ptq", {"scale_policy": "auto"}, "scale_policy: expected null without donors"),
    ],
)
def test_values_that_contradict_each_other(make_row, method: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_row(method, **changes)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_needed(make_row, key: str) -> None:
    values = make_row().to_dict()
    del values[key]
    with pytest.raises(DataError, match=rf"a\.jsonl:3: {key}: expected the keys suite, .*, found none of {key};"):
        Row.from_dict(values, "a.jsonl:3")


def test_unknown_keys_warn_once_a_file(make_row, tmp_path: Path) -> None:
    values = make_row().to_dict() | {"mood": "good"}
    values["donors"][0]["colour"] = "red"
    with pytest.warns(UserWarning, match=r"here: ignoring unknown keys mood, donors\[0\]\.colour"):
        assert Row.from_dict(values, "here") == make_row()
    path = tmp_path / "rows.jsonl"
    path.write_text((json.dumps(make_row().to_dict()) + "\n") + (json.dumps(values) + "\n") * 3)
    with pytest.warns(UserWarning, match="unknown keys") as caught:
        assert read_rows(path) == [make_row()] * 4
    assert [str(w.message) for w in caught] == [
        f"{path}: ignoring unknown keys mood (line 2), donors[0].colour (line 2)"
    ]


@pytest.mark.parametrize("line", ["[]", "7", "{", '{"suite": "a", "suite": "b"}', "[" * 100_000, '"\\ud800"'])
def test_what_is_no_row_is_refused_by_line(make_row, line: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(make_row().to_dict())}\n\n{line}\n")
    with pytest.raises(DataError, match=r"rows\.jsonl:3: .*expected"):
        read_rows(path)
    with pytest.raises(DataError, match=r"rows\.jsonl:3: .*expected"):
        read_rows(path, torn_ok=True)


def test_bytes_that_are_no_text_and_files_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"suite": "\xff"}\n')
    with pytest.raises(DataError, match=r"rows\.jsonl:1: .*utf-8"):
        read_rows(tmp_path / "rows.jsonl")
    with pytest.raises(DataError, match=r"missing\.jsonl: expected a file of benchmark rows"):
        read_rows(tmp_path / "missing.jsonl")


def test_a_crash_at_any_byte_costs_no_other_row(make_row, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    first, second, third = make_row(correct=1), make_row(correct=2), make_row(correct=3)
    append_row(path, first)
    start = path.stat().st_size
    append_row(path, second)
    whole = path.read_bytes()
    for end in range(start + 1, len(whole)):
        path.write_bytes(whole[:end])
        kept = [first, second] if end == len(whole) - 1 else [first]  # only its newline is missing
        assert read_rows(path, torn_ok=True) == kept
        if len(kept) == 1:
            with pytest.raises(
                DataError, match=rf"rows\.jsonl:2: expected a whole row, found a torn one of {end - start}"
            ):
                read_rows(path)
        append_row(path, third)
        assert read_rows(path) == [*kept, third]


@pytest.mark.parametrize("length", [70_000, 65_536 - len('{"suite": "')])
def test_a_torn_row_longer_than_a_block(make_row, length: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_row(path, make_row())
    with path.open("ab") as file:
        file.write(b'{"suite": "' + b"x" * length)
    append_row(path, make_row("ptq"))
    assert read_rows(path) == [make_row(), make_row("ptq")]


def test_zeros_where_a_crash_cut_a_write_off(make_row, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_row(path, make_row())
    with path.open("ab") as file:
        file.write(b"\0" * 100)
    append_row(path, make_row("ptq"))
    assert read_rows(path) == [make_row(), make_row("ptq")]


def test_a_file_of_something_else_is_left_alone(make_row, tmp_path: Path) -> None:
    path = tmp_path / "thesis.txt"
    path.write_text("First line\nThe last word")
    with pytest.raises(DataError, match=r"thesis\.txt: expected rows, found a last line that begins with b'The last"):
        append_row(path, make_row())
    assert path.read_text() == "First line\nThe last word"
    with pytest.raises(DataError, match="expected a file to append a row to"):
        append_row(tmp_path, make_row())
