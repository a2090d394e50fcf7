"""What was counted: exact counts, benchmark rows, and the evidence that rows give about a vector.

Imports `grid` and `util`, so that cards and the benchmark can both stand on it.
"""
