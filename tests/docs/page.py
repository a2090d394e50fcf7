"""Reading a Markdown page: its blocks in order, the commands and options it names, its links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = re.compile(r"<!-- not run in tests: (.*?) -->")
SAVED_AS = re.compile(r"<!-- file: (\S+) -->")


@dataclass(frozen=True)
class Command:
    """A line of a shell: where it stands, its words, and why it is not run (None: it is)."""

    where: str
    words: tuple[str, ...]
    not_run: str | None = None


@dataclass(frozen=True)
class Block:
    """A fenced or indented block. `kind` is the word behind the fence; `note` the HTML comment right above it."""

    page: Page
    kind: str
    text: str
    line: int
    note: str

    @property
    def where(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def not_run(self) -> str | None:
        found = NOT_RUN.fullmatch(self.note)
        return found[1] if found else None

    @property
    def saved_as(self) -> str | None:
        found = SAVED_AS.fullmatch(self.note)
        return found[1] if found else None

    def commands(self) -> Iterator[Command]:
        """The block's lines as a shell reads them, without comments."""
        number = self.line
        for text in re.split(r"(?<!\\)\n", self.text):
            words = shlex.split(text.replace("\\\n", " "), comments=True)
            if words:
                yield Command(f"{self.page.name}:{number}", tuple(words), self.not_run)
            number += 1 + text.count("\n")


@dataclass(frozen=True)
class Page:
    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tokens(self) -> list[Token]:
        return MarkdownIt().enable("table").parse(self.text)

    @cached_property
    def blocks(self) -> list[Block]:
        found = []
        for before, token in zip([None, *self.tokens], self.tokens, strict=False):
            if token.type in ("fence", "code_block") and token.map:
                note = before.content.strip() if before is not None and before.type == "html_block" else ""
                first = token.map[0] + (2 if token.type == "fence" else 1)
                found.append(Block(self, token.info.strip(), token.content, first, note))
        return found

    @property
    def inline(self) -> Iterator[Token]:
        """Everything inside paragraphs, tables and headings, piece by piece."""
        for token in self.tokens:
            yield from token.children or ()

    def code(self) -> Iterator[str]:
        """The `code` within sentences and tables."""
        return (" ".join(token.content.split()) for token in self.inline if token.type == "code_inline")

    def commands(self) -> Iterator[Command]:
        """The commands of all shell blocks, and those named within sentences, which are not run."""
        for block in self.blocks:
            if block.kind == "bash":
                yield from block.commands()
        for text in self.code():
            if text.startswith("qvec "):
                yield Command(f"{self.name}: `{text}`", tuple(shlex.split(text)), "named in a sentence")

    def links(self) -> Iterator[str]:
        """Targets of links and images."""
        for token in self.inline:
            target = token.attrs.get("href" if token.type == "link_open" else "src")
            if target is not None:
                yield str(target)

    def anchors(self) -> set[str]:
        """The anchors that GitHub gives to headings."""
        headings = [after.content for token, after in zip(self.tokens, self.tokens[1:], strict=False)
                    if token.type == "heading_open"]  # fmt: skip
        return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}
