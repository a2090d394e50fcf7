"""The Trainer's settings for a recipe, and those a caller may add to it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from ..errors import QVecError
from .progress import on_terminal
from .recipes.training_recipe import TrainingRecipe

__all__ = ["training_arguments", "warn_of_endless_warmup"]

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
# Settings that would train other models than the recipe describes, or do what a donor's training does not.
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
