"""One training run on transformers' Trainer: the same data order for the same recipe, resumable."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.utils.data import Subset
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.integrations import get_reporting_integration_callbacks
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from ..errors import ArtifactError, QVecError, first_line
from .pixels import Pixels, collate
from .progress import on_terminal, report_progress
from .recipe import TrainingRecipe

__all__ = ["Score", "evaluate", "rehearse", "train"]

# Settings of the recipe by the Trainer's name: they have one place, which is what the vector's config tells.
BY_RECIPE = {
    "num_train_epochs": "epochs",
    "learning_rate": "learning_rate",
    "weight_decay": "weight_decay",
    "warmup_steps": "warmup_steps",
    "max_grad_norm": "clip_norm",
    "optim": "optimizer",
    "gradient_accumulation_steps": "grad_accumulation",
    "seed": "seed",
    "data_seed": "seed",
    "bf16": "precision",
    "fp16": "precision",
    "per_device_train_batch_size": "batch_size",
}
FIXED = ("output_dir", "run_name", "lr_scheduler_type", "remove_unused_columns", "label_names")
# What would train other models than the recipe tells of, or do what a donor's training does not.
FOREIGN = (
    "max_steps",
    "warmup_ratio",
    "lr_scheduler_kwargs",
    "label_smoothing_factor",
    "neftune_noise_alpha",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "optim_args",
    "optim_target_modules",
    "auto_find_batch_size",
    "per_device_eval_batch_size",
    "dataloader_drop_last",
    "train_sampling_strategy",
    "eval_strategy",
    "load_best_model_at_end",
    "push_to_hub",
)

_WRITER = "inline_container"  # in the messages of torch.save, which raises a RuntimeError when a disk is full


@dataclass(frozen=True)
class Score:
    """Top-1 as exact counts."""

    n: int
    correct: int

    @property
    def top1(self) -> float:
        return self.correct / self.n


def train(
    model: PreTrainedModel,
    data: Pixels,
    recipe: TrainingRecipe,
    folder: Path,
    resume: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
    arguments: Mapping[str, Any] | None = None,
) -> None:
    """Train `model` in place; checkpoints go to `folder`, whose name is the run's.

    Raises:
        ArtifactError: a checkpoint cannot be written.
        QVecError: settings that do not go together or that this machine cannot run; a loss that
            left the numbers.
    """
    args = training_arguments(recipe, folder, arguments)
    checkpoint = last_checkpoint(folder) if resume else None
    if checkpoint is not None:
        saved = type(model).from_pretrained(checkpoint, dtype=torch.float32)
        model.load_state_dict(saved.state_dict())
    trainer = LoadedTrainer(model, args, train_dataset=data, data_collator=collate, callbacks=list(callbacks))
    report_progress(trainer)
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    except torch.OutOfMemoryError as error:
        raise QVecError(
            f"run '{folder.name}': batches of {args.per_device_train_batch_size} images need more memory than the "
            f"device has ({first_line(error)}); raise grad_accumulation from {recipe.grad_accumulation}"
        ) from error
    except QVecError as error:
        raise _as_raised(error) from error
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and _WRITER not in str(error):
            raise
        raise ArtifactError(
            f"run '{folder.name}': no checkpoint could be written to '{folder}' ({first_line(error)}); models that are "
            "finished stay. Make room, then go on by resume=True (--resume)"
        ) from error
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise QVecError(
                f"run '{folder.name}': expected finite weights after training, found NaN or infinity in '{name}'; "
                f"train with a lower learning rate than {recipe.learning_rate:g} or more warm-up"
            )


def rehearse(
    model: PreTrainedModel,
    data: Pixels,
    recipe: TrainingRecipe,
    folder: Path,
    callbacks: Sequence[TrainerCallback] = (),
    arguments: Mapping[str, Any] | None = None,
) -> None:
    """One optimizer step on a few images, with everything that `train` is given but the callers' callbacks.

    The model is not the same afterwards; `folder` may be written to.

    Raises:
        QVecError: when the training cannot begin.
    """
    args = training_arguments(recipe, folder, arguments)
    for callback in callbacks if isinstance(callbacks, Sequence) else [callbacks]:
        kind = callback if isinstance(callback, type) else type(callback)
        if not issubclass(kind, TrainerCallback):
            raise QVecError(f"callbacks: expected a sequence of transformers.TrainerCallback, found {callback!r}")
    images = args.per_device_train_batch_size = 1
    images *= recipe.grad_accumulation * args.world_size * max(1, args.n_gpu)
    few = Subset(data, [row % len(data) for row in range(images)])
    try:
        for reporter in get_reporting_integration_callbacks(args.report_to):
            reporter()  # is there a library for it? Nobody wants a report of this step
        args.max_steps, args.learning_rate, args.warmup_steps = 1, 1e-6, 0
        args.report_to, args.disable_tqdm = [], True
        args.save_strategy, args.logging_strategy = SaveStrategy.NO, IntervalStrategy.NO
        trainer = LoadedTrainer(model, args, train_dataset=few, data_collator=collate)
        trainer.remove_callback(PrinterCallback)
        trainer.remove_callback(ProgressCallback)
        trainer.train()
    except QVecError as error:
        raise _as_raised(error) from error
    except Exception as error:  # nothing here is the caller's code, so it is his settings or this machine
        raise QVecError(
            f"training: expected a first step with these settings, found {type(error).__name__}: {first_line(error)}; "
            "change the recipe or the training arguments"
        ) from error


def _as_raised(error: QVecError) -> QVecError:
    """The error as it was in a DataLoader's worker, which sends its traceback for a message."""
    text = str(error)
    if not text.startswith("Caught "):
        return error
    return type(error)(text.strip().splitlines()[-1].partition(": ")[2])


