"""Rows of many submitters over HTTP: what is gathered, what is left out, what untrusted rows cannot do."""

import json
from importlib import import_module
from pathlib import Path

import pytest
from huggingface_hub import HfApi

import qvec_hub as qv
from qvec_hub.bench.community import fetch as repository
from qvec_hub.bench.community.gather import gather
from qvec_hub.bench.community.submit import submit
from qvec_hub.bench.context import Context, Trained

from ..bench.synthetic import synthetic
from ..hub_server import Fault
from .community import CARD, RESULTS, lines, named, ptq, put, write
from .community import results as results  # a fixture

PHOTOS = "lab/photos"


def context(**known: object) -> bytes:
    values = {"receivers": {}, "donors": {}, "parameters": {}, "similarity": {}} | known
    return json.dumps(values).encode()


def reasons(found) -> dict[str, str]:
    """What was left out, by its place in its repository."""
    return {where.partition("/rows/")[2]: reason for where, reason in found.rejected}


def test_what_was_merged_is_gathered(results, tmp_path: Path) -> None:
    rows, known = synthetic(bases=["base-xs"], tasks=["shapes", "colours"])
    write(tmp_path / "rows.jsonl", rows)
    known.write(tmp_path)
    done = submit(tmp_path, RESULTS, token="hf_bob")
    assert gather().rows == []  # proposed is not merged
    HfApi().merge_pull_request(RESULTS, done.pr_num, repo_type="dataset")
    head = HfApi().dataset_info(RESULTS).sha
    for found in (gather(), gather([RESULTS]), gather([f"{RESULTS}@{head}"])):
        assert found.rows == rows
        assert found.context == known
        assert (found.rejected, found.unchecked) == ([], [])
        assert [(each.repo_id, each.commit, each.rows) for each in found.sources] == [(RESULTS, head, len(rows))]


def test_the_commit_that_was_seen_is_the_one_that_is_read(results) -> None:
    old = put(results, lines(ptq()))
    put(results, lines(ptq("colours")))
    assert gather([f"{RESULTS}@{old}"]).rows == [ptq()]
    results.tag(RESULTS, "v1", old, repo_type="dataset")
    found = gather([f"{RESULTS}@v1"])
    assert (found.rows, found.sources[0].commit) == ([ptq()], old)


BAD = {
    "arithmetic": {**ptq("gratings").to_dict(), "correct": 1001},
    "top1": {**ptq("gratings").to_dict(), "top1": 0.9},
    "nan": json.dumps({**ptq("gratings").to_dict(), "wall_s": float("nan")}).encode() + b"\n",
    "twice": b'{"suite": "a", "suite": "b"}\n',
    "deep": b"[" * 100_000 + b"\n",
    "nested": b"[" * 60_000 + b"\n",
    "binary": b"\xff\x00\n",
    "huge": json.dumps({**ptq("gratings").to_dict(), "device": "x" * 100_000}).encode() + b"\n",
    "escape": {**ptq("gratings").to_dict(), "receiver": "\x1b]0;owned\x07"},
    "grid": {**ptq("gratings").to_dict(), "grid": {"bits": 99}},
    "missing": {key: value for key, value in ptq("gratings").to_dict().items() if key != "seed"},
    "endless": {**ptq("gratings").to_dict(), "n": 10**30, "correct": 0, "top1": 0.0},
    "size": {**ptq("gratings").to_dict(), "n": 100, "correct": 50},
    "task": {**ptq("gratings").to_dict(), "dataset": "zoo:magic"},
    "split": {**ptq("gratings").to_dict(), "split": "holdout"},
    "version": {**ptq("gratings").to_dict(), "dataset_revision": "mine"},
    "local": {**ptq("gratings").to_dict(), "dataset": "photos"},
    "path": {**ptq("gratings").to_dict(), "dataset": "../../etc/passwd"},
    "branch": {**ptq("gratings").to_dict(), "dataset": PHOTOS, "dataset_revision": "main"},
    "unpinned": {**ptq("gratings").to_dict(), "dataset": PHOTOS},
    "nowhere": {**ptq("gratings").to_dict(), "dataset": "no/where", "dataset_revision": "a" * 40},
}
SAID = {
    "arithmetic": "correct: expected at most n, which is 1000, found 1001",
    "top1": "top1: expected correct / n = 0.5, found 0.9",
    "nan": "expected finite numbers, found NaN",
    "twice": "key 'suite' stands there twice",
    "deep": "expected a row of at most 65,536 bytes",
    "nested": "not readable as JSON",
    "binary": "not readable as JSON",
    "huge": "expected a row of at most 65,536 bytes",
    "escape": "control characters",
    "grid": "grid.",
    "missing": "seed: expected the keys",
    "endless": "an integer of 31 digits",
    "size": "n: expected 1000, the images in split test of zoo:gratings, found 100",
    "task": "dataset: the zoo has no task 'magic'",
    "split": "split: expected train, validation, test of zoo:gratings, found 'holdout'",
    "version": "dataset_revision: expected none or a version of the zoo, found 'mine'",
    "local": "dataset: expected zoo:NAME or a Hub id, which others can look at, found 'photos'",
    "path": "dataset: expected zoo:NAME or a Hub id",
    "branch": f"dataset_revision: expected the commit of {PHOTOS}, 40 hex digits, found 'main'",
    "unpinned": f"dataset_revision: expected the commit of {PHOTOS}, 40 hex digits, found none",
    "nowhere": "dataset: the Hub has no no/where",
}


