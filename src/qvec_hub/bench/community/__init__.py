"""Rows on the Hub: submitted to a results repository or to a vector's own card, and gathered from all of these."""
