"""Evaluate an image classification model: the same exact counts on CPU, on a GPU, or on several processes."""

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
from ..data.classes import class_names, class_order, model_ids, model_names
from ..data.images import check_images, load_split
from ..errors import DataError, QVecError
from ..loading.from_pretrained import from_pretrained
from ..results.counts import EvalResult, library_versions
from ..util.progress import counting
from .images import ImageBatches, PreprocessedImages, image_backend, load_processor, rows_to_take
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
    """Top-1, top-5 and agreement with a reference model, as counts over a labeled split.

    Args:
        model: an image classification model, or a folder or Hub id of one. It is put into evaluation mode
            and on `device`, and afterwards back to how and where it was.
        dataset: a source as for `qvec_hub.data.images.load_images`, or images from `preprocess`.
        processor: turns PIL images into ``pixel_values``; by default the one saved with the model.
        reference: another model, which is shown the same pixels, or its predictions: label ids ``(n,)`` in
            the order of the rows evaluated, as `predict` returns them.
        split: by default ``test``, or the only split there is.
        image_column, label_column, config, revision, token: as for `qvec_hub.data.images.load_images`; the last
            two are the dataset's.
        limit: evaluate so many images, evenly spread over the split.
        device: by default the one accelerate chooses.
        num_workers: processes that decode images; 0 decodes in this one.
        progress: report on stderr.

    Raises:
        DataError: the dataset cannot be read, has no labels, or other classes than the model's head.
        QVecError: no image processor, images of another size than the model's, or NaN among the logits.
    """
    accelerator = Accelerator()
    model = resolve_model(model)
    other = _resolve_reference(reference, model)
    where = {"config": config, "revision": revision, "token": token}
    with accelerator.main_process_first():  # the others find the dataset in the cache
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
    """The predicted label ids, int64 ``(n,)`` on the CPU, in the dataset's order: a `reference` for `evaluate`.

    `dataset` comes from `qvec_hub.data.images.load_images` or from `preprocess`. Arguments and errors as in `evaluate`.
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
    """Models in evaluation mode on a device, and afterwards each back to how and where it was."""
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
    """For each batch, over all processes: positions ``(b,)`` and each model's float32 logits ``(b, classes)``, on CPU.

    Every process sees every image exactly once, also those accelerate repeats to fill the last batch.
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
    """Logits ``(n, classes)``, computed where the model is and in its dtype."""
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
    """The model's id of each output of a reference model; None where ids agree."""
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
    # A dataset object is one split by nature; what it calls itself is all there is to say.
    return loaded, taken if not isinstance(dataset, Dataset) else str(dataset.split) if dataset.split else None


def refuse_other_heads(model: nn.Module) -> None:
    """Raise DataError unless the model's head chooses one class for an image: nothing else has a top-1 to count."""
    config = getattr(model, "config", None)
    problem = problem_of(config)
    if problem != SINGLE_LABEL:
        raise DataError(
            f"model {type(model).__name__}: expected a head that chooses one class an image, found one for {problem} "
            f"with {getattr(config, 'num_labels', None)} labels, whose largest logit is not an answer; evaluate it "
            "with a metric of that problem"
        )


def labels_for(images: Dataset | PreprocessedImages, model: nn.Module) -> Tensor:
    """Labels ``(n,)`` as the model's head counts them."""
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
        return load_processor(model, processor)
    return processor


def _backend(batches: ImageBatches) -> str:
    images = batches.images
    return images.image_backend if isinstance(images, PreprocessedImages) else image_backend(batches.processor)


def _mode(model: nn.Module) -> str:
    return "L" if getattr(getattr(model, "config", None), "num_channels", 3) == 1 else "RGB"


def _home(model: nn.Module) -> torch.device | None:
    """Where a model is; None if it is spread over devices and must not be moved."""
    places = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    return next(iter(places)) if len(places) == 1 else None


def _device(name: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without that kind
        raise QVecError(f"device: expected one of this machine, found {str(name)!r}: {error}") from error


def device_name(device: torch.device) -> str:
    """What rows and results call a device: a GPU by its model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


@torch.inference_mode()
def count_correct(model: nn.Module, images: PreprocessedImages, batch_size: int = 250) -> int:
    """How many images a model in evaluation mode, where it is, gets right: `evaluate`'s top-1 count.

    Raises:
        DataError: the images have other classes than the model's head.
        QVecError: NaN among the logits, or images that the model does not take.
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
