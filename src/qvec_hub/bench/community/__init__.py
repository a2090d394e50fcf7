"""Rows on the Hub: sending them to a results repository or to a vector's own card, and gathering everybody's."""

from .gather import Gathered, Source, gather
from .paths import TAG
from .read_rows import Rejection
from .submit import submit
from .submit_card import submit_results

__all__ = ["TAG", "Gathered", "Rejection", "Source", "gather", "submit", "submit_results"]
