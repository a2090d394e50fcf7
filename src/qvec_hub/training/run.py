"""One training run on transformers' Trainer: the same data order for the same recipe, resumable."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from .arguments import training_arguments
from .job import Job
from .pixels import collate
from .progress import report_progress
from .recipes.registry import Loss

__all__ = ["Score", "evaluate", "rehearse", "train"]

_WRITER = "inline_container"  # in the messages of torch.save, which raises a RuntimeError when a disk is full


@dataclass(frozen=True)
class Score:
    """Top-1 as exact counts."""

    n: int
    correct: int

    @property
    def top1(self) -> float:
        """From 0 to 1."""
        return self.correct / self.n


def train(job: Job, model: PreTrainedModel, folder: Path, loss: Loss | None) -> None:
    """Train a model in place on a job's data; checkpoints go to `folder`, whose name is the run's.

    Args:
        loss: what to minimize; None for the model's own.

    Raises:
        ArtifactError: when a checkpoint cannot be written.
        QVecError: when settings do not go together, this machine cannot run them, or the loss left the numbers.
    """
    recipe = job.recipe
    args = training_arguments(recipe, folder, job.arguments)
    checkpoint = last_checkpoint(folder) if job.resume else None
    if checkpoint is not None:
        saved = type(model).from_pretrained(checkpoint, dtype=torch.float32)
        model.load_state_dict(saved.state_dict())
    trainer = DonorTrainer(loss, model, args, job.data["train"], job.callbacks)
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
            "finished stay. Make room, then continue with resume=True (--resume)"
        ) from error
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise QVecError(
                f"run '{folder.name}': expected finite weights after training, found NaN or infinity in '{name}'; "
                f"train with a lower learning rate than {recipe.learning_rate:g} or more warm-up"
            )


def rehearse(job: Job, model: PreTrainedModel, folder: Path, loss: Loss | None) -> None:
    """Take one optimizer step on a few images, with everything that `train` is given but the callers' callbacks.

    The model is not the same afterwards; `folder` may be written to.

    Raises:
        QVecError: when the training cannot begin.
    """
    args, data = training_arguments(job.recipe, folder, job.arguments), job.data["train"]
    for callback in job.callbacks if isinstance(job.callbacks, Sequence) else [job.callbacks]:
        kind = callback if isinstance(callback, type) else type(callback)
        if not issubclass(kind, TrainerCallback):
            raise QVecError(f"callbacks: expected a sequence of transformers.TrainerCallback, found {callback!r}")
    images = args.per_device_train_batch_size = 1
    images *= job.recipe.grad_accumulation * args.world_size * max(1, args.n_gpu)
    few = Subset(data, [row % len(data) for row in range(images)])
    try:
        for reporter in get_reporting_integration_callbacks(args.report_to):
            reporter()  # is there a library for it? Nobody wants a report of this step
        args.max_steps, args.learning_rate, args.warmup_steps = 1, 1e-6, 0
        args.report_to, args.disable_tqdm = [], True
        args.save_strategy, args.logging_strategy = SaveStrategy.NO, IntervalStrategy.NO
        trainer = DonorTrainer(loss, model, args, few)
        trainer.remove_callback(PrinterCallback)
        trainer.remove_callback(ProgressCallback)
        trainer.train()
    except QVecError as error:
        raise _as_raised(error) from error
    except Exception as error:  # no code of the caller's runs here, so it is the settings or this machine
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


class DonorTrainer(Trainer):
    """A Trainer that minimizes a recipe's loss, and resumes with the weights that its model holds already.

    The Trainer itself loads a checkpoint by run-time names and not strictly, while `save_pretrained` wrote it under
    the names of the Hub: the backbone would silently start again from the base.
    """

    def __init__(
        self, loss: Loss | None, model: PreTrainedModel, args: TrainingArguments, data: Any = None, callbacks: Any = ()
    ) -> None:
        super().__init__(model, args, collate, data, callbacks=list(callbacks))
        self.loss = loss
        if loss is not None:
            self.loss_is_scaled_for_ga = False  # a mean over the images of one part of a batch

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **options: Any) -> Any:
        """The loss of a part of a batch."""
        if self.loss is None:
            return super().compute_loss(model, inputs, *args, **options)
        return self.loss(inputs, model(**inputs))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        pass


def evaluate(job: Job, model: PreTrainedModel, folder: Path) -> Score:
    """Count top-1 on a job's validation split, of a model as it stands: a prepared one has rounded weights.

    Args:
        folder: where the Trainer may write.
    """
    trainer = DonorTrainer(None, model, training_arguments(job.recipe, folder, None))
    report_progress(trainer)
    output = trainer.predict(job.data["validation"])
    logits, labels = output.predictions, output.label_ids  # (images, classes), (images,)
    assert not isinstance(logits, tuple)
    assert labels is not None
    return Score(n=len(labels), correct=int((logits.argmax(axis=1) == labels).sum()))


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
