"""Model cards: text and front matter written from a config and from evidence, with hand-written parts kept.

Imports `artifact` and `results`; publishes nothing.
"""
