"""The typer application, how errors end, and how results are printed."""

from __future__ import annotations

import json
import sys
from typing import Any

import typer
from rich.console import Console

from ..errors import QVecError

__all__ = ["app", "console", "emit", "main", "note"]

app = typer.Typer(
    name="qvec",
    help="Quantization vectors for Vision Transformers: share them, apply them, measure them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
console = Console(stderr=True)  # progress and notes; stdout carries results alone


def emit(result: dict[str, Any], text: str, as_json: bool) -> None:
    """Print a command's result: one JSON object, or the text made for people."""
    print(json.dumps(result) if as_json else text)


def note(message: str) -> None:
    """One line for the person watching; never on stdout."""
    console.print(message, highlight=False, markup=False)


def main() -> None:
    """Run the command line: bad input ends in one line on stderr and exit code 1, bad usage in 2."""
    try:
        app()
    except QVecError as error:
        message = " ".join(str(error).split())
        print(f"qvec: {message}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("qvec: interrupted", file=sys.stderr)
        sys.exit(130)
