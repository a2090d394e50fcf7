"""The report's numbers against numbers counted here, and what untrusted names do to it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median

import pytest
from matplotlib import pyplot as plt
from PIL import Image

from qvec_hub.bench.context import Context, Trained
from qvec_hub.bench.report.curves import draw_bits, draw_scales
from qvec_hub.bench.report.leaderboard import leaderboard
from qvec_hub.bench.report.markdown_report import document
from qvec_hub.bench.report.style import KIND_COLOURS
from qvec_hub.bench.report.text import file_names, percent
from qvec_hub.bench.report.treatments import KINDS, donor_lines, measured
from qvec_hub.bench.report.write import WrittenReport, write_report
from qvec_hub.errors import DataError
from qvec_hub.grid.grid import Grid
from qvec_hub.results.row import DonorUse, Row
from qvec_hub.results.rows import append_row, read_all

from .synthetic import a_row, synthetic

HOSTILE = "</script><img src=x onerror=alert(1)>`|\n**[x](javascript:alert(1))\u202e"
TASKS = ("digits", "shapes", "counting", "textures")


@pytest.fixture(scope="module")
def rows_and_context() -> tuple[list[Row], Context]:
    return synthetic(bases=("base-xs",), tasks=TASKS, grids=("int2-channel-mse",))


@pytest.fixture(scope="module")
def report(rows_and_context: tuple[list[Row], Context], tmp_path_factory: pytest.TempPathFactory) -> WrittenReport:
    return write_report(*rows_and_context, tmp_path_factory.mktemp("report"))


def text_of(rows: list[Row], context: Context, title: str = "Title") -> str:
    """``report.md`` without its figures, which take seconds to draw."""
    found = measured(rows, context)
    return document(rows, context, found, donor_lines(found), title, {})


def cells_of(markdown: str, method: str) -> list[str]:
    """The cells of the first table line of a method."""
    line = next(line for line in markdown.splitlines() if line.startswith(f"| {method} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def pairs(rows: list[Row], chosen: list[Row]) -> list[float]:
    """Gains in points, from the rows alone."""
    plain = {row.receiver: row for row in rows if row.method == "ptq"}
    return [100 * (row.correct - plain[row.receiver].correct) / row.n for row in chosen]


def is_single(row: Row) -> bool:
    return row.method == "qvec" and row.scale_policy == "unit" and row.merge is None


def number(text: str) -> float:
    return float(text.replace("−", "-"))


@pytest.mark.parametrize(
    ("method", "chosen"),
    [
        ("FP", lambda row: row.method == "fp"),
        ("one donor, λ = 1", lambda row: is_single(row) and row.control is None),
        ("random control of one donor, λ = 1", lambda row: is_single(row) and row.control == "random"),
        ("mean of others, λ = 1", lambda row: row.merge == "mean" and row.scale == 1 and row.control is None),
        ("one donor, λ from validation (not zero-shot)", lambda row: row.scale_policy == "validation"),
        ("own QAT", lambda row: row.method == "own_qat"),
        ("GPTQ (receiver's images)", lambda row: row.method == "gptq"),
    ],
)
def test_a_methods_numbers_are_those_of_its_rows(method, chosen, rows_and_context, report):
    rows, _ = rows_and_context
    own = {row.receiver: row.receiver.removeprefix("zoo-xs-") for row in rows}
    kept = [
        row
        for row in rows
        if chosen(row) and not (len(row.donors) == 1 and f"-{own[row.receiver]}-" in row.donors[0].repo)
    ]
    gains = pairs(rows, kept)
    cells = cells_of(report.markdown.read_text(), method)
    assert cells[-1] == str(len(gains)) != "0"
    assert number(cells[2]) == pytest.approx(fmean(100 * row.top1 for row in kept), abs=0.051)
    assert number(cells[3]) == pytest.approx(fmean(gains), abs=0.051)
    low, high = map(number, cells[4].split(" … "))
    assert low - 0.1 <= fmean(gains) <= high + 0.1
    assert number(cells[5]) == pytest.approx(median(gains), abs=0.051)
    assert number(cells[6]) == pytest.approx(100 * fmean(gain > 0 for gain in gains), abs=0.051)
    assert number(cells[8]) == pytest.approx(min(gains), abs=0.051)


def test_what_needs_the_receivers_data_says_so(report):
    markdown = report.markdown.read_text()
    needs = {
        "one donor, λ = 1": "none",
        "mean of others, λ = 1": "none",
        "one donor, λ from validation (not zero-shot)": "validation images",
        "own QAT": "training set",
        "GPTQ (receiver's images)": "images",
        "AWQ (receiver's images)": "images",
    }
    assert {method: cells_of(markdown, method)[1] for method in needs} == needs


def test_own_tasks_vectors_stand_apart(report):
    markdown = report.markdown.read_text()
    transfers, _, ceilings = markdown.partition("### Ceilings: not transfers")
    assert "own donor" not in transfers
    assert "own donor, λ = 1" in ceilings


def test_every_failure_is_listed_with_its_counts(rows_and_context):
    rows, context = rows_and_context
    worst = next(row for row in rows if is_single(row) and row.control is None and "digits" in row.donors[0].repo
                 and "shapes" in row.receiver)  # fmt: skip
    changed = [replace(row, correct=17) if row is worst else row for row in rows]
    text = text_of(changed, context)
    failures = text.split("### Failures")[1]
    assert "`zoo-xs-shapes` | `zoo-xs-digits-int2-channel-mse-qvec`" in failures
    assert "17 of 1000" in failures


@pytest.mark.parametrize(("calibrated", "verdict"), [(0.95, "ahead of"), (0.56, "behind")])
def test_says_plainly_whether_calibrated_methods_are_ahead(calibrated, verdict, rows_and_context):
    rows, context = rows_and_context
    changed = [
        replace(row, correct=round(calibrated * 1000) + i % 3) if row.method == "gptq" else row
        for i, row in enumerate(rows)
        if row.method != "awq"
    ]
    text = text_of(changed, context)
    assert re.search(rf"\*\*GPTQ \(receiver's images\)\*\* needs images .*: {verdict} the best zero-shot vector", text)
    assert f"{verdict.split()[0]} in 1" in text


def test_says_when_a_control_is_not_at_zero_and_when_a_vector_does_nothing(rows_and_context):
    rows, context = rows_and_context
    plain = {row.receiver: row.correct for row in rows if row.method == "ptq"}

    def changed(row: Row, i: int) -> Row:
        if row.control == "shuffle":
            return replace(row, correct=plain[row.receiver] + 60 + i % 5)
        if row.control == "random" and row.merge is None:
            return replace(row, correct=max(0, plain[row.receiver] - 60 - i % 5))
        if row.merge == "mean" and row.control is None:
            return replace(row, correct=plain[row.receiver] + (30 if "shapes" in row.receiver else -10))
        return row

    text = text_of([changed(row, i) for i, row in enumerate(rows)], context)
    assert "A control is **above zero**: shuffled control of one donor" in text
    assert "A control is below zero: random control of one donor" in text
    assert re.search(r"\*\*mean of others, λ = 1\*\*: .* The interval includes zero: no effect is shown.", text)


def test_says_when_there_is_no_control_and_no_calibrated_method(rows_and_context):
    rows, context = rows_and_context
    few = [row for row in rows if row.control is None and row.method not in ("gptq", "awq")]
    text = text_of(few, context)
    assert "No control was run" in text
    assert "No calibrated method was measured" in text


def test_figures_can_be_opened_and_have_their_svg(report):
    kinds = {path.name.split("-")[0].removesuffix(".png") for path in report.figures}
    assert kinds == {"methods", "gains", "scales"}  # and no accuracy by bits, where all have two
    for path in report.figures:
        with Image.open(path) as image:
            assert min(image.size) > 300
            assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)
        assert path.with_suffix(".svg").read_text().startswith("<?xml")
        assert f"](figures/{path.name})" in report.markdown.read_text()


def test_a_panel_of_bits_for_grids_that_differ_in_nothing_else():
    found = measured(*synthetic(("base-xs",), TASKS, ("int2-channel-mse", "int3-channel-mse", "int3-channel-absmax")))
    figure = draw_bits(found)
    titles = {axis.get_title(loc="left"): axis for axis in figure.axes}
    ticks = {title: [tick.get_text() for tick in axis.get_xticklabels()] for title, axis in titles.items()}
    assert ticks == {"base-xs, channel-mse": ["2", "3"], "base-xs, channel-absmax": ["3"]}
    plt.close(figure)


def test_a_curve_for_every_way_of_treating_receivers(rows_and_context):
    rows, context = rows_and_context
    fitted = [replace(row, method="proxy_fitted") for row in rows if row.merge and row.control is None]
    lone = [replace(row, method="proxy_tuned") for row in rows if row.merge and row.scale == 0.5]
    figure = draw_scales(measured([*rows, *fitted, *lone], context), "base-xs")
    named = {text.get_text() for text in figure.legends[0].texts}
    assert {"one donor", "mean of others", "mean of others, then fitted on proxy images"} <= named
    assert "mean of others, then tuned on proxy images" not in named
    plt.close(figure)


def test_figures_of_an_earlier_report_go_and_other_files_stay(rows_and_context, tmp_path):
    rows, context = rows_and_context
    figures = tmp_path / "figures"
    figures.mkdir()
    (figures / "gains-base-xs-int8-channel-absmax.png").write_bytes(b"of an earlier report")
    (figures / "notes.txt").write_text("mine")
    written = write_report(rows, context, tmp_path)
    drawn = {path.with_suffix(end) for path in written.figures for end in (".png", ".svg")}
    assert {*figures.iterdir()} == drawn | {figures / "notes.txt"}


def test_a_grid_without_vectors_is_a_line_of_the_others(rows_and_context):
    rows, context = rows_and_context
    plain = [replace(row, grid=Grid.parse("int2-group64-mse")) for row in rows if row.method == "ptq"]
    found = measured([*rows, *plain], context)
    assert found.settings == measured(rows, context).settings
    for base, grid in found.settings:
        assert "RTN on int2-group64-mse" in [line.method for line in found.main(base, grid)]
    assert found.unused == measured(rows, context).unused
    wider = [replace(row, grid=Grid.parse("int4-channel-mse")) for row in plain]
    with_wider = measured([*rows, *wider], context)
    assert set(with_wider.settings) - set(found.settings) == {("base-xs", "int4-channel-mse")}
    for base, grid in found.settings:
        assert "RTN on int4-channel-mse" not in [line.method for line in with_wider.main(base, grid)]
    alone = measured([row for row in [*rows, *plain] if row.method in ("fp", "ptq")], context)
    assert {grid for _, grid in alone.settings} == {row.grid.name for row in [*rows, *plain] if row.method == "ptq"}


def test_the_order_of_rows_changes_nothing(rows_and_context):
    rows, context = rows_and_context
    assert text_of(rows[::-1], context) == text_of(rows, context)


def hostile() -> tuple[list[Row], Context]:
    """Rows in which every name is an attack."""
    rows, donors = [], {}
    for task in ("a", "b", "c", "d"):
        receiver = f"{task}{HOSTILE}"
        about = {"dataset": f"x/{HOSTILE}{task}", "suite": HOSTILE, "versions": {HOSTILE: HOSTILE}, "device": HOSTILE}
        rows.append(a_row(receiver, "x", "ptq", "int2", 0.3, **about))
        rows.append(a_row(receiver, "x", "gptq", "int2", 0.5, **about))
        for donor in ("e", "f"):
            use = DonorUse(f"{donor}{HOSTILE}", HOSTILE)
            donors[use.repo] = Trained(HOSTILE, use.repo)
            rows.append(
                a_row(receiver, "x", "qvec", "int2", 0.2, donors=(use,), scale=1.0, scale_policy="unit", **about)
            )
    return rows, Context({row.receiver: Trained(HOSTILE, row.receiver) for row in rows}, donors)


def test_hostile_names_are_text_in_markdown():
    text = text_of(*hostile(), title=HOSTILE)
    assert "alert(1)" in text  # it is shown
    outside = re.sub(r"`[^`\n]*`", "", text)  # what is not code
    assert not re.search(r"alert|javascript|img|script", outside.split("\n", 1)[1])
    assert not re.search(r"[<>*\[\]`]", text.split("\n", 1)[0])
    assert "\u202e" not in text
    columns = [len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")]
    assert set(columns) <= {3, 8, 10, 11, 13, 14}  # the tables' own; no name adds a cell


def test_hostile_names_stay_in_the_folder(tmp_path):
    rows, context = hostile()
    evil = {name: Trained("../../../../etc/evil", known.task) for name, known in context.receivers.items()}
    out = tmp_path / "in" / "out"
    written = write_report(rows, replace(context, receivers=evil), out)
    assert {path.parent for path in written.figures} == {out / "figures"}
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_hostile_names_cannot_end_the_leaderboards_data():
    found = measured(*hostile())
    page = leaderboard(found, donor_lines(found), HOSTILE, [HOSTILE], HOSTILE)
    assert page.count("</script>") == 2
    assert "<img" not in page
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert block
    assert any("</script><img" in word for word in json.loads(block[1])["words"])


def test_file_names_are_plain_and_differ():
    names = ["Base/S", "base s", "base-s", "../..", "日本", "x" * 300, "x" * 301]
    files = list(file_names(names).values())
    assert len(set(files)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_-]{1,64}", file) for file in files)


def test_percent_has_a_minus_and_no_negative_zero():
    assert [percent(share) for share in (-0.0001, 0.5, -0.012)] == ["0.0", "50.0", "−1.2"]


def test_without_plain_rounding_there_is_nothing_to_count_from(rows_and_context, tmp_path):
    rows, context = rows_and_context
    with pytest.raises(DataError, match="expected plain rounding"):
        write_report([row for row in rows if row.method != "ptq"], context, tmp_path)


def test_plain_rounding_alone_makes_a_report(rows_and_context):
    rows, context = rows_and_context
    text = text_of([row for row in rows if row.method == "ptq"], context)
    assert "RTN on int2-channel-mse" in text


def test_a_folder_that_cannot_be_written_to_is_named(rows_and_context, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="expected a folder to write a report to"):
        write_report(*rows_and_context, tmp_path / "file")


def test_a_line_for_each_donor_holds_its_transfers_only(rows_and_context):
    rows, context = rows_and_context
    lines = donor_lines(measured(rows, context))
    assert len(lines) == len(TASKS)
    for line in lines:
        assert {transfer.donor for transfer in line.transfers} == {line.method}
        assert len(line.transfers) == len(TASKS) - 1


def test_rows_are_read_from_files_and_folders_once(make_row, tmp_path):
    for name, seeds in {"b.jsonl": [1], "a.jsonl": [2, 3]}.items():
        for seed in seeds:
            append_row(tmp_path / name, make_row("ptq", seed=seed))
    assert [row.seed for row in read_all([tmp_path, tmp_path / "b.jsonl"])] == [2, 3, 1]


def test_a_folder_without_rows_is_named(tmp_path):
    with pytest.raises(DataError, match=r"expected benchmark rows, found none"):
        read_all([tmp_path])
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(DataError, match="found none; run the suite"):
        read_all([tmp_path])


def test_the_command_writes_it(rows_and_context, tmp_path):
    import typer
    from typer.testing import CliRunner

    from qvec_hub.cli.report import report as command

    rows, context = rows_and_context
    for row in (row for row in rows if row.method in ("fp", "ptq", "gptq")):
        append_row(tmp_path / "rows.jsonl", row)
    context.write(tmp_path)
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, [str(tmp_path), "--out", str(tmp_path / "out"), "--title", "Mine", "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert Path(result["markdown"]).read_text().startswith("# Mine\n")
    assert "`base-xs`" in Path(result["markdown"]).read_text()
    assert all(Path(path).is_file() for path in [result["leaderboard"], *result["figures"]])


def test_every_kind_of_line_has_a_colour_of_its_own() -> None:
    assert KIND_COLOURS.keys() == KINDS.keys()
    assert len(set(KIND_COLOURS.values())) == len(KINDS)
