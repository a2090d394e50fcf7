"""What rows say, for people: tables, pictures and a page to look things up in."""

from .inputs import read_all
from .write import Report, write_report

__all__ = ["Report", "read_all", "write_report"]
