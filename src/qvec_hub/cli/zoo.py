"""``qvec zoo``: the offline tasks, and the models trained on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ArtifactError, DataError
from ..util.atomic import write_file
from .app import app, emit, note, print_table
from .options import AsJson

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["zoo_app"]

zoo_app = typer.Typer(no_args_is_help=True, help="Small tasks and models that need no download.")
app.add_typer(zoo_app, name="zoo")


@zoo_app.command(epilog="Example: qvec zoo tasks --image tasks.png")
def tasks(
    image: Annotated[Path | None, typer.Option(help="Write a contact sheet of all tasks to this .png file.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the zoo's tasks; zoo:NAME, or zoo:NAME@70 at 70 pixels, names one wherever a dataset is expected."""
    from .. import zoo

    known = [zoo.get_task(name) for name in zoo.tasks()]
    if image is not None:
        _save(zoo.contact_sheet(zoo.tasks()), image)
    if as_json:
        emit({task.name: {"classes": list(task.classes), "about": task.about} for task in known}, "", True)
        return
    print_table(
        f"{len(known)} tasks", ["task", "classes", "what"], [[t.name, str(len(t.classes)), t.about] for t in known]
    )


def _save(sheet: Image.Image, path: Path) -> None:
    try:
        write_file(path, sheet.save)
    except (OSError, ValueError, ArtifactError) as error:
        raise DataError(f"{path}: expected an image file to write, such as tasks.png ({error})") from error


@zoo_app.command(epilog="Example: qvec zoo build --base base-xs --grid int2-channel-mse --out zoo-models")
def build(
    out: Annotated[
        Path, typer.Option(help="Folder for the models; an interrupted build there is continued.", show_default=False)
    ],
    base: Annotated[
        list[str] | None, typer.Option(help="A base; repeatable.", show_default="base-xs, the smallest")
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="A task; repeatable.", show_default="all")] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(help="A grid to train for; repeatable.", show_default="int2-channel-absmax, int2-channel-mse"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of heads and data order.")] = 0,
    pretrain: Annotated[
        bool, typer.Option("--pretrain", help="Pretrain the bases again instead of using those of the package.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train receivers, their quantization-aware twins and vectors on the zoo's tasks, and compare the tasks.

    Finished models are kept: repeat the command after an interruption, or to add a base, task or grid.
    `qvec bench run --models` takes the folder.
    """
    from ..bench.model_store import Library
    from ..bench.suite import load_suite
    from ..bench.train_models import build_library
    from ..grid.grid import Grid

    suite = load_suite("zoo-22").narrowed(bases=base or ["base-xs"], tasks=task)
    changes = {"seeds": (seed,), **({"grids": tuple(Grid.parse(name) for name in grid)} if grid else {})}
    trained = build_library(suite.model_copy(update=changes), Library(out), note, pretrain=pretrain)
    count = len(suite.bases) * len(suite.tasks)
    text = f"{out}: models and vectors of {count} tasks, {trained} of them trained now"
    emit({"out": str(out), "bases": list(suite.bases), "tasks": count, "trained": trained}, text, as_json)
