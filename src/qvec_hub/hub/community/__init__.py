"""Rows on the Hub: sending them to a results repository or to a vector's own card, and gathering everybody's."""

from .gather import Gathered, Rejection, Source, gather
from .layout import TAG
from .own_card import submit_results
from .submit import row_files, submit

__all__ = ["TAG", "Gathered", "Rejection", "Source", "gather", "row_files", "submit", "submit_results"]
