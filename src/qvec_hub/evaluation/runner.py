"""Evaluate an image classification model, with exact counts on one or several processes, on CPU or GPU."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset, DatasetDict
from torch import Tensor, nn

from ..apply.criterion import SINGLE_LABEL, problem_of
from ..backbone.class_token import only_class_token
from ..backbone.processor import load_processor, require_processor
from ..data.classes import class_names, class_order, model_ids, model_names
from ..data.images import check_images, load_split
from ..errors import DataError, QVecError
from ..loading.from_pretrained import from_pretrained
from ..results.counts import EvalResult, library_versions
from ..util.progress import counting
from .images import ImageBatches, PreprocessedImages, image_backend, rows_to_take
from .tally import ImageClassificationMetric, refuse_nan

__all__ = ["count_correct", "device_name", "evaluate", "forward", "labels_for", "predict", "resolve_model"]

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
    other = _resolve_reference(reference, model)
    where = {"config": config, "revision": revision, "token": token}
    with accelerator.main_process_first():  # the other processes then find the dataset in the cache
        images, split = _images(dataset, split, image_column, label_column, where)
    rows = rows_to_take(len(images), limit)
    refuse_other_heads(model)
    labels = labels_for(images, model)[rows]
    order = _reference_order(other, model) if isinstance(other, nn.Module) else None
    known = _check_predictions(other, len(rows)) if isinstance(other, Tensor) else None
    models = [model, other] if isinstance(other, nn.Module) else [model]
    batches = ImageBatches(images, rows, _processor(images, processor, model), _mode(model))
    target = accelerator.device if device is None else _device(device)
    metric = ImageClassificationMetric()
    start = time.perf_counter()
    show = progress and accelerator.is_main_process
    with ready(models, target), counting("evaluating", len(rows), show) as advance:
        for positions, logits in _logits(models, batches, batch_size, num_workers, accelerator):
            agreeing = None if known is None else known[positions]
            if len(logits) == 2:
                agreeing = logits[1].argmax(dim=1)
                agreeing = agreeing if order is None else order[agreeing]
            metric.add_batch(predictions=logits[0], references=labels[positions], reference_predictions=agreeing)
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
    target = accelerator.device if device is None else _device(device)
    found = torch.full((len(rows),), -1)
    with ready([model], target):
        for positions, (logits,) in _logits([model], batches, batch_size, num_workers, accelerator):
            found[positions] = logits.argmax(dim=1)
    return found


@contextmanager
def ready(models: Sequence[nn.Module], device: torch.device) -> Iterator[None]:
    """Put models into evaluation mode on a device; restore each one's mode and device afterwards."""
    modes = [(module, module.training) for model in models for module in model.modules()]
    homes = [_home(model) for model in models]
    try:
        for model, home in zip(models, homes, strict=True):
            model.eval()
            if home is not None and home != device:
                model.to(device)
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for model, home in zip(models, homes, strict=True):
            if home is not None and home != device:
                model.to(home)


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


def forward(model: nn.Module, pixels: Tensor) -> Tensor:
    """Compute logits ``(n, classes)`` on the model's device and in its dtype."""
    first = next((tensor for tensor in model.parameters() if tensor.is_floating_point()), pixels)
    pixels = pixels.to(device=first.device, dtype=first.dtype)
    try:
        logits = getattr(model(pixel_values=pixels), "logits", None)
    except (ValueError, TypeError) as error:
        raise QVecError(
            f"model {type(model).__name__}: expected to take pixel_values of shape {tuple(pixels.shape)}, found "
            f"{type(error).__name__}: {error}; pass the image processor the model was trained with"
        ) from error
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise QVecError(
            f"model {type(model).__name__}: expected logits (n, classes), found none; "
            "pass an image classification model, such as ViTForImageClassification"
        )
    return logits


