"""Options and arguments that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

from .variants import choices

__all__ = [
    "AsJson",
    "CommitMessage",
    "Dataset",
    "DatasetOrNone",
    "Encoding",
    "ImageColumn",
    "LabelColumn",
    "ReadToken",
    "WriteToken",
]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Encoding = Annotated[str, typer.Option(help=f"How to store matrices, one of {choices('encoding')}.")]
ImageColumn = Annotated[str | None, typer.Option(help="Column of images, if it cannot be guessed.")]
LabelColumn = Annotated[str | None, typer.Option(help="Column of labels, if it cannot be guessed.")]
CommitMessage = Annotated[str | None, typer.Option(help="Message of the commit.")]
_DATASET = typer.Argument(
    help="Labeled images: a Hub repo id, a folder of class folders, parquet, a saved dataset or zoo:NAME.",
    show_default=False,
)
Dataset = Annotated[str, _DATASET]
DatasetOrNone = Annotated[str | None, _DATASET]
ReadToken = Annotated[str | None, typer.Option(help="A token, to read private and gated vectors too.")]
WriteToken = Annotated[str | None, typer.Option(help="A token with write access; by default the one logged in.")]
