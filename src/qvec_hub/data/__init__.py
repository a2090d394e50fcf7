"""Image classification datasets from anywhere, brought to one shape: columns ``image`` and ``label``.

    test = load_images("tanganke/eurosat", split="test")
    splits = load_image_splits("photos/")               # train/cat/1.png, test/dog/7.png, ...
    test = check_classes(test, model.config.num_labels, model.config.id2label)

A *source* is a Hub dataset id (``org/name``), a folder of class folders (inside ``train``, ``test``, ... or
not), a parquet file or a folder of them, a folder written by ``save_to_disk``, ``zoo:NAME`` for a task that
comes with this package, or a `datasets.Dataset` or `datasets.DatasetDict`. Nothing is written beside a
user's files; what is read from the Hub or from parquet goes through the cache of the datasets library.
"""

from .classes import check_classes, check_range, class_names, class_order, model_ids, model_names
from .images import check_images, load_image_splits, load_images, load_split, read_images
from .sources import dataset_revision

__all__ = [
    "check_classes",
    "check_images",
    "check_range",
    "class_names",
    "class_order",
    "dataset_revision",
    "load_image_splits",
    "load_images",
    "load_split",
    "model_ids",
    "model_names",
    "read_images",
]
