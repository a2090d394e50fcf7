"""Links and images of every Markdown file lead somewhere."""

from __future__ import annotations

import re

import pytest

from .page import PAGES, ROOT, Page

CARDS = [path for path in sorted((ROOT / "model_cards").rglob("*.md")) if path.parent.name != "templates"]
PACKAGE = ROOT / "src" / "qvec_hub"
FILES = [*PAGES, ROOT / "CHANGELOG.md", *CARDS]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_exist(path) -> None:
    for link in Page(path).links():
        if re.match(r"[a-z]+:", link):
            continue  # another site; the tests have no network
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), f"{link}: no such file"
        assert target.is_relative_to(ROOT), f"{link}: outside the repository"
        if anchor:
            assert anchor in Page(target).anchors(), f"{link}: no such heading"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_exist(path) -> None:
    """`python benchmarks/….py`, and paths of the repository, within sentences."""
    for text in Page(path).code():
        found = re.match(r"(?:python )?((?:benchmarks|src|docs|tests|model_cards)/[\w./-]*)", text)
        if found:
            assert (ROOT / found[1]).exists(), text


def test_the_architecture_is_the_one_there_is() -> None:
    """Rooms and files that docs/architecture.md names exist, and it names every room."""
    page = Page(ROOT / "docs" / "architecture.md")
    paths = [text for text in page.code() if re.fullmatch(r"\w+/(\w+/)*(\w+\.py)?", text)]
    missing = [path for path in paths if not ((PACKAGE / path).exists() or (ROOT / path).exists())]
    assert len(paths) > 30
    assert missing == []
    rooms = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    assert rooms <= set(paths)