class LoadedTrainer(Trainer):
    """A Trainer that resumes with the weights its model holds already.

    The Trainer itself loads a checkpoint by run-time names and not strictly, while `save_pretrained`
    wrote it under the names of the Hub: the backbone would silently start again from the base.
    """

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        pass


def evaluate(model: PreTrainedModel, data: Pixels, recipe: TrainingRecipe, folder: Path) -> Score:
    """Top-1 of a model as it stands: a prepared one is evaluated with rounded weights."""
    args = training_arguments(recipe, folder, None)
    trainer = Trainer(model, args, data_collator=collate)
    report_progress(trainer)
    output = trainer.predict(data)
    logits, labels = output.predictions, output.label_ids  # (images, classes), (images,)
    assert not isinstance(logits, tuple)
    assert labels is not None
    return Score(n=len(labels), correct=int((logits.argmax(axis=1) == labels).sum()))


def training_arguments(recipe: TrainingRecipe, folder: Path, extra: Mapping[str, Any] | None) -> TrainingArguments:
    """The recipe in the Trainer's words, and `extra` for what has no bearing on the result.

    Raises:
        QVecError: settings that contradict the recipe, do not exist, or do not go together here.
    """
    if recipe.precision == "fp16" and not torch.cuda.is_available():
        raise QVecError("recipe: precision 'fp16' needs a CUDA device, found none; use 'bf16' or 'fp32'")
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "run_name": folder.name,
        "num_train_epochs": recipe.epochs,
        "learning_rate": recipe.learning_rate,
        "weight_decay": recipe.weight_decay,
        "warmup_steps": recipe.warmup_steps,
        "lr_scheduler_type": "cosine",
        "max_grad_norm": recipe.clip_norm,
        "optim": recipe.optimizer,
        "gradient_accumulation_steps": recipe.grad_accumulation,
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "bf16": recipe.precision == "bf16",
        "fp16": recipe.precision == "fp16",
        "save_strategy": "epoch",
        "save_total_limit": 1,
        "logging_steps": 0.1,
        "disable_tqdm": not on_terminal(),
        "report_to": [],
        "remove_unused_columns": False,
        "label_names": ["labels"],
        "use_cpu": not torch.accelerator.is_available(),  # else bf16 is refused
        "dataloader_pin_memory": torch.accelerator.is_available(),
    }
    _refuse_contradictions(settings, extra)
    try:
        args = TrainingArguments(**{**settings, **(extra or {})})
    except Exception as error:  # of settings for any of the libraries that the Trainer knows
        raise QVecError(f"training arguments: {' '.join(str(error).split()) or type(error).__name__}") from error
    parts = recipe.grad_accumulation * args.world_size * max(1, args.n_gpu)
    if recipe.batch_size % parts:
        raise QVecError(
            f"recipe: batch_size {recipe.batch_size} must be a multiple of {parts} (grad_accumulation "
            f"{recipe.grad_accumulation} x devices {parts // recipe.grad_accumulation}); change one of them"
        )
    args.per_device_train_batch_size = recipe.batch_size // recipe.grad_accumulation // args.world_size
    args.per_device_train_batch_size //= max(1, args.n_gpu)
    args.per_device_eval_batch_size = args.per_device_train_batch_size
    return args


def _refuse_contradictions(settings: Mapping[str, Any], extra: Mapping[str, Any] | None) -> None:
    if extra is not None and not (isinstance(extra, Mapping) and all(isinstance(name, str) for name in extra)):
        raise QVecError(f"training arguments: expected a mapping of names to values, found {extra!r}")
    for name, value in (extra or {}).items():
        if name in settings and value == settings[name]:
            continue
        if name in BY_RECIPE:
            raise QVecError(
                f"training arguments: {name}={value!r} contradicts the recipe; set the recipe's {BY_RECIPE[name]}"
            )
        if name in FIXED or (name in FOREIGN and value not in (None, False, "no")):
            raise QVecError(
                f"training arguments: {name}={value!r} is not for a donor, whose recipe tells how it was trained; "
                "leave it out"
            )


def warn_of_endless_warmup(recipe: TrainingRecipe, images: int) -> None:
    """Say it when the run ends before its learning rate is reached."""
    steps = int(-(-images // recipe.batch_size) * recipe.epochs)
    if steps <= recipe.warmup_steps:
        warnings.warn(
            f"the run has {steps} optimizer steps but warms up for {recipe.warmup_steps}: the learning rate "
            f"{recipe.learning_rate:g} is never reached; train for more epochs or lower warmup_steps",
            stacklevel=3,
        )


def last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end: the Trainer writes the state file last."""
    numbered = [(int(path.name.rpartition("-")[2]), path) for path in folder.glob("checkpoint-*[0-9]")]
    for _, path in sorted(numbered, reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text())
        except (OSError, ValueError):
            continue
        return str(path)
    return None
