"""``qvec train``: train a donor."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import app, emit, note
from .options import AsJson, DatasetOrNone, ImageColumn, LabelColumn
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
    out: Annotated[Path, typer.Option(help="A new folder for fp/, qat/ and vector/.", show_default=False)],
    base: Annotated[str | None, typer.Argument(help="The base: a folder or a Hub repo id.", show_default=False)] = None,
    dataset: DatasetOrNone = None,
    distill: Annotated[
        str | None,
        typer.Option(
            metavar="BASE",
            help="Train a base donor instead: this base towards its own features, without labels and without a task.",
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            help="With --distill: a folder of images, or a dataset; labels are not read.",
            show_default="the package's proxy images",
        ),
    ] = None,
    weights: Annotated[str, typer.Option(help="The grid to train for: int2 … int8, or a full grid name.")] = "int3",
    recipe: Annotated[
        str, typer.Option(help=f"How the quantization-aware model is trained. One of {choices('recipe')}.")
    ] = "ste",
    parameter: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, a hyper-parameter of this recipe alone; repeatable.")
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="Passes over the training images.", show_default="10, distill: 20")
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(help="Learning rate after the warm-up; then cosine to zero.", show_default="1e-5, distill: 2e-4"),
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="Weight decay of AdamW.", show_default="0.1, distill: 0")
    ] = None,
    warmup_steps: Annotated[
        int | None, typer.Option(help="Steps of linear warm-up.", show_default="500, distill: 50")
    ] = None,
    clip_norm: Annotated[float, typer.Option(help="Largest gradient norm; 0 for no clipping.")] = 1.0,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Images in an optimizer step, over all devices and parts.", show_default="128, distill: 64"),
    ] = None,
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

    The defaults are the hyper-parameters of arXiv 2604.03420; choose only --epochs for your dataset. A base donor
    (--distill) serves every fine-tune of its base.
    """
    _refuse_contradictions(base, dataset, distill, images, bf16 and fp16)
    from ..util.scratch import check_writable

    check_writable(out)
    from ..training.donor import train_donor  # slow to import
    from ..training.recipes.training_recipe import read_recipe

    hyper_parameters = {
        "name": "distill" if distill else recipe,
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
    chosen = read_recipe({name: value for name, value in hyper_parameters.items() if value is not None})
    arguments: dict[str, Any] = {"dataloader_num_workers": workers}
    if save_steps is not None:
        arguments |= {"save_strategy": "steps", "save_steps": save_steps}
    if distill:
        found = _base_donor(distill, images, out, grid=weights, recipe=chosen, resume=resume, arguments=arguments)
        emit(found, f"{found['images']} images\nvector  {found['vector']}", as_json)
        return
    note(f"Training a donor for {weights} on {dataset}, twice {chosen.epochs:g} epochs")
    assert base is not None
    assert dataset is not None
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


def _refuse_contradictions(
    base: str | None, dataset: str | None, distill: str | None, images: str | None, twice: bool
) -> None:
    if twice:
        raise typer.BadParameter("choose one of --bf16 and --fp16")
    if distill and (base or dataset):
        raise typer.BadParameter("--distill names the base, and no dataset is needed; leave BASE and DATASET out")
    if not distill and not (base and dataset):
        raise typer.BadParameter("expected BASE and DATASET, or --distill BASE")
    if images and not distill:
        raise typer.BadParameter("--images goes only with --distill; a task's donor is trained on DATASET")


def _base_donor(base: str, images: str | None, out: Path, **settings: Any) -> dict[str, Any]:
    from ..backbone.processor import load_processor
    from ..evaluation.images import preprocess
    from ..training.distill import distill_donor
    from .image_dataset import image_dataset

    pixels = None if images is None else preprocess(image_dataset(images), load_processor(base)).pixel_values
    note(f"Training a base donor for {settings['grid']} on {images or 'proxy images'}")
    donor = distill_donor(base, out, images=pixels, **settings)
    return {"qat": str(donor.qat), "vector": str(donor.vector), "images": donor.images}


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
