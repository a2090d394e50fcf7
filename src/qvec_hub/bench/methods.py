"""What a suite's or a row's `method` may be: what the benchmark always has, and what the registries hold.

A rounding that needs images gives two methods: under its own name with images of the receiver's task (calibrated), and
with ``proxy_`` before it with proxy images. Where a calibrated baseline has the same name, the name means the baseline.
"""

from __future__ import annotations

from ..rounding.registry import ROUNDINGS
from . import baselines  # noqa: F401  # registers them
from .baselines.registry import BASELINES

__all__ = ["ALWAYS", "calibrated", "known_method", "label", "proxied"]

ALWAYS = ("fp", "ptq", "own_qat", "qvec")
PROXY = "proxy_"


def calibrated() -> tuple[str, ...]:
    """Methods that need images of the receiver's task."""
    return tuple(dict.fromkeys([*BASELINES.names(), *_with_images()]))


def proxied(method: str) -> str | None:
    """The rounding that a method does with proxy images; None for a method that needs none."""
    return method.removeprefix(PROXY) if method.startswith(PROXY) else None


def known_method(method: str) -> str:
    """The method itself.

    Raises:
        ValueError: when there is none of that name.
    """
    names = (*ALWAYS, *calibrated(), *(PROXY + name for name in _with_images()))
    if method not in names:
        raise ValueError(f"expected one of {', '.join(names)}, found {method!r}")
    return method


def label(method: str) -> str:
    """A rounding or calibrated method for people, such as ``"GPTQ"`` or ``"fitted on proxy images"``."""
    name = proxied(method) or method
    shown = BASELINES.get(name).label if name in BASELINES else name
    return f"{shown} on proxy images" if proxied(method) else f"{shown} (receiver's images)"


def _with_images() -> list[str]:
    return [rounding.name for rounding in ROUNDINGS if rounding.needs_images]
