"""Finding vectors on the Hub: listing, ranking by evidence, and which base a receiver descends from.

Imports `hub.cards`, `hub.transfer` and `backbone`.
"""
