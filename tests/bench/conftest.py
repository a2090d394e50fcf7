"""Rows as a run would have made them."""

from collections.abc import Callable
from typing import Any

import pytest

from qvec_hub import Grid
from qvec_hub.bench.model_store import Library
from qvec_hub.results.row import DonorUse, Row

from .library import a_suite, fill


@pytest.fixture(scope="session")
def make_row() -> Callable[..., Row]:
    """A valid row of any method; keywords replace its values."""

    def make(method: str = "qvec", **changes: Any) -> Row:
        donors = (DonorUse("you/donor", "a" * 40),) if method == "qvec" else ()
        values: dict[str, Any] = {
            "suite": "small",
            "suite_version": "1",
            "receiver": "me/flowers",
            "receiver_revision": "b" * 40,
            "dataset": "org/flowers",
            "dataset_revision": None,
            "split": "test",
            "method": method,
            "grid": None if method == "fp" else Grid(bits=3),
            "donors": donors,
            "merge": None,
            "scale": 1.0 if donors else None,
            "scale_policy": "unit" if donors else None,
            "control": None,
            "seed": 7,
            "n": 300,
            "correct": 100,
            "wall_s": 1.5,
            "image_backend": "pil",
            "versions": {"torch": "2.13.0"},
            "device": "cpu",
            "created": "2026-11-20T12:00:00+00:00",
        }
        return Row(**{**values, **changes})

    return make


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The models of `a_suite`; do not change them."""
    made = Library(tmp_path_factory.mktemp("models"))
    fill(made, a_suite())
    return made
