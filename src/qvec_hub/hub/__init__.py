"""Vectors on the Hub: cards, publishing, search."""

from .card import vector_card, write_card
from .model_card import model_card
from .publish import push_model, push_vector

__all__ = ["model_card", "push_model", "push_vector", "vector_card", "write_card"]
