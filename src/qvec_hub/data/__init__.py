"""Load image classification datasets from any source into one form: columns ``image`` and ``label``.

A *source* is a Hub dataset id (``org/name``), a folder of class folders (inside ``train``, ``test``, … or not), a
parquet file or a folder of them, a folder written by ``save_to_disk``, ``zoo:NAME`` for a task of this package, or a
`datasets.Dataset` or `datasets.DatasetDict`. No file is written beside a user's files; data from the Hub or parquet are
cached by the datasets library.
"""
