"""The benchmark: what was counted, as rows, and what the rows say about a donor."""

from ..results.evidence import Evidence, Mean, Pair, evidence
from ..results.row import CONTROLS, SCALE_POLICIES, DonorUse, Row
from ..results.rows import append_row, read_all, read_rows, row_files

__all__ = [
    "CONTROLS",
    "SCALE_POLICIES",
    "DonorUse",
    "Evidence",
    "Mean",
    "Pair",
    "Row",
    "append_row",
    "evidence",
    "read_all",
    "read_rows",
    "row_files",
]
