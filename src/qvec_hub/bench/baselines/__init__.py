"""Calibrated baselines: what somebody can do who has images of the receiver's task. One file a method.

Importing this room registers them; imports `rounding`.
"""

from . import gptq, awq  # noqa: F401  # isort: skip
