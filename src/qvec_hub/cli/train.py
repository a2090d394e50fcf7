"""``qvec train``: train a donor."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import app, emit, note
from .options import AsJson, Dataset, ImageColumn, LabelColumn
from .variants import choices

if TYPE_CHECKING:
    from ..training.pair import TrainedDonor

__all__ = ["train"]

LABELS = {"fp": "FP", "ptq": "FP, rounded", "own_qat": "QAT, rounded"}


@app.command(
    epilog="Example: qvec train google/vit-base-patch16-224-in21k tanganke/eurosat --out eurosat-int3 --weights int3 "
    "--epochs 12 --bf16"
)
def train(
    base: Annotated[str, typer.Argument(help="The base: a folder or a Hub repo id.", show_default=False)],
    dataset: Dataset,
    out: Annotated[Path, typer.Option(help="A new folder for fp/, qat/ and vector/.", show_default=False)],
    weights: Annotated[str, typer.Option(help="The grid to train for: int2 … int8, or a full grid name.")] = "int3",
    recipe: Annotated[
        str, typer.Option(help=f"How the quantization-aware model is trained. One of {choices('recipe')}.")
    ] = "ste",
    parameter: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, a hyper-parameter of this recipe alone; repeatable.")
    ] = None,
    epochs: Annotated[float, typer.Option(help="Passes over the training images.")] = 10,
    lr: Annotated[float, typer.Option(help="Learning rate after the warm-up; then cosine to zero.")] = 1e-5,
    weight_decay: Annotated[float, typer.Option(help="Weight decay of AdamW.")] = 0.1,
    warmup_steps: Annotated[int, typer.Option(help="Steps of linear warm-up.")] = 500,
    clip_norm: Annotated[float, typer.Option(help="Largest gradient norm; 0 for no clipping.")] = 1.0,
    batch_size: Annotated[int, typer.Option(help="Images in an optimizer step, over all devices and parts.")] = 128,
    grad_accumulation: Annotated[int, typer.Option(help="Parts to compute a batch in, to save memory.")] = 1,
    head: Annotated[
        str, typer.Option(help="Start of the new head: random, or probe (logistic regression on the base's features).")
    ] = "random",
    seed: Annotated[int, typer.Option(help="Seed of the new head and of the order of images.")] = 2038,
    bf16: Annotated[bool, typer.Option("--bf16", help="Mixed precision with bfloat16.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Mixed precision with float16 (CUDA only).")] = False,
    share_images: Annotated[
        int,
        typer.Option(
            help="Number of training images, without labels, that the vector carries; publish only what you may.",
            min=0,
            max=512,
        ),
    ] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted training in --out.")] = False,
    train_split: Annotated[str, typer.Option(help="The split to train on.")] = "train",
    validation_split: Annotated[
        str | None, typer.Option(help="The split to measure on.", show_default="validation, if there is one")
    ] = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    task: Annotated[
        str | None, typer.Option(help="Name of the task in the vector's card.", show_default="the dataset's name")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that load images.")] = 0,
    save_steps: Annotated[
        int | None, typer.Option(help="Steps between checkpoints.", show_default="one an epoch")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a donor: fine-tune BASE on DATASET plainly and quantization-aware, and save both models and their vector.

    The defaults are the hyper-parameters of arXiv 2604.03420; choose only --epochs for your dataset.
    """
    if bf16 and fp16:
        raise typer.BadParameter("choose one of --bf16 and --fp16")
    from ..util.scratch import check_writable

    check_writable(out)
    from ..training.donor import train_donor  # slow to import
    from ..training.recipes.training_recipe import read_recipe

    hyper_parameters = {
        "name": recipe,
        "epochs": epochs,
        "learning_rate": lr,
        "weight_decay": weight_decay,
        "warmup_steps": warmup_steps,
        "batch_size": batch_size,
        "clip_norm": clip_norm,
        "head": head,
        "seed": seed,
        "grad_accumulation": grad_accumulation,
        "precision": "bf16" if bf16 else "fp16" if fp16 else "fp32",
        **_parameters(parameter or []),
    }
    chosen = read_recipe(hyper_parameters)
    arguments: dict[str, Any] = {"dataloader_num_workers": workers}
    if save_steps is not None:
        arguments |= {"save_strategy": "steps", "save_steps": save_steps}
    note(f"Training a donor for {weights} on {dataset}, twice {epochs:g} epochs")
    donor = train_donor(
        base,
        dataset,
        out,
        grid=weights,
        recipe=chosen,
        task=task,
        train_split=train_split,
        validation_split=validation_split,
        image_column=image_column,
        label_column=label_column,
        resume=resume,
        arguments=arguments,
        share_images=share_images,
    )
    emit(_as_dict(donor), _as_text(donor), as_json)


def _parameters(given: list[str]) -> dict[str, Any]:
    """Values by name: numbers and words in JSON, such as 0.5 and true; anything else is text."""
    values = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"expected NAME=VALUE, found {text!r}", param_hint="--parameter")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return values


def _as_dict(donor: TrainedDonor) -> dict[str, Any]:
    return {
        "fp": str(donor.fp),
        "qat": str(donor.qat),
        "vector": str(donor.vector),
        "classes": len(donor.classes),
        "train_images": donor.train_images,
        "scores": {key: {**asdict(score), "top1": score.top1} for key, score in donor.scores.items()},
    }


def _as_text(donor: TrainedDonor) -> str:
    lines = [f"{LABELS[key]:<13} {s.top1:.4f}  ({s.correct} of {s.n})" for key, s in donor.scores.items()]
    return "\n".join([*lines, f"vector        {donor.vector}"])
