"""Optional dependencies: check them, and say how to install a missing one."""

from __future__ import annotations

from importlib.util import find_spec

from ..errors import QVecError

__all__ = ["require_extra"]

EXTRAS = {"bench": ("matplotlib", "scipy", "skimage", "sklearn")}  # importable names, by extra


def require_extra(extra: str, what: str) -> None:
    """Check that the packages of an extra are installed, without importing them.

    Args:
        what: what needs them, such as ``"the benchmark"``.

    Raises:
        QVecError: when one is missing; the message says how to install it.
    """
    missing = [name for name in EXTRAS[extra] if find_spec(name) is None]
    if missing:
        raise QVecError(
            f"{what} needs {', '.join(missing)}, which is not installed; "
            f"install it with: pip install 'qvec-hub[{extra}]'"
        )
