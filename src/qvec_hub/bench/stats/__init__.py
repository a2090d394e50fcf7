"""Statistics of benchmark rows: transfers, their means with intervals, comparisons and permutation tests."""
