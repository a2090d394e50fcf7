"""Datasets by their Hub id: online, from the cache when the Hub is gone, and when there is nothing."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

# The address of the Hub is read once, at import: so everything happens in a process of its own.
SCRIPT = """
import json, os, sys
from pathlib import Path
from tests.dataset_hub import COMMIT, DatasetHub

hub = DatasetHub("me/pictures", Path(sys.argv[1]))
os.environ.update(HF_ENDPOINT=hub.url, HF_HOME=sys.argv[2], HF_HUB_OFFLINE="0", HF_HUB_DISABLE_XET="1")
from qvec_hub.data import dataset_revision, load_images
from qvec_hub.errors import DataError

def attempt(*arguments, **options):
    try:
        dataset = load_images(*arguments, **options)
        return [dataset["label"][:], dataset_revision(dataset)]
    except DataError as error:
        return str(error)

def attempts():
    return {
        "test": attempt("me/pictures", "test"),
        "tag": attempt("me/pictures", "test", revision="v1"),
        "commit": attempt("me/pictures", "test", revision=COMMIT),
        "no revision": attempt("me/pictures", "test", revision="v2"),
        "no dataset": attempt("me/nothing"),
    }

online = attempts()
hub.stop()
print(json.dumps([online, attempts()]))
"""
COMMIT = "a" * 40


@pytest.fixture(scope="module")
def attempts(tmp_path_factory):
    repo, home = tmp_path_factory.mktemp("repo"), tmp_path_factory.mktemp("home")
    (repo / "data").mkdir()
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "png")
    for split, labels in {"train": ["b", "a"], "test": ["b"]}.items():
        rows = {"image": [{"bytes": out.getvalue(), "path": None}] * len(labels), "label": labels}
        pq.write_table(pa.table(rows), repo / "data" / f"{split}-00000-of-00001.parquet")
    above = Path(__file__).parents[1]
    paths = [str(above), str(above / "src"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-c", SCRIPT, str(repo), str(home)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def test_online(attempts):
    online, _ = attempts
    for wanted in ("test", "tag", "commit"):
        assert online[wanted] == [[1], COMMIT]
    for missing in ("no revision", "no dataset"):
        assert "expected a dataset on the Hub, found status 404" in online[missing]


def test_from_the_cache_when_the_hub_is_gone(attempts):
    _, offline = attempts
    assert offline["test"] == [[1], COMMIT]
    assert offline["commit"] == [[1], COMMIT]
    # A tag may have moved, so what is in the cache is not taken for it.
    assert f"found no connection and a cached copy of {COMMIT}" in offline["tag"]
    assert f"found no connection and a cached copy of {COMMIT}" in offline["no revision"]
    assert "found no connection and nothing in the cache" in offline["no dataset"]
