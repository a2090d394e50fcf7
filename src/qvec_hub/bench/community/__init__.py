"""Rows on the Hub: sending them to a results repository or to a vector's own card, and gathering everybody's."""
