"""The similarity of tasks under a base; recorded with rows to tell near transfers from far ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ..backbone.checkpoint import load_classifier
from ..backbone.processor import load_processor
from ..evaluation.images import PreprocessedImages, preprocess
from .model_store import Library
from .splits import load_task_split
from .suite import Suite

__all__ = ["Similarity", "prototypes", "task_similarity"]

BATCH = 250
Similarity = dict[str, dict[str, float]]  # task -> task -> -1 … 1


def task_similarity(suite: Suite, library: Library, base: str, done: Callable[[str], None]) -> Similarity:
    """Measure the similarity of every pair of a suite's tasks, from -1 to 1.

    A class's prototype is the mean embedding of its validation images under the pretrained base, minus the mean of
    all tasks' prototypes. Two tasks' similarity is the mean, over the classes of both, of the largest cosine with a
    prototype of the other task: 1 for a task with itself.

    Args:
        done: called with each task's name once its images have been embedded.
    """
    source = library.base(base)
    model = load_classifier(source, head_required=False).eval()
    processor = load_processor(source)
    found = {}
    for task in suite.tasks:
        images = preprocess(load_task_split(task, "validation", suite.images), processor)
        found[task.name] = prototypes(model.base_model, images)
        done(task.name)
    return _compare(found)


@torch.inference_mode()
def prototypes(backbone: torch.nn.Module, images: PreprocessedImages) -> Tensor:
    """Mean class-token embedding of each class that has images: ``(classes, hidden)``."""
    parts = images.pixel_values.split(BATCH)
    embedded = torch.cat([backbone(pixel_values=pixels).last_hidden_state[:, 0] for pixels in parts])
    return torch.stack([embedded[images.labels == label].mean(dim=0) for label in images.labels.unique()])


def _compare(found: Mapping[str, Tensor]) -> Similarity:
    centre = torch.stack([each.mean(dim=0) for each in found.values()]).mean(dim=0)
    units = {name: F.normalize(each - centre, dim=1) for name, each in found.items()}  # (classes, hidden)

    def likeness(one: Tensor, other: Tensor) -> float:
        cosines = one @ other.T
        best = torch.cat([cosines.amax(dim=1), cosines.amax(dim=0)])
        return round(float(best.mean()), 4)

    return {name: {other: likeness(one, two) for other, two in units.items()} for name, one in units.items()}
