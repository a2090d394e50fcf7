"""What rows say, with its uncertainty."""

from .bootstrap import Interval, mean_interval
from .compare import Comparison, compare
from .permutation import Association, gain_by_similarity, sign_flip
from .protocol import Protocol, group
from .splits import by_half, by_seed, by_similarity, median_similarity, similarity
from .summary import Accuracy, Summary, accuracy, against_scale, per_donor, per_receiver, summarise
from .transfer import Transfer, ceilings, transfers

__all__ = [
    "Accuracy",
    "Association",
    "Comparison",
    "Interval",
    "Protocol",
    "Summary",
    "Transfer",
    "accuracy",
    "against_scale",
    "by_half",
    "by_seed",
    "by_similarity",
    "ceilings",
    "compare",
    "gain_by_similarity",
    "group",
    "mean_interval",
    "median_similarity",
    "per_donor",
    "per_receiver",
    "sign_flip",
    "similarity",
    "summarise",
    "transfers",
]
