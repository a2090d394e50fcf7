"""The typer application, how errors end, and how results are printed."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..util.untrusted import printable
from .ending import MAX_MESSAGE, ending_in_one_line

__all__ = ["app", "console", "emit", "main", "note", "number_or_word", "print_table"]

app = typer.Typer(
    name="qvec",
    help="Quantization vectors for Vision Transformers: share them, apply them, measure them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
console = Console(stderr=True, emoji=False)  # progress and notes; stdout carries results alone


def emit(result: dict[str, Any], text: str, as_json: bool) -> None:
    """Print a command's result: one JSON object, or the text made for people."""
    print(json.dumps(result) if as_json else text)


def note(message: str) -> None:
    """One line for the person watching; never on stdout."""
    console.print(printable(message, MAX_MESSAGE), highlight=False, markup=False, soft_wrap=True)


def print_table(title: str, columns: list[str], rows: list[list[str]], folding: Collection[str] | None = None) -> None:
    """A table on stdout: drawn on a terminal, tab-separated lines elsewhere.

    Args:
        folding: columns that are folded where the terminal is narrow; the others stay whole. None folds all.
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
    """An option that takes a number or a word."""
    try:
        return float(text)
    except ValueError:
        return text


def main() -> None:
    """Run the command line: bad input ends in one line on stderr and exit code 1, bad usage in 2.

    Ctrl-C and a request to end (SIGTERM) leave no scratch files behind: exit codes 130 and 143.
    """
    with ending_in_one_line():
        if not console.is_terminal:
            from transformers.utils import logging

            logging.disable_progress_bar()  # a bar in a log file is noise
        app()
