"""The typer application, and how results are printed."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..util.untrusted import printable
from ..version import __version__
from .ending import MAX_MESSAGE, ending_in_one_line

__all__ = ["app", "console", "emit", "main", "note", "number_or_word", "print_table"]

app = typer.Typer(
    name="qvec",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


console = Console(stderr=True, emoji=False)  # progress and notes; stdout carries results alone


@app.callback()
def qvec(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Quantization vectors for Vision Transformers: share them, apply them, measure them."""


def emit(result: dict[str, Any], text: str, as_json: bool) -> None:
    """Print a command's result: one JSON object, or text."""
    print(json.dumps(result) if as_json else text)


def note(message: str) -> None:
    """Print one line on stderr for the person at the terminal, never on stdout."""
    console.print(printable(message, MAX_MESSAGE), highlight=False, markup=False, soft_wrap=True)


def print_table(title: str, columns: list[str], rows: list[list[str]], folding: Collection[str] | None = None) -> None:
    """Print a table on stdout: drawn on a terminal, tab-separated lines elsewhere.

    Args:
        folding: columns to fold on a narrow terminal; the others stay whole. None folds all.
    """
    out = Console(emoji=False)
    if not out.is_terminal:
        for row in [columns, *rows] if any(columns) else rows:
            print("\t".join(row))
        return
    table = Table(title=Text(title), title_justify="left", show_header=any(columns))
    if folding is not None:
        table.box, table.padding, table.pad_edge = box.SIMPLE_HEAD, (0, 1, 0, 0), False
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=folding is not None and column not in folding)
    for row in rows:
        table.add_row(*row)
    out.print(table, markup=False)


def number_or_word(text: str) -> float | str:
    """Parse an option that takes a number or a word."""
    try:
        return float(text)
    except ValueError:
        return text


def main() -> None:
    """Run the command line. Exit codes: 1 after bad input, with one line on stderr; 2 after a usage error.

    Ctrl-C (130) and SIGTERM (143) leave no scratch files behind.
    """
    with ending_in_one_line():
        if not console.is_terminal:  # a bar in a log file is noise
            os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # transformers reads it, too, when it is imported
        app()
