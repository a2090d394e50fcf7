"""``qvec eval``: count how many images of a dataset a model gets right."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .app import app, emit, note, number_or_word, print_table
from .options import AsJson, Dataset, ImageColumn, LabelColumn

__all__ = ["eval_command"]


@app.command(
    "eval",
    epilog="Example: qvec eval me/vit-base-flowers me/flowers --vector you/vit-base-eurosat-int3-qvec --weights int3",
)
def eval_command(
    model: Annotated[str, typer.Argument(help="An image classification model: a folder or a Hub repo id.")],
    dataset: Dataset,
    split: Annotated[
        str | None, typer.Option(help="Split to evaluate. Default: test, or the dataset's only split.")
    ] = None,
    config: Annotated[str | None, typer.Option(help="Configuration (subset) of the dataset.")] = None,
    dataset_revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hub dataset.")] = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a forward pass.")] = 32,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Evaluate only this many images, evenly spread over the split.")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="Another model; count the images on which both agree.")] = None,
    vector: Annotated[
        list[str] | None, typer.Option(help="Vector to add first: a folder or a Hub repo id; repeatable.")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Grid to quantize to first, such as int3.")] = None,
    scale: Annotated[str | None, typer.Option(help="Scale of the vector: a number, recommended or auto.")] = None,
    rounding: Annotated[
        str | None, typer.Option(help="Rounding to that grid, such as nearest. Default: as for qvec apply.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Device, such as cpu or cuda. Default: the one accelerate chooses.")
    ] = None,
    num_workers: Annotated[int, typer.Option(min=0, help="Processes that decode images.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Evaluate a model, as it is or with a vector added and its weights quantized.

    Counts are exact, also with several processes (accelerate launch, torchrun), of which only the first prints.
    """
    from accelerate import PartialState

    from ..evaluation.models import resolve_model
    from ..evaluation.runner import evaluate

    how = _how(vector, weights, scale, rounding)
    result = evaluate(
        resolve_model(model, **how),
        dataset,
        batch_size=batch_size,
        reference=reference,
        split=split,
        image_column=image_column,
        label_column=label_column,
        config=config,
        revision=dataset_revision,
        limit=limit,
        device=device,
        num_workers=num_workers,
    )
    if not PartialState().is_main_process:
        return
    if as_json:
        emit({"model": model, "dataset": dataset, **how, **result.to_dict()}, "", True)
        return
    counts = {"top-1": result.correct, "top-5": result.correct_top5, "agreement": result.agreed}
    rows = [
        [name, f"{100 * count / result.n:.2f} %", f"{count} of {result.n}"]
        for name, count in counts.items()
        if count is not None
    ]
    what = ", ".join([model, *(f"{name} {value}" for name, value in how.items())])
    title = f"{what} on {dataset}" + (f" ({result.split})" if result.split else "")
    print_table(title, ["measure", "share", "images"], rows)
    note(f"{title}: {result.wall_s:.1f} s on {result.device}, images by {result.image_backend}")


def _how(vector: list[str] | None, weights: str | None, scale: str | None, rounding: str | None) -> dict[str, Any]:
    """The arguments of ``from_pretrained`` that were given."""
    how: dict[str, Any] = {}
    if vector:
        how["vector"] = vector[0] if len(vector) == 1 else vector
    if weights is not None:
        how["weights"] = weights
    if scale is not None:
        if not vector:
            raise typer.BadParameter("goes only with --vector", param_hint="--scale")
        how["scale"] = number_or_word(scale)
    if rounding is not None:
        if weights is None:
            raise typer.BadParameter("goes only with --weights", param_hint="--rounding")
        how["rounding"] = rounding
    return how
