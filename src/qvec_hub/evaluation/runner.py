"""Evaluate an image classification model, with exact counts on one or several processes, on CPU or GPU."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from accelerate import Accelerator
from datasets import Dataset, DatasetDict
from torch import Tensor, nn

from ..backbone.class_token import only_class_token
from ..backbone.processor import load_processor, require_processor
from ..data.images import check_images, load_split
from ..errors import QVecError
from ..results.counts import EvalResult, library_versions
from ..util.progress import counting
from .classes import Reference, labels_for, refuse_other_heads
from .images import ImageBatches, PreprocessedImages, image_backend, rows_to_take
from .models import device_called, device_name, forward, ready, resolve_model
from .tally import ImageClassificationMetric, refuse_nan

__all__ = ["count_correct", "evaluate", "predict"]

Images: TypeAlias = str | Path | Dataset | DatasetDict | PreprocessedImages


def evaluate(
    model: nn.Module | str | Path,
    dataset: Images,
    *,
    processor: Any = None,
    batch_size: int = 32,
    reference: nn.Module | str | Path | Tensor | None = None,
    split: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    limit: int | None = None,
    device: str | torch.device | None = None,
    num_workers: int = 0,
    progress: bool = True,
) -> EvalResult:
    """Count top-1, top-5 and agreement with a reference model over a labeled split.

    Args:
        model: an image classification model, or a folder or Hub id of one. It is put into evaluation mode and on
            `device`; afterwards mode and device are restored.
        dataset: a source that `qvec_hub.data.images.load_images` takes, or images from `preprocess`.
        processor: turns PIL images into ``pixel_values``; by default the one saved with the model.
        batch_size: images in a forward pass, 1 or more.
        reference: another model, which sees the same pixels, or its predictions as `predict` returns them: integer
            label ids ``(n,)`` in the order of the evaluated rows.
        split: the split to evaluate; by default ``test``, or the dataset's only split.
        image_column, label_column, config, revision, token: as for `qvec_hub.data.images.load_images`; the last
            two are the dataset's.
        limit: evaluate only this many images, evenly spread over the split.
        device: where to count; by default the device that accelerate chooses.
        num_workers: number of processes that decode images; 0 decodes in this process.
        progress: show progress on stderr.

    Raises:
        DataError: when the dataset cannot be read, has no labels, or has other classes than the model's head.
        QVecError: when there is no image processor, it makes images of a size that the model refuses, or logits are
            NaN.
    """
    accelerator = Accelerator()
    model = resolve_model(model)
    other = Reference(reference, model)
    where = {"config": config, "revision": revision, "token": token}
    with accelerator.main_process_first():  # the other processes then find the dataset in the cache
        images, split = _images(dataset, split, image_column, label_column, where)
    rows = rows_to_take(len(images), limit)
    refuse_other_heads(model)
    labels = labels_for(images, model)[rows]
    other.match(model, len(rows))
    models = [model, *other.models]
    batches = ImageBatches(images, rows, _processor(images, processor, model), _mode(model))
    target = accelerator.device if device is None else device_called(device)
    metric = ImageClassificationMetric()
    start = time.perf_counter()
    show = progress and accelerator.is_main_process
    with ready(models, target), counting("evaluating", len(rows), show) as advance:
        for positions, logits in _logits(models, batches, batch_size, num_workers, accelerator):
            theirs = other.predictions(positions, logits[1] if other.models else None)
            metric.add_batch(predictions=logits[0], references=labels[positions], reference_predictions=theirs)
            advance(len(positions))
    counts = metric.compute()
    if counts["n"] != len(rows):
        raise AssertionError(f"evaluate: counted {counts['n']} of {len(rows)} images")
    return EvalResult(
        **{name: counts[name] for name in ("n", "correct", "correct_top5", "agreed")},
        split=split,
        wall_s=time.perf_counter() - start,
        image_backend=_backend(batches),
        device=device_name(target),
        versions=library_versions(),
    )


def predict(
    model: nn.Module | str | Path,
    dataset: Dataset | PreprocessedImages,
    *,
    processor: Any = None,
    batch_size: int = 32,
    limit: int | None = None,
    device: str | torch.device | None = None,
    num_workers: int = 0,
) -> Tensor:
    """Predict label ids, int64 ``(n,)`` on the CPU, in the dataset's order; `evaluate` takes them as `reference`.

    `dataset` comes from `qvec_hub.data.images.load_images` or `preprocess`. Other arguments and errors as `evaluate`.
    """
    accelerator = Accelerator()
    model = resolve_model(model)
    refuse_other_heads(model)
    if not isinstance(dataset, PreprocessedImages):
        check_images(dataset)
    rows = rows_to_take(len(dataset), limit)
    batches = ImageBatches(dataset, rows, _processor(dataset, processor, model), _mode(model))
    target = accelerator.device if device is None else device_called(device)
    found = torch.full((len(rows),), -1)
    with ready([model], target):
        for positions, (logits,) in _logits([model], batches, batch_size, num_workers, accelerator):
            found[positions] = logits.argmax(dim=1)
    return found


@torch.inference_mode()
def _logits(
    models: Sequence[nn.Module],
    batches: ImageBatches,
    batch_size: int,
    num_workers: int,
    accelerator: Accelerator,
) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Yield for each batch, over all processes: positions ``(b,)`` and each model's float32 logits ``(b, classes)``.

    Both are on the CPU. Every process gets each image once: those that accelerate repeats to fill the last batch are
    removed.
    """
    if batch_size < 1:
        raise QVecError(f"batch_size: expected at least 1, found {batch_size}")
    loader = accelerator.prepare_data_loader(batches.loader(batch_size, num_workers), device_placement=False)
    for batch in loader:
        if "error" in batch:
            raise batch["error"]
        found = []
        for model in models:
            found.append(forward(model, batch["pixel_values"]).float().to(accelerator.device))
        positions, *logits = accelerator.gather_for_metrics((batch["position"].to(accelerator.device), *found))
        for each in logits:
            refuse_nan(each)  # here too, for models that are never scored: references, and `predict`
        yield positions.cpu(), [each.cpu() for each in logits]