def test_a_bad_line_is_named_and_costs_no_other(results) -> None:
    """All of them in one file, a good row between each two, and a torn one at the end."""
    good = [ptq(seed=i) for i in range(len(BAD) + 1)]
    mixed = [each for pair in zip(good, BAD.values(), strict=False) for each in pair]
    content = lines(*mixed, b"\n", good[-1], lines(ptq("colours"))[:100])
    put(results, content, user="mallory")
    found = gather([RESULTS])
    assert found.rows == good
    at = named(content, "mallory").removeprefix("rows/")
    said = reasons(found)
    assert said.keys() == {f"{at}:{2 * i}" for i in range(1, len(BAD) + 1)} | {f"{at}:{2 * len(BAD) + 3}"}
    for i, name in enumerate(BAD, 1):
        assert SAID[name] in said[f"{at}:{2 * i}"], name
        assert len(said[f"{at}:{2 * i}"]) <= 500
        assert said[f"{at}:{2 * i}"].isprintable()
    assert "torn" in said[f"{at}:{2 * len(BAD) + 3}"]


def test_a_file_of_nothing_but_bad_lines_is_not_listed_to_its_end(results) -> None:
    put(results, b"x\n" * 5000 + lines(ptq()))
    found = gather([RESULTS])
    assert found.rows == [ptq()]
    assert len(found.rejected) == 101
    assert found.rejected[-1].reason == "4,900 more lines are no rows; the first 100 are named"


def test_files_that_are_not_where_submissions_lie(results) -> None:
    content, other = lines(ptq()), lines(ptq("colours"))
    where = {
        "rows.jsonl": content,
        "rows/rows.jsonl": content,
        f"rows/alice/../{named(content).removeprefix('rows/')}": content,
        f"rows/bob/deep/{named(content).removeprefix('rows/bob/')}": content,
        f"rows/al ice/{named(content).removeprefix('rows/bob/')}": content,
        f"other/{named(content)}": content,
        "rows/bob/synthetic-0123.jsonl": content,
    }
    results.seed(RESULTS, where, repo_type="dataset", raw_names=True)
    changed = named(content, "alice")
    put(results, other, **{changed: lines(ptq(correct=999)), "notes.json": b"{", "data.parquet": b"x"})
    found = gather([RESULTS])
    assert found.rows == [ptq("colours")]
    assert {each.where.partition("/")[2].partition("/")[2]: each.reason[:25] for each in found.rejected} == {
        **dict.fromkeys(where, "expected rows at rows/<us"),
        changed: "its content is not what w",
    }
    asked = [each.path for each in results.requests if "/resolve/" in each.path and each.method == "GET"]
    assert len(asked) == 2  # the good one and the changed one; the rest was not even fetched


def test_too_large_is_not_fetched(results, monkeypatch) -> None:
    monkeypatch.setitem(repository.MAX_BYTES, ".jsonl", 1000)
    small, large = lines(ptq()), lines(ptq("colours"), ptq("gratings"))
    put(results, small, large)
    found = gather([RESULTS])
    assert found.rows == [ptq()]
    assert found.rejected[0].reason == f"expected at most 1,000 bytes, found {len(large):,}; it was not fetched"
    monkeypatch.setattr(repository, "MAX_ENTRIES", 3)
    assert "holds more than 3 files and folders" in gather([RESULTS]).rejected[0].reason
    monkeypatch.setattr(import_module("qvec_hub.bench.community.gather"), "MAX_BYTES", 10)
    monkeypatch.setattr(repository, "MAX_ENTRIES", 100)
    assert any("too much was fetched before it" in each.reason for each in gather([RESULTS]).rejected)


