"""`QuantizationVector`: extraction, arithmetic, opening and saving, and merging of several vectors.

Imports `artifact`, `backbone`, `hub.transfer` and `hub.publish`.
"""
