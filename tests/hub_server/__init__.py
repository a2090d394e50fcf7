"""A Hugging Face Hub on loopback: the real protocol over HTTP, state on disk, and faults on demand."""

from .faults import Fault, Record
from .server import HubServer

__all__ = ["Fault", "HubServer", "Record"]