def test_a_measurement_that_two_have_made(results) -> None:
    """The same count is one row; another count is nobody's; other rows of both stay."""
    same, disputed = ptq(), ptq("colours", 400)
    again = ptq(wall_s=9.0, device="cuda", versions={"torch": "9"}, created="2027-01-01T00:00:00+00:00")
    theirs = ptq("colours", 401, device="cuda")
    local = ptq("gratings", 1, receiver="mine", receiver_revision=None)
    bobs, alices = lines(same, disputed, local), lines(again, theirs, ptq("gratings", 2, **NAMELESS), ptq("textures"))
    put(results, bobs)
    put(results, alices, user="carol")
    found = gather([RESULTS])
    assert found.rows == [same, ptq("textures")]
    bob, carol = (named(content, user).removeprefix("rows/") for content, user in ((bobs, "bob"), (alices, "carol")))
    said = reasons(found)
    assert said.keys() == {f"{bob}:2", f"{carol}:2", f"{bob}:3", f"{carol}:3"}
    assert said[f"{bob}:2"].startswith("counts 400 of 1000 where lab/results@")
    assert f"rows/{carol}:2 counts 401 of 1000; neither was taken" in said[f"{bob}:2"]
    assert "two models of one name" not in said[f"{bob}:2"]
    assert "two models of one name: publish it" in said[f"{carol}:3"]


NAMELESS = {"receiver": "mine", "receiver_revision": None}


def test_contexts_speak_of_their_submitters_rows_alone(results) -> None:
    base, task = {"base": "b", "task": "shapes"}, {"base": "b", "task": "colours"}
    bobs = context(receivers={"me/shapes": base, "me/colours": base}, parameters={"b": 5, "other": 6})
    carols = context(receivers={"me/shapes": {"base": "evil", "task": "x"}, "me/colours": task}, parameters={"b": 5})
    put(results, lines(ptq()), **{named(bobs, "bob", "context", "json"): bobs})
    put(results, lines(ptq("colours")), user="carol", **{named(carols, "carol", "context", "json"): carols})
    found = gather([RESULTS])
    trained = {"me/shapes": Trained("b", "shapes"), "me/colours": Trained("b", "colours")}
    assert found.context == Context(trained, {}, {"b": 5})
    assert found.rejected == []


def test_names_that_two_explain_differently(results) -> None:
    for user, task in (("bob", "shapes"), ("carol", "circles")):
        known = context(receivers={"me/shapes": {"base": "b", "task": task}}, parameters={"b": 5})
        put(results, lines(ptq(correct=5, seed=len(user))), user=user, **{named(known, user, "context", "json"): known})
    found = gather([RESULTS])
    assert len(found.rows) == 2
    assert found.context == Context(parameters={"b": 5})
    assert len(found.rejected) == 2
    for one, other in (("bob", "carol"), ("carol", "bob")):
        reason = next(reason for where, reason in found.rejected if f"/rows/{one}/context-" in where)
        assert "says something else of receivers 'me/shapes' than" in reason
        assert f"/rows/{other}/context-" in reason


@pytest.mark.parametrize(
    "known",
    [
        b"",
        b"[]",
        context(receivers=[]),
        context(receivers={"me/shapes": {"base": 5, "task": "x"}}),
        context(donors={"me/shapes": {"base": "b", "task": "x", "more": "y"}}),
        context(parameters={"b": -1}),
        context(similarity={"b": {"x": 1}}),
        context(similarity={"b": {"x": {"y": "1"}}}),
        context().replace(b"{}", b"NaN", 1),
    ],
)
def test_a_context_of_another_form_costs_no_row(results, known: bytes) -> None:
    put(results, lines(ptq()), **{named(known, "bob", "context", "json"): known})
    found = gather([RESULTS])
    assert (found.rows, found.context) == ([ptq()], Context())
    assert len(found.rejected) == 1
    assert "context-" in found.rejected[0].where


def photos(hub, info: object) -> str:
    card = f"---\ndataset_info: {json.dumps(info)}\n---\n"
    return hub.seed(PHOTOS, {"README.md": card.encode(), "photos.py": b"raise SystemExit"}, repo_type="dataset")


def of_photos(revision: str, n: int, **about: object):
    return ptq(dataset=PHOTOS, dataset_revision=revision, n=n, correct=1, **about)


