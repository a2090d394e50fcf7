"""What rows say, for people: tables, figures and a page to look things up in."""

from .write import Report, write_report

__all__ = ["Report", "write_report"]
