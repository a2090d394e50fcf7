"""One receiver's way: adding a vector, choosing the scale without receiver data, and finding codes.

Imports `vector`, `rounding`, `proxies` and `backbone`.
"""
