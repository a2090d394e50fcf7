"""Results put on a donor's own repository: one commit, an honest value for each dataset of the Hub, nothing lost."""

from pathlib import Path

import pytest
import yaml
from huggingface_hub import HfApi, ModelCard, parse_eval_result_entries

import qvec_hub as qv
from qvec_hub.bench.community.submit_card import submit_results
from qvec_hub.hub.cards.model_index import read_evidence
from qvec_hub.results.row import DonorUse, Row

from ..bench.synthetic import a_row
from .conftest import same

REPO = "alice/toys-qvec"
USE = (DonorUse(REPO),)
COMMIT = "d" * 40
PHOTOS = {"dataset": "lab/photos", "dataset_revision": COMMIT}


def pair(receiver: str, before: int, after: int, grid: str = "int3", **about) -> list[Row]:
    """Rounded without the vector and with it; 100 images."""
    about = {"n": 100, **about}
    return [
        a_row(receiver, "shapes", "ptq", grid, 0, **about, correct=before),
        a_row(receiver, "shapes", "qvec", grid, 0, **about, correct=after, donors=USE, scale=1.0, scale_policy="unit"),
    ]


@pytest.fixture
def pushed(hub, vector):
    vector.push_to_hub(REPO, license="mit")
    hub.clear_requests()
    return hub


def listed(revision: str | None = None):
    info = HfApi().model_info(REPO, revision=revision, expand=["evalResults"])
    return {entry.dataset_id: entry for entry in info.eval_results or []}


def test_card_index_and_entries_in_one_commit(pushed, vector, asked) -> None:
    before = pushed.files(REPO)
    rows = [
        *pair("me/a", 40, 60, **PHOTOS, created="2026-11-01T00:00:00Z"),
        *pair("me/b", 50, 45, **PHOTOS, n=300, created="2026-11-02T00:00:00+00:00"),
        *pair("me/a", 10, 99, grid="int2", **PHOTOS),  # not the vector's grid: in the card alone
        *pair("me/c", 30, 31),  # of the zoo: in the card alone
        *pair("me/d", 20, 80, dataset="lab/toys", dataset_revision=None),
    ]
    done = submit_results(REPO, rows, results_repo="lab/results")
    after = pushed.files(REPO)
    assert len(asked("POST", "/commit/")) == 1
    assert HfApi().model_info(REPO).sha == done.oid
    assert {path for path in after if after[path] != before.get(path)} == {"README.md", ".eval_results/qvec.yaml"}
    entries = {
        each.dataset_id: each for each in parse_eval_result_entries(yaml.safe_load(after[".eval_results/qvec.yaml"]))
    }
    assert entries == listed()
    assert entries.keys() == {"lab/photos", "lab/toys"}
    photos = entries["lab/photos"]
    assert photos.value == pytest.approx((60 + 45) / (100 + 300), abs=1e-6)  # of all images, an accuracy and no gain
    assert (photos.dataset_revision, photos.task_id) == (COMMIT, "image-classification")
    assert photos.date == "2026-11-20T12:00:00+00:00"  # the last of its rows with this vector
    assert photos.source_url.endswith("/datasets/lab/results")
    assert "me/a 60/100 at scale 1 (without 40), me/b 45/300 at scale 1 (without 50)" in photos.notes
    assert vector.config.grid.name in photos.notes
    assert entries["lab/toys"].dataset_revision is None
    card = ModelCard.load(REPO)
    assert card.data.license == "mit"
    assert read_evidence(card.data.to_dict(), REPO).n_pairs == 5
    assert "0.300 (30/100) | 0.310 (31/100)" in card.content
    assert same(qv.QuantizationVector.from_pretrained(REPO), vector)


def test_the_same_results_again_change_nothing_and_new_ones_replace_them(pushed) -> None:
    first = submit_results(REPO, pair("me/a", 40, 60, **PHOTOS))
    assert submit_results(REPO, pair("me/a", 40, 60, **PHOTOS)).oid == first.oid
    submit_results(REPO, pair("me/a", 40, 70, **PHOTOS))
    assert listed()["lab/photos"].value == 0.7
    submit_results(REPO, pair("me/a", 40, 80))  # none on a dataset of the Hub
    assert listed() == {}
    assert ".eval_results/qvec.yaml" not in pushed.files(REPO)


def test_what_the_author_wrote_stays(pushed) -> None:
    mine = b"- {dataset: {id: lab/else, task_id: x}, value: 1}\n"
    text = pushed.files(REPO)["README.md"] + b"\n## Notes\n\nby hand\n"
    pushed.seed(REPO, {"README.md": text, ".eval_results/mine.yaml": mine})
    submit_results(REPO, pair("me/a", 40, 60, **PHOTOS))
    assert "by hand" in ModelCard.load(REPO).content
    assert pushed.files(REPO)[".eval_results/mine.yaml"] == mine
    assert listed().keys() == {"lab/else", "lab/photos"}


def test_others_can_only_propose(pushed) -> None:
    before = pushed.files(REPO)
    with pytest.raises(qv.HubError, match=rf"{REPO}: .*may not do this"):
        submit_results(REPO, pair("me/a", 40, 60, **PHOTOS), token="hf_bob")
    done = submit_results(REPO, pair("me/a", 40, 60, **PHOTOS), token="hf_bob", create_pr=True)
    assert pushed.files(REPO) == before
    assert listed(done.pr_revision).keys() == {"lab/photos"}


def test_results_of_nothing(pushed, tmp_path: Path) -> None:
    pushed.seed("alice/model", {"README.md": b"# Mine\n", "config.json": b"{}"})
    rows = pair("me/a", 40, 60, **PHOTOS)
    before = pushed.files(REPO)
    for repo, given, said in [
        ("alice/model", rows, "alice/model: holds no vector that can be read"),
        ("alice/none", rows, "no such repository"),
        (REPO, rows[:1], f"none measures {REPO} alone on another task"),
        (REPO, [], "none measures"),
        (REPO, pair("toys", 1, 2), "none measures"),  # the vector's own task is no transfer
        (f"hf://{REPO}/inner", rows, "lies in a folder"),
    ]:
        with pytest.raises(qv.QVecError, match=said):
            submit_results(repo, given)
    assert pushed.files(REPO) == before
    assert ("model", "alice/none") not in pushed.store.repos
