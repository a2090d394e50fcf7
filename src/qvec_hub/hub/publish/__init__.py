"""Pushing a saved folder, a vector's or a model's, with its card in one commit.

Imports `hub.cards` and `hub.transfer`.
"""