def _images(
    dataset: Images, split: str | None, image_column: str | None, label_column: str | None, where: dict[str, Any]
) -> tuple[Dataset | PreprocessedImages, str | None]:
    if isinstance(dataset, PreprocessedImages):
        return dataset, dataset.split
    loaded, taken = load_split(dataset, split, "test", image_column, label_column, **where)
    # A dataset object is a single split; its own name is all that is known.
    return loaded, taken if not isinstance(dataset, Dataset) else str(dataset.split) if dataset.split else None


def _processor(images: Dataset | PreprocessedImages, processor: Any, model: nn.Module) -> Any:
    if isinstance(images, PreprocessedImages):
        return None
    if processor is None or isinstance(processor, (str, Path)):
        return require_processor(model) if processor is None else load_processor(processor)
    return processor


def _backend(batches: ImageBatches) -> str:
    images = batches.images
    return images.image_backend if isinstance(images, PreprocessedImages) else image_backend(batches.processor)


def _mode(model: nn.Module) -> str:
    return "L" if getattr(getattr(model, "config", None), "num_channels", 3) == 1 else "RGB"


@torch.inference_mode()
def count_correct(model: nn.Module, images: PreprocessedImages, batch_size: int = 250) -> int:
    """Count the images that a model in evaluation mode predicts right, on its device: the top-1 count of `evaluate`.

    Raises:
        DataError: when the images have other classes than the model's head.
        QVecError: when logits are NaN, or the model refuses the images.
    """
    refuse_other_heads(model)
    labels = labels_for(images, model)
    correct = torch.zeros((), dtype=torch.long)
    with only_class_token(model):
        for start in range(0, len(images), batch_size):
            logits = forward(model, images.pixel_values[start : start + batch_size]).float()
            refuse_nan(logits)
            correct += (logits.argmax(dim=1).cpu() == labels[start : start + batch_size]).sum()
    return int(correct)
