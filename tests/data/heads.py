"""A dataset's labels as a model's head counts them."""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import Dataset

from qvec_hub.data.classes import class_names, model_ids


def head_ids(dataset: Dataset, num_labels: int, id2label: Any = None, label2id: Any = None) -> list[int]:
    labels = np.asarray(dataset.with_format("numpy")["label"][:])
    return model_ids(labels, class_names(dataset), num_labels, id2label, label2id).tolist()
