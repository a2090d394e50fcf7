"""``qvec bench``: what works?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .app import app, emit, note

__all__ = ["bench_app"]

bench_app = typer.Typer(no_args_is_help=True, help="Measure donors, grids and scales, and share what was measured.")
app.add_typer(bench_app, name="bench")


@bench_app.command(epilog="Example: qvec bench run zoo-mini --out runs/zoo-mini")
def run(
    suite: Annotated[str, typer.Argument(help="zoo-mini, zoo-22, vision-22, or a .yaml file.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the rows; a started one is continued.", show_default=False)],
    models: Annotated[
        Path | None, typer.Option(help="Folder of the trained models.", show_default="OUT/models")
    ] = None,
    base: Annotated[list[str] | None, typer.Option(help="Only this base of the suite; repeatable.")] = None,
    receiver: Annotated[list[str] | None, typer.Option(help="Only this receiver's task; repeatable.")] = None,
    donor: Annotated[list[str] | None, typer.Option(help="Only this donor's task; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run a suite: one row for every receiver, method, grid, donor and scale.

    Models that are not there yet are trained first. Each row is on the disk before the next is begun: a run that was
    killed goes on where it was. Several processes (accelerate launch, torchrun) share the work.
    """
    from accelerate import PartialState

    from ..bench.runner import run_suite
    from ..bench.suite import load_suite

    whole = load_suite(suite)
    chosen = whole.narrowed(bases=base, receivers=receiver, donors=donor)
    first = PartialState().is_main_process
    done = run_suite(whole, out, models, chosen=chosen, say=note if first else lambda line: None)
    if first:
        text = (
            f"{done.out}: {done.new} cells measured now, {done.total} of {done.cells} in all\n"
            f"Look at them with: qvec bench report {done.out} --out {done.out}/report"
        )
        emit({**asdict(done), "out": str(done.out)}, text, as_json)
