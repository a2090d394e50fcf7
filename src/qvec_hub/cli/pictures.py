"""Pictures that a command is given, without asking for labels."""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset, Image

from ..data import load_images
from ..errors import DataError

__all__ = ["picture_dataset"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def picture_dataset(source: str) -> Dataset:
    """The pictures anywhere in a folder, or a dataset as `qvec_hub.data.load_images` knows them.

    Raises:
        DataError: none there.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir():
        return load_images(source)
    files = sorted(str(path) for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(f"{source}: expected pictures ({', '.join(SUFFIXES)}) in this folder, found none")
    return Dataset.from_dict({"image": files, "label": [0] * len(files)}).cast_column("image", Image())
