"""``qvec bench anchors``: full-size checkpoints, rounded and counted on the images they were trained for."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .app import emit, note
from .options import AsJson

__all__ = ["EPILOG", "anchors"]

EPILOG = "Example: qvec bench anchors --images /data/imagenet --model deit_small_patch16_224.fb_in1k --out runs/anchors"


def anchors(
    suite: Annotated[str, typer.Argument(help="imagenet-anchors, or a .yaml file of your own.")] = "imagenet-anchors",
    *,
    out: Annotated[Path, typer.Option(help="Folder for rows and tables; an interrupted run there is continued.")],
    images: Annotated[
        str | None,
        typer.Option(
            help="Images to use instead of the suite's: a folder with train and val, of class folders named by synsets "
            "(n01440764), or another dataset on the Hub."
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split to count instead of the suite's.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Count only this many images, evenly spread over the split.")
    ] = None,
    models: Annotated[
        Path | None, typer.Option(help="Folder of the converted models.", show_default="OUT/models")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only this model of the suite; repeatable.")] = None,
    bits: Annotated[list[int] | None, typer.Option(help="Only this width, besides unquantized; repeatable.")] = None,
    data_free: Annotated[
        bool, typer.Option("--data-free", help="Leave out what needs training images; these are then not fetched.")
    ] = False,
    only_estimate: Annotated[
        bool, typer.Option("--estimate", help="Stop after saying how long the run will take.")
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="Device, such as cpu or cuda. Default: the one accelerate chooses.")
    ] = None,
    token: Annotated[
        str | None, typer.Option(help="A token, for gated or private images and models; by default the one logged in.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count published checkpoints at several widths, beside published figures.

    Models are fetched and converted once. Each row is on the disk before the next one begins, so an interrupted run
    continues where it ended, and another call with other options counts what is missing. The tables anchors.csv (in
    timm's columns) and anchors.md hold all rows of the folder; published figures stand apart from them.
    """
    from ..bench.anchors.run import run_anchors
    from ..bench.anchors.suite import anchor_cells, load_anchors
    from ..evaluation.models import device_called

    whole = load_anchors(suite).on(dataset=images, test_split=split, test=limit)
    cells = anchor_cells(whole, model or (), bits or (), data_free)
    where = None if device is None else device_called(device)
    done = run_anchors(whole, out, cells, models, token=token, device=where, only_estimate=only_estimate, say=note)
    text = f"{done.out}: {done.new} rows counted now, {done.total} of {done.cells} in all"
    if done.total:
        text += f"\nTables: {done.out / 'anchors.md'}, {done.out / 'anchors.csv'}"
    emit({**asdict(done), "out": str(done.out)}, text, as_json)
