"""Vectors on the Hub: cards, publishing, search."""

from .card import vector_card, write_card
from .listing import Listed
from .model_card import model_card
from .publish import push_model, push_vector
from .search import SearchResult, search

__all__ = [
    "Listed",
    "SearchResult",
    "model_card",
    "push_model",
    "push_vector",
    "search",
    "vector_card",
    "write_card",
]
