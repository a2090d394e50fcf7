"""Optional dependencies: check them, and say how to install a missing one."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from ..errors import QVecError

__all__ = ["require_extra", "require_packages"]

EXTRAS = {"bench": ("matplotlib", "scipy", "skimage", "sklearn")}  # importable names, by extra


def require_extra(extra: str, what: str) -> None:
    """Check that the packages of an extra are installed, without importing them.

    Args:
        what: what needs them, such as ``"the benchmark"``.

    Raises:
        QVecError: when one is missing; the message says how to install it.
    """
    require_packages(EXTRAS[extra], extra, what)


def require_packages(names: Sequence[str], extra: str, what: str) -> None:
    """As `require_extra`, for packages that are some of an extra's.

    Args:
        names: importable names.

    Raises:
        QVecError: when one is missing.
    """
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise QVecError(
            f"{what} needs {', '.join(missing)}, which is not installed; "
            f"install it with: pip install 'qvec-hub[{extra}]'"
        )
