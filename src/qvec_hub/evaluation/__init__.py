"""How good is a model on a dataset, in exact counts."""

from .images import PreprocessedImages, image_backend, load_processor, preprocess
from .local import count_correct
from .metric import ImageClassificationMetric
from .result import EvalResult
from .runner import evaluate, predict

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
