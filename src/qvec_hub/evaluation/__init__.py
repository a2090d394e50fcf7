"""How good is a model on a dataset, in exact counts."""

from ..results.counts import EvalResult
from .images import PreprocessedImages, image_backend, load_processor, preprocess
from .runner import count_correct, evaluate, predict
from .tally import ImageClassificationMetric

__all__ = [
    "EvalResult",
    "ImageClassificationMetric",
    "PreprocessedImages",
    "count_correct",
    "evaluate",
    "image_backend",
    "load_processor",
    "predict",
    "preprocess",
]
