"""Images that a command is given; no labels are needed."""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset, Image

from ..data.files import find_images, image_suffixes, left_out
from ..data.images import load_split
from ..errors import DataError
from ..util.foreign import foreign_errors

__all__ = ["image_dataset"]

SAVED = ("dataset_dict.json", "state.json")  # by the datasets library


def image_dataset(source: str) -> Dataset:
    """Open all images below a folder, or a dataset that `qvec_hub.data.images.load_images` takes.

    A dataset with several splits gives its ``train`` split.

    Raises:
        DataError: when it holds no image.
    """
    with foreign_errors(DataError, f"{source}: expected a folder of images or a dataset, found none that can be read"):
        folder = Path(source) if Path(source).is_dir() else Path(source).expanduser()
        is_folder = folder.is_dir()
    if not is_folder:
        return load_split(source, None, "train")[0]
    if any((folder / each).exists() for each in SAVED):
        return load_split(folder, None, "train")[0]
    files = [str(path) for path in find_images([folder], repr(source))[folder]]
    if not files and next(folder.rglob("*.parquet"), None) is not None:
        return load_split(folder, None, "train")[0]
    if not files:
        raise DataError(
            f"{source}: expected images ({', '.join(sorted(image_suffixes()))}) in this folder, found none"
            f"{left_out(folder, repr(source))}"
        )
    return Dataset.from_dict({"image": files, "label": [0] * len(files)}).cast_column("image", Image())
