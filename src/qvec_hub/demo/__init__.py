"""The whole method on one machine in a few minutes, without a download: what ``qvec demo`` runs."""

from .report import draw, table
from .run import ROWS_FILE, DemoSettings, remove_demo, run_demo

__all__ = ["ROWS_FILE", "DemoSettings", "draw", "remove_demo", "run_demo", "table"]
