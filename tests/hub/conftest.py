"""The fixture `library`: the hub of a test, and a quick way to put vectors there."""

from pathlib import Path

import pytest

from .library import Library


@pytest.fixture
def library(hub, vector_folder: Path) -> Library:
    return Library(hub, vector_folder)
