"""The whole method on one machine in a few minutes, without a download: what ``qvec demo`` runs."""

from .report import draw, table
from .run import DemoSettings, Measurement, run_demo

__all__ = ["DemoSettings", "Measurement", "draw", "run_demo", "table"]
