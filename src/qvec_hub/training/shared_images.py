"""Training images for a vector to carry: few, small, evenly spread over the dataset, without labels."""

from __future__ import annotations

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from PIL import Image

from ..artifact.images import MAX_SHIPPED, MAX_SIDE
from ..data.images import read_images
from ..errors import QVecError

__all__ = ["shared_images"]


def shared_images(dataset: Dataset, count: int, size: int) -> NDArray[np.uint8]:
    """Take at most `count` images of a dataset and resize them to RGB, uint8 ``(n, size, size, 3)``.

    Args:
        count: from 1 to `MAX_SHIPPED`.
        size: height and width in pixels, from 1 to `MAX_SIDE`.

    Raises:
        DataError: when an image cannot be decoded.
        QVecError: when `count` or `size` is out of its range.
    """
    for name, value, most in (
        ("count of shared images", count, MAX_SHIPPED),
        ("size of shared images", size, MAX_SIDE),
    ):
        if type(value) is not int or not 1 <= value <= most:
            raise QVecError(f"{name}: expected an integer from 1 to {most}, found {value!r}")
    rows = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int)).tolist()
    shrunk = (image.resize((size, size), Image.Resampling.BICUBIC) for image in read_images(dataset, rows))
    return np.stack([np.asarray(image) for image in shrunk])
