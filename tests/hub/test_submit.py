"""Rows proposed to a results repository over HTTP: what arrives, what is refused, what nobody can overwrite."""

import json
from pathlib import Path

import pytest
from huggingface_hub import HfApi

import qvec_hub as qv
from qvec_hub.bench.community.submit import submit
from qvec_hub.bench.context import Context, Trained
from qvec_hub.results.rows import read_rows

from ..hub_server import Fault
from .community import RESULTS, lines, named, ptq, write
from .community import results as results  # a fixture

CONTEXT = Context({"me/shapes": Trained("base", "shapes")}, {}, {"base": 7}, {"base": {"shapes": {"shapes": 1.0}}})


def files(hub, revision: str = "main") -> dict[str, bytes]:
    return hub.files(RESULTS, revision, repo_type="dataset")


def requests() -> list[int]:
    return [each.num for each in HfApi().get_repo_discussions(RESULTS, repo_type="dataset")]


def test_anybody_proposes_rows_and_main_is_untouched(results, tmp_path: Path) -> None:
    before = files(results)
    path = write(tmp_path / "rows.jsonl", [ptq(), ptq("colours")])
    done = submit(path, RESULTS, token="hf_bob")
    assert done.pr_url == f"{results.url}/datasets/{RESULTS}/discussions/1"
    assert done.repo_url.repo_id == RESULTS
    assert files(results) == before
    content = lines(ptq(), ptq("colours"))
    assert files(results, "refs/pr/1") == before | {named(content): content}
    details = HfApi().get_discussion_details(RESULTS, 1, repo_type="dataset")
    assert details.title == "Rows of bob: synthetic (2 rows)"
    assert "2 rows on 2 receivers and 2 datasets, methods ptq" in details.events[0].content


def test_a_folder_of_suites_with_its_context(results, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [ptq(), ptq(suite="../odd suite")])
    write(tmp_path / "b.jsonl", [ptq(), ptq("colours")])  # one row a second time
    (CONTEXT | Context({"me/other": Trained("elsewhere", "x")}, {}, {"elsewhere": 1})).write(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    submit(tmp_path, RESULTS, token="hf_bob")
    sent = {path: data for path, data in files(results, "refs/pr/1").items() if path.startswith("rows/")}
    known = sent.pop(next(path for path in sent if "context" in path))
    assert json.loads(known) == {
        "receivers": {"me/shapes": {"base": "base", "task": "shapes"}},
        "donors": {},
        "parameters": {"base": 7},
        "similarity": {"base": {"shapes": {"shapes": 1.0}}},
    }
    content, odd = lines(ptq(), ptq("colours")), lines(ptq(suite="../odd suite"))
    assert sent == {named(content): content, named(odd, stem="odd-suite"): odd}
    (tmp_path / "back.jsonl").write_bytes(content)
    assert read_rows(tmp_path / "back.jsonl") == [ptq(), ptq("colours")]


def test_one_submitter_cannot_overwrite_anothers(results, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [ptq()])
    submit(path, RESULTS, create_pr=False)  # alice owns it
    mine = named(lines(ptq()), "alice")
    before = files(results)
    assert mine in before
    with pytest.raises(qv.HubError, match=r"lab/results: .*may not do this"):
        submit(path, RESULTS, token="hf_bob", create_pr=False)
    done = submit(path, RESULTS, token="hf_bob")
    HfApi().merge_pull_request(RESULTS, done.pr_num, repo_type="dataset")
    assert files(results) == before | {named(lines(ptq())): lines(ptq())}
    results.seed(RESULTS, {mine: b"changed\n"}, repo_type="dataset")
    before = files(results)
    with pytest.raises(qv.HubError, match=r"holds something else at rows/alice/synthetic-.* nothing was uploaded"):
        submit(path, RESULTS)
    assert files(results) == before


def test_the_same_rows_are_sent_once(results, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [ptq()])
    done = submit(path, RESULTS, token="hf_bob")
    with pytest.raises(qv.HubError, match=rf"wait to be merged in {done.pr_url}; nothing was uploaded"):
        submit(path, RESULTS, token="hf_bob")
    HfApi().merge_pull_request(RESULTS, done.pr_num, repo_type="dataset")
    with pytest.raises(qv.HubError, match=r"these rows were submitted already, as rows/bob/synthetic-[0-9a-f]{16}\."):
        submit(path, RESULTS, token="hf_bob")
    write(path, [ptq(suite="second")])
    more = submit(path, RESULTS, token="hf_bob")
    new = files(results, more.pr_revision).keys() - files(results).keys()
    assert new == {named(lines(ptq(suite="second")), stem="second")}
    assert requests() == [2, 1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lines(ptq(n=999)), r"rows.jsonl row 1: n: expected 1000, .* zoo:shapes, found 999"),
        (lines(ptq(), ptq("magic")), r"row 2: dataset: the zoo has no task 'magic'"),
        (lines(ptq(), ptq(correct=501)), r"row 1: counts 500 of 1000 where .* row 2 counts 501 of 1000"),
        (lines(ptq(device="\x1b[31m")), r"row 1: row: .*control characters|row 1: line: .*control characters"),
        (lines(ptq(), b'{"suite": '), r"rows.jsonl:2: expected a whole row, found a torn one"),
        (lines({**ptq().to_dict(), "correct": 1001}), r"rows.jsonl:1: correct: expected at most n"),
        (b"", r"expected rows to submit, found none"),
    ],
    ids=["n", "task", "contradiction", "escape", "torn", "arithmetic", "empty"],
)
def test_rows_that_cannot_be_right_are_not_sent(results, tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(qv.QVecError, match=said):
        submit(tmp_path / "rows.jsonl", RESULTS, token="hf_bob")
    assert [each for each in results.requests if each.method != "GET"] == []
    assert requests() == []


def test_a_context_that_is_none(results, tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", [ptq()])
    for content in (b"{", b"[]", b'{"receivers": {"me/shapes": {"base": 5, "task": "x"}}}'):
        (tmp_path / "context.json").write_bytes(content)
        with pytest.raises(qv.QVecError, match=r"context\.json: expected the context"):
            submit(tmp_path, RESULTS, token="hf_bob")
    Context({"me/shapes": Trained("\x07", "shapes")}).write(tmp_path)
    with pytest.raises(qv.QVecError, match=r"context\.json: .*control characters"):
        submit(tmp_path, RESULTS, token="hf_bob")
    assert requests() == []


def test_without_a_repository_or_a_login(results, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [ptq()])
    for repo, token, said in [
        ("lab/nowhere", "hf_bob", "no such repository"),
        (RESULTS, "hf_expired", "does not accept your token"),
        (RESULTS, False, "log in"),
        ("no repo", "hf_bob", "not a repo id"),
    ]:
        with pytest.raises(qv.QVecError, match=said):
            submit(path, repo, token=token)
    assert requests() == []


@pytest.mark.parametrize("create_pr", [True, False])
def test_a_lost_answer_is_no_second_submission(results, tmp_path: Path, create_pr: bool) -> None:
    path = write(tmp_path / "rows.jsonl", [ptq()])
    results.inject(Fault("commit_lost"))
    done = submit(path, RESULTS, create_pr=create_pr)
    assert requests() == ([1] if create_pr else [])
    assert done.pr_url == (f"{results.url}/datasets/{RESULTS}/discussions/1" if create_pr else None)
    assert done == f"{results.url}/datasets/{RESULTS}/commit/{done.oid}"
    assert named(lines(ptq()), "alice") in files(results, done.oid)
