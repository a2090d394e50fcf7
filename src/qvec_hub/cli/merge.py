"""``qvec merge``: merge several vectors into one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import QVecError
from .app import app, emit, note
from .options import AsJson, Encoding, ReadToken
from .variants import choices

__all__ = ["merge"]


@app.command(
    epilog="Example: qvec merge lab/vit-base-eurosat-int3-qvec lab/vit-base-flowers-int3-qvec --encoding int2 "
    "--out consensus-int3-qvec"
)
def merge(
    vectors: Annotated[list[str], typer.Argument(help="Vectors of one base and grid: folders or Hub repo ids.")],
    out: Annotated[Path, typer.Option(help="Folder for the merged vector.")],
    method: Annotated[str, typer.Option(help=f"One of {choices('merge_method')}.")] = "mean",
    weight: Annotated[
        list[float] | None, typer.Option(help="Weight of a vector; give one for each, in the same order.")
    ] = None,
    density: Annotated[float, typer.Option(help="Share of the numbers that pruning methods keep.")] = 0.5,
    seed: Annotated[int, typer.Option(help="Seed of the numbers that DARE drops.")] = 0,
    scale: Annotated[float, typer.Option(help="The scale to recommend.")] = 1.0,
    encoding: Encoding = "float32",
    token: ReadToken = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Allow --out to be one of the merged vectors.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Merge vectors of one base and grid into one, tensor by tensor."""
    from ..artifact.vector_layout import check_vector_folder
    from ..vector.merge import merge as merged
    from ..vector.vector import QuantizationVector
    from .facts import summary

    check_vector_folder(out)
    for vector in vectors:
        if not overwrite and out.exists() and Path(vector).expanduser().exists() and out.samefile(vector):
            raise QVecError(
                f"{out}: is one of the vectors to merge, and would be replaced; nothing was changed. Name another "
                "folder, or pass --overwrite"
            )
    opened = [QuantizationVector.from_pretrained(vector, token=token) for vector in vectors]
    note(f"merging {len(opened)} vectors ({method})")
    result = merged(opened, method, weight, density=density, seed=seed).with_config(scale=scale)
    result.save_pretrained(out, encoding=encoding)
    made = summary(out, QuantizationVector.from_pretrained(out))
    emit(made, f"{out}: {len(opened)} vectors by {method}, {made['encoding']}, norm {made['norm']:.4g}", as_json)
