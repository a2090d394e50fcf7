"""What the tests of submitting and gathering share: a results repository, rows that can be right, files of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from qvec_hub.results.row import Row
from qvec_hub.results.rows import append_row

from ..bench.synthetic import GRIDS, a_row

RESULTS = "lab/results"
CARD = b"---\ntags: [qvec-hub-results]\n---\n# Results\n"


@pytest.fixture
def results(hub: Any) -> Any:
    """The hub, with a results repository of alice's organisation."""
    hub.seed(RESULTS, {"README.md": CARD}, repo_type="dataset")
    return hub


def ptq(task: str = "shapes", correct: int = 500, **about: Any) -> Row:
    """A row on the zoo: 1,000 images, as its test splits have."""
    values = {"receiver": f"me/{task}", "receiver_revision": "c" * 40, "correct": correct} | about
    receiver = values.pop("receiver")
    return a_row(receiver, task, "ptq", GRIDS[0], 0.5, **values)


def write(path: Path, rows: Iterable[Row]) -> Path:
    for row in rows:
        append_row(path, row)
    return path


def lines(*rows: Row | bytes | dict[str, Any]) -> bytes:
    """A file's content; what is no row stays as it is."""
    made = [each.to_dict() if isinstance(each, Row) else each for each in rows]
    return b"".join(each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n" for each in made)


def named(content: bytes, user: str = "bob", stem: str = "synthetic", suffix: str = "jsonl") -> str:
    """The path of a content, by the documented rule."""
    return f"rows/{user}/{stem}-{hashlib.sha256(content).hexdigest()[:16]}.{suffix}"


def put(hub: Any, *contents: bytes, user: str = "bob", repo: str = RESULTS, **more: bytes) -> str:
    """Files of rows on main, as if their pull request had been merged."""
    files = {named(content, user): content for content in contents}
    return hub.seed(repo, files | more, repo_type="dataset")
