"""Submitting and gathering as the command line does it."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import qvec_hub as qv
from qvec_hub.cli import submit as command
from qvec_hub.results.row import DonorUse

from ..bench.synthetic import GRIDS, a_row
from .community import RESULTS, lines, ptq, put, write
from .community import results as results  # a fixture


@pytest.fixture
def bench():
    """`submit` as `qvec bench` will have it."""
    app = typer.Typer()
    app.command("submit", epilog=command.EPILOG)(command.submit)
    app.command("other")(lambda: None)  # so that it has a name of its own
    return lambda *arguments: CliRunner().invoke(app, ["submit", *map(str, arguments)])


def test_submit(results, bench, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [ptq()])
    done = bench(path, RESULTS, "--token", "hf_bob")
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == f"{results.url}/datasets/{RESULTS}/discussions/1"
    done = bench(tmp_path, RESULTS, "--commit", "--json")
    assert json.loads(done.stdout)["pull_request"] is None
    assert json.loads(done.stdout)["repo"] == RESULTS
    assert any(name.startswith("rows/alice/") for name in results.files(RESULTS, repo_type="dataset"))
    again = bench(path, RESULTS)
    assert isinstance(again.exception, qv.HubError)
    assert "submitted already" in str(again.exception)
    assert "qvec bench submit results/ org/qvec-results" in bench("--help").output


def test_submit_to_a_card(results, vector, bench, tmp_path: Path) -> None:
    vector.push_to_hub("alice/toys")
    use = {"donors": (DonorUse("alice/toys"),), "scale": 1.0, "scale_policy": "unit"}
    path = write(tmp_path / "rows.jsonl", [ptq(), a_row("me/shapes", "shapes", "qvec", GRIDS[0], 0.6,
                                                        receiver_revision="c" * 40, **use)])  # fmt: skip
    done = bench(path, "alice/toys", "--card", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["pull_request"] is None
    assert b"0.600 (600/1000)" in results.files("alice/toys")["README.md"]
    assert bench(path, RESULTS, "--results", RESULTS).exit_code == 2


def test_from_hub_says_what_it_left_out(results, capsys) -> None:
    commit = put(results, lines(ptq(), b"x\n" * 30), user="bob")
    for repos in ([], [RESULTS]):
        found = command.from_hub(repos)
        assert found.rows == [ptq()]
        said = capsys.readouterr()
        assert said.out == ""
        text = said.err.splitlines()
        assert text[0] == f"{RESULTS}@{commit}: 1 rows"
        assert len(text) == 22
        assert text[1].startswith(f"left out: {RESULTS}@{commit[:12]}/rows/bob/synthetic-")
        assert text[-1] == "left out: 10 more"
