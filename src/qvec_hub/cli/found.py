"""What ``qvec search`` shows. Untrusted text is escaped before it reaches the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..util.untrusted import printable
from .app import console, note, print_table

__all__ = ["progress", "show"]

MAX_BROKEN = 10  # listed on a terminal; --json lists all
COLUMNS = ["vector", "task", "grid", "gain", "wins", "control", "size", "downloads"]


@contextmanager
def progress(message: str) -> Iterator[Callable[[str], None]]:
    """Show a status line on a terminal, and nothing elsewhere; yields a function that changes its text."""
    if not console.is_terminal:
        yield lambda message: None
        return
    from transformers.utils import logging

    logging.disable_progress_bar()  # two moving lines at once garble each other
    with console.status(message) as status:
        yield status.update


def show(found: Any) -> None:
    """Print a `SearchResult` as a table, with notes on what it leaves out."""
    if found.found_by:
        note(f"base: {printable(found.base_model or 'not published')} ({printable(found.found_by)})")
    shown = f"{len(found)} of {found.total} vectors" if len(found) < found.total else f"{len(found)} vectors"
    print_table(shown, COLUMNS, [_line(vector) for vector in found], folding=("vector", "task"))
    if len(found) < found.total:
        note(f"{shown}; use --limit to see more, or --bits, --grid and --task to filter")
    if closed := [printable(vector.name) for vector in found if vector.gated and not vector.verified]:
        note(f"gated, ask for access on the repository's page first: {', '.join(closed)}")
    for vector in found.broken[:MAX_BROKEN]:
        what = "cannot be reached" if vector.unreachable else "broken"
        note(printable(f"{what}: {vector.name}: {vector.broken}", 300))
    if len(found.broken) > MAX_BROKEN:
        note(f"and {len(found.broken) - MAX_BROKEN} more that cannot be used; --json lists them")
    if not found:
        note("no vector fits; make one with `qvec train`, or search with fewer conditions")


def _line(vector: Any) -> list[str]:
    from ..hub.cards.markdown import points, sized

    evidence = vector.evidence
    control = evidence.control if evidence else None
    return [
        printable(vector.name),
        "none: a base donor" if vector.of_base else printable(vector.task or vector.dataset or "–", 60),
        vector.grid or "–",
        points(evidence.mean_gain) if evidence else "–",
        f"{evidence.wins}/{evidence.n_pairs}" if evidence else "–",
        points(control.value) if control else "–",
        sized(vector.size) if vector.size is not None else "–",
        str(vector.downloads),
    ]
