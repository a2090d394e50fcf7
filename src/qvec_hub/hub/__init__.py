"""Vectors on the Hub: cards, publishing, search."""

from .cards.model_card import model_card
from .cards.vector_card import vector_card, write_card
from .publish.push import push_model, push_vector
from .search.listing import Listed
from .search.search import SearchResult, search

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
