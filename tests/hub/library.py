"""Vectors put on the test hub quickly: the files of one saved vector, with another base, task, grid and card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from qvec_hub import Grid
from qvec_hub.artifact.config import CARD_FILE, CONFIG_FILE, LINEAGE_FILE, TENSOR_FILE, VectorConfig
from qvec_hub.hub.cards.vector_card import vector_card
from qvec_hub.results.evidence import Evidence, Pair

BASE = "org/base"


class Library:
    """Publishes variations of a saved vector on a hub, without HTTP."""

    def __init__(self, hub: Any, folder: Path) -> None:
        self.hub = hub
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}

    def put(
        self,
        repo_id: str,
        base: str | None = BASE,
        gains: Sequence[float] = (),
        *,
        task: str | None = "toys",
        grid: str = "int3",
        recipe: dict[str, Any] | None = None,
        card: bytes | None = b"",
        files: Mapping[str, bytes | None] | None = None,
        **settings: Any,
    ) -> str:
        """Seed one repository.

        Args:
            gains: of the vector on so many receivers, as its card tells; in hundredths.
            card: its README; empty for the one that this package writes, None for none.
            files: to replace, or with None to leave out.
            settings: downloads, likes, private, gated.
        """
        made = self.made(repo_id, base, gains, task, grid, recipe)
        if card != b"":
            made[CARD_FILE] = card
        made.update(files or {})
        return self.hub.seed(repo_id, {name: data for name, data in made.items() if data is not None}, **settings)

    def made(
        self,
        repo_id: str,
        base: str | None,
        gains: Sequence[float],
        task: str | None,
        grid: str,
        recipe: dict[str, Any] | None = None,
    ) -> dict[str, bytes | None]:
        config = json.loads(self.files[CONFIG_FILE])
        config["base_model"]["repo_id"] = base
        config["donor"]["task"] = task
        config["recipe"] = recipe or config["recipe"]
        config["grid"] = Grid.parse(grid).to_dict()
        text = vector_card(
            VectorConfig.from_dict(config), repo_id, len(self.files[TENSOR_FILE]), evidence(repo_id, gains, grid)
        )
        return {**self.files, CONFIG_FILE: json.dumps(config).encode(), CARD_FILE: text.encode()}

    def opened(self, name: str = CONFIG_FILE) -> list[str]:
        """Repositories whose `name` was fetched, in order, once for each time."""
        return self._asked("GET", name)

    def sketches(self) -> list[str]:
        """Repositories whose sketch was asked for, in order, once each; contents of LFS files come from elsewhere."""
        return list(dict.fromkeys(self._asked("HEAD", LINEAGE_FILE)))

    def _asked(self, method: str, name: str) -> list[str]:
        paths = [each.path for each in self.hub.requests if each.method == method and each.path.endswith(f"/{name}")]
        return [path.split("/resolve/")[0].strip("/") for path in paths if "/resolve/" in path]


@pytest.fixture
def library(hub: Any, vector_folder: Path) -> Library:
    """The hub of a test, and a quick way to put vectors there."""
    return Library(hub, vector_folder)


def evidence(repo_id: str, gains: Sequence[float], grid: str = "int3") -> Evidence | None:
    """One receiver a gain: rounding gets half of 1000 images right, a random vector one more than that."""
    pairs = tuple(
        Pair(f"me/r{i}", f"org/d{i}", Grid.parse(grid), 7, 1.0, 1000,
             {"fp": 900, "ptq": 500, "qvec": 500 + round(1000 * gain)}, random=501)
        for i, gain in enumerate(gains)
    )  # fmt: skip
    return Evidence(repo_id, None, pairs) if pairs else None