def _resolve_reference(reference: Any, model: nn.Module) -> nn.Module | Tensor | None:
    if reference is None or isinstance(reference, Tensor):
        return reference
    other = resolve_model(reference)
    classes = [getattr(getattr(each, "config", None), "num_labels", None) for each in (model, other)]
    if None not in classes and classes[0] != classes[1]:
        raise DataError(
            f"reference: expected the {classes[0]} classes of the model, found {classes[1]}; "
            "pass a model of the same task"
        )
    return other


def _reference_order(reference: nn.Module, model: nn.Module) -> Tensor | None:
    """For each output of the reference model, the model's id of that class; None if the ids agree."""
    theirs: Any = getattr(reference, "config", None)
    ours: Any = getattr(model, "config", None)
    if getattr(theirs, "num_labels", None) is None or getattr(ours, "num_labels", None) is None:
        return None
    try:
        names = model_names(theirs.id2label, theirs.num_labels, theirs.label2id)
        order = class_order(names, ours.num_labels, ours.id2label, ours.label2id)
    except DataError as error:
        raise DataError(f"reference: expected a model of the same classes; {error}") from error
    return None if order is None else torch.as_tensor(order)


def _images(
    dataset: Images, split: str | None, image_column: str | None, label_column: str | None, where: dict[str, Any]
) -> tuple[Dataset | PreprocessedImages, str | None]:
    if isinstance(dataset, PreprocessedImages):
        return dataset, dataset.split
    loaded, taken = load_split(dataset, split, "test", image_column, label_column, **where)
    # A dataset object is a single split; its own name is all that is known.
    return loaded, taken if not isinstance(dataset, Dataset) else str(dataset.split) if dataset.split else None


def refuse_other_heads(model: nn.Module) -> None:
    """Raise DataError unless the model's head chooses one class an image: other heads have no top-1."""
    config = getattr(model, "config", None)
    problem = problem_of(config)
    if problem != SINGLE_LABEL:
        raise DataError(
            f"model {type(model).__name__}: expected a head that chooses one class an image, found one for {problem} "
            f"with {getattr(config, 'num_labels', None)} labels, whose largest logit is not an answer; evaluate it "
            "with a metric of that problem"
        )


def labels_for(images: Dataset | PreprocessedImages, model: nn.Module) -> Tensor:
    """Labels int64 ``(n,)``, as ids of the model's head."""
    if isinstance(images, PreprocessedImages):
        labels, names = images.labels, images.names
    else:
        labels = torch.as_tensor(np.asarray(images.with_format("numpy")["label"][:]))
        names = class_names(images)
    config = getattr(model, "config", None)
    num_labels = getattr(config, "num_labels", None)
    if num_labels is None:
        return labels
    said = (getattr(config, "id2label", None), getattr(config, "label2id", None))
    return torch.as_tensor(model_ids(labels.numpy(), names, num_labels, *said))


def _check_predictions(predictions: Tensor, n: int) -> Tensor:
    if predictions.shape != (n,) or predictions.is_floating_point():
        raise DataError(
            f"reference: expected {n} predicted label ids, one an image, found {tuple(predictions.shape)} "
            f"{predictions.dtype}; predict on the same dataset with the same limit"
        )
    return predictions.cpu()


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


def _home(model: nn.Module) -> torch.device | None:
    """The model's device; None if it is spread over several and must not be moved."""
    places = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    return next(iter(places)) if len(places) == 1 else None


def _device(name: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without that kind
        raise QVecError(f"device: expected one of this machine, found {str(name)!r}: {error}") from error


def device_name(device: torch.device) -> str:
    """Name of a device in rows and results; for a GPU its model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


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


def resolve_model(model: Any, **how: Any) -> nn.Module:
    """The model itself, or the one at a folder or Hub id, loaded by `qvec_hub.from_pretrained` with `how`.

    Raises:
        QVecError: when it is neither, or cannot be loaded.
    """
    if isinstance(model, nn.Module):
        return model
    if isinstance(model, (str, Path)):
        return from_pretrained(model, **how)
    raise QVecError(f"model: expected a model, or a folder or Hub id of one, found {type(model).__name__}")
