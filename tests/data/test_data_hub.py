"""Datasets by their Hub id: online, from the cache when the Hub is gone, and when there is nothing."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from qvec_hub.data.hub_dataset import dataset_revision
from qvec_hub.data.images import load_images
from qvec_hub.errors import DataError

REPO = "me/photos"


@pytest.fixture
def commit(hub):
    """A dataset on the hub, with the tag v1."""
    image = io.BytesIO()
    Image.new("RGB", (8, 8)).save(image, "png")
    files = {}
    for split, labels in {"train": ["b", "a"], "test": ["b"]}.items():
        rows = {"image": [{"bytes": image.getvalue(), "path": None}] * len(labels), "label": labels}
        out = io.BytesIO()
        pq.write_table(pa.table(rows), out)
        files[f"data/{split}-00000-of-00001.parquet"] = out.getvalue()
    made = hub.seed(REPO, files, repo_type="dataset")
    hub.tag(REPO, "v1", repo_type="dataset")
    return made


def read(**options):
    dataset = load_images(REPO, "test", **options)
    return dataset["label"][:], dataset_revision(dataset)


def test_online(hub, commit):
    for revision in (None, "v1", commit):
        assert read(revision=revision) == ([1], commit)
    with pytest.raises(DataError, match="expected a dataset on the Hub, found status 404"):
        read(revision="v2")
    with pytest.raises(DataError, match="expected a dataset on the Hub, found status 404"):
        load_images("me/nothing")


def test_a_newer_commit(hub, commit):
    newer = hub.seed(REPO, {"README.md": b"# Photos\n"}, repo_type="dataset")
    assert read()[1] == newer
    assert read(revision="v1")[1] == commit


def test_from_the_cache_when_the_hub_is_gone(hub, commit):
    for revision in (None, "v1", commit):
        read(revision=revision)
    hub.stop()
    assert read() == ([1], commit)
    assert read(revision=commit) == ([1], commit)
    # A tag may have moved, so what is in the cache is not taken for it.
    for revision in ("v1", "v2"):
        with pytest.raises(DataError, match=f"found no connection and a cached copy of {commit}"):
            read(revision=revision)
    with pytest.raises(DataError, match="found no connection and nothing in the cache"):
        load_images("me/nothing")
