"""Rows on the Hub: sending them to a results repository or to a vector's own card, and gathering everybody's."""

from .gather import Gathered, Rejection, Source, gather
from .layout import TAG
from .own_card import submit_results
from .submit import submit

__all__ = ["TAG", "Gathered", "Rejection", "Source", "gather", "submit", "submit_results"]