def test_datasets_of_the_hub_are_asked_once_each(results) -> None:
    splits = [{"name": "train", "num_examples": 50}, {"name": "test", "num_examples": 10}]
    old = photos(results, {"splits": splits})
    new = photos(results, [{"splits": splits}, {"splits": [{"name": "test", "num_examples": 12}]}])
    good = [of_photos(old, 10), of_photos(new, 10, seed=1), of_photos(new, 12), of_photos(old, 50, split="train")]
    bad = [of_photos(old, 12, seed=2), of_photos("a" * 40, 10)]
    odd = of_photos(old, 7, split="extra")
    content = lines(*good, *bad, odd)
    put(results, content)
    results.clear_requests()
    found = gather([RESULTS])
    assert found.rows == [*good, odd]
    at = named(content).removeprefix("rows/")
    assert reasons(found) == {
        f"{at}:5": f"n: expected 10, the images in split test of {PHOTOS}, found 12",
        f"{at}:6": f"dataset_revision: {PHOTOS} has no commit {'a' * 40}",
    }
    why = "its card does not say how many images the split has"
    assert found.unchecked == [(f"{PHOTOS}@{old[:12]} extra", why)]
    asked = [each.path for each in results.requests if PHOTOS in each.path]
    assert len(asked) == 3
    assert all(path.startswith(f"/api/datasets/{PHOTOS}/revision/") for path in asked)  # nothing of it is fetched


@pytest.mark.parametrize(
    "info",
    [None, 5, "x", [5], {"splits": 5}, {"splits": ["test"]}, {"splits": [{"name": 5, "num_examples": 10}]},
     {"splits": [{"name": "test", "num_examples": "10"}]}, {"splits": [{"name": "test", "num_examples": -1}]}],
)  # fmt: skip
def test_a_card_that_tells_no_sizes_leaves_them_unchecked(results, info: object) -> None:
    commit = photos(results, info)
    put(results, lines(of_photos(commit, 10)))
    found = gather([RESULTS])
    assert (found.rows, found.rejected) == ([of_photos(commit, 10)], [])
    assert len(found.unchecked) == 1


def test_a_hub_that_does_not_answer_for_datasets(results) -> None:
    rows = [ptq(dataset=f"lab/d{i}", dataset_revision="a" * 40, seed=i) for i in range(6)]
    put(results, lines(*rows))
    results.inject(Fault("status", path="/api/datasets/lab/d", code=503, times=None))
    results.clear_requests()
    found = gather([RESULTS])
    assert (found.rows, found.rejected) == (rows, [])
    assert [("503" in why, "was not asked" in why) for _, why in found.unchecked] == [(True, False)] * 3 + [
        (False, True)
    ] * 3


def test_repositories_found_by_their_tag(results) -> None:
    put(results, lines(ptq()))
    put(results, lines(ptq(), ptq("colours")), repo="zoe/mine", **{"README.md": CARD})
    put(results, lines(ptq("gratings")), repo="zoe/untagged")
    results.seed("zoe/locked", {"README.md": CARD, named(lines(ptq("textures"))): lines(ptq("textures"))},
                 repo_type="dataset", gated="manual")  # fmt: skip
    results.seed("zoe/hidden", {"README.md": CARD}, repo_type="dataset", private=True)
    found = gather()
    assert {row.dataset for row in found.rows} == {"zoo:shapes", "zoo:colours"}
    assert len(found.rows) == 2
    assert {each.repo_id: each.rows for each in found.sources} == {RESULTS: 1, "zoe/mine": 2}
    assert len(found.rejected) == 1
    assert found.rejected[0].where.startswith("zoe/locked@")
    assert "access must be granted first" in found.rejected[0].reason
    with pytest.raises(qv.HubError, match=r"zoe/locked@.*access must be granted first"):
        gather(["zoe/locked"])
    with pytest.raises(qv.HubError, match=r"zoe/nowhere: .*no such repository"):
        gather([RESULTS, "zoe/nowhere"])
    with pytest.raises(qv.ArtifactError, match="not a repo id"):
        gather(["x y"])


def test_more_repositories_than_are_read(results, monkeypatch) -> None:
    put(results, lines(ptq("colours")), repo="zoe/mine", **{"README.md": CARD})
    put(results, lines(ptq("colours")))
    monkeypatch.setattr(repository, "MAX_REPOSITORIES", 1)
    found = gather()
    assert (found.rows, len(found.sources)) == ([ptq("colours")], 1)
    assert "has more than 1; the rest was not read" in found.rejected[0].reason


def test_no_repository_at_all(hub) -> None:
    found = gather()
    assert (found.rows, found.context, found.sources) == ([], Context(), [])
    hub.inject(Fault("status", path="/api/datasets", code=500, times=None))
    with pytest.raises(qv.HubError, match="the list of results repositories: could not be fetched"):
        gather()
