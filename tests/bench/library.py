"""A library of models that were never trained: bases moved a little, so that a suite runs in seconds."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from transformers import ViTForImageClassification

from qvec_hub import QuantizationVector, zoo
from qvec_hub.bench.model_store import Library
from qvec_hub.bench.suite import Suite
from qvec_hub.zoo.base import base_processor

BASE = "base-xs"
TASKS = ["shapes", "counting", "textures"]
CONTROLS = ["random", "shuffle", "task_vector"]
MEASURE = [
    {"method": "fp"},
    {"method": "ptq", "grids": ["int2-channel-mse", "int3-channel-absmax"]},
    {"method": "own_qat"},
    {"method": "gptq"},
    {"method": "awq"},
    {"method": "qvec", "donors": "each", "scales": ["unit", "validation"], "controls": CONTROLS},
    {"method": "qvec", "donors": "others", "merge": "mean", "scales": [0.5, "recommended"], "controls": ["random"]},
]  # fmt: skip


def a_suite(**changes: object) -> Suite:
    values = {
        "name": "small",
        "version": "1",
        "about": "For tests.",
        "bases": [BASE],
        "tasks": TASKS,
        "images": {"train": 16, "validation": 10, "test": 25, "calibration": 16},
        "grids": ["int2-channel-mse"],
        "validation_scales": [0.5, 1.5],
        "measure": MEASURE,
    }
    return Suite.model_validate(values | changes)


def fill(library: Library, suite: Suite, seed: int = 0) -> None:
    """Write every receiver, twin and vector that a suite needs."""
    generator = torch.Generator().manual_seed(seed)
    for base in suite.bases:
        for task in suite.tasks:
            classes = zoo.get_task(task.name).classes
            start = ViTForImageClassification.from_pretrained(library.base(base), num_labels=len(classes))
            start.config.id2label = dict(enumerate(classes))
            torch.nn.init.normal_(start.classifier.weight, std=0.3, generator=generator)
            for run in suite.seeds:
                fp = _moved(start, 0.1, generator)
                _save(fp, library.fp(base, run, task.name))
                for grid in suite.grids:
                    qat = _moved(fp, 0.05, generator)
                    _save(qat, library.qat(base, run, task.name, grid))
                    vector = QuantizationVector.extract(
                        fp, qat, base=library.base(base), grid=grid, donor={"task": task.name}, scale=0.75
                    )
                    vector.save_pretrained(library.vector(base, run, task.name, grid))


def _moved(model: ViTForImageClassification, amount: float, generator: torch.Generator) -> ViTForImageClassification:
    moved = copy.deepcopy(model).eval()
    with torch.no_grad():
        for parameter in moved.parameters():
            spread = amount * float(parameter.abs().mean())
            parameter.add_(spread * torch.randn(parameter.shape, generator=generator))
    return moved


def _save(model: ViTForImageClassification, folder: Path) -> None:
    model.save_pretrained(folder)
    base_processor().save_pretrained(folder)
