"""Registries: the variants of one thing (roundings, scale rules, merge methods, …), each entered by its own file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from ..errors import QVecError

__all__ = ["Registry", "Variant"]


class Variant(Protocol):
    """What every entry of a registry says of itself."""

    @property
    def name(self) -> str: ...

    @property
    def about(self) -> str:
        """One line, for ``--help``, cards and documentation."""
        ...


V = TypeVar("V", bound=Variant)


class Registry(Generic[V]):
    """Variants by name, in the order in which they were entered.

    Args:
        kind: what an entry is called in messages, such as ``"rounding"``.
        error: raised for a name that is not there.
    """

    def __init__(self, kind: str, error: type[QVecError] = QVecError) -> None:
        self.kind, self.error = kind, error
        self._variants: dict[str, V] = {}

    def add(self, variant: V) -> V:
        """Enter a variant.

        Raises:
            ValueError: when the name is taken; this is a programming error.
        """
        if variant.name in self._variants:
            raise ValueError(f"{self.kind} {variant.name!r} is registered already")
        self._variants[variant.name] = variant
        return variant

    def get(self, name: object) -> V:
        """The variant of a name.

        Raises:
            QVecError: (or the registry's own subclass) when there is none; the message lists those there are.
        """
        if not isinstance(name, str) or name not in self._variants:
            raise self.error(f"{self.kind}: expected one of {', '.join(map(repr, self._variants))}, found {name!r}")
        return self._variants[name]

    def remove(self, name: str) -> None:
        """Take a variant out again, as a test does with its own."""
        del self._variants[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._variants

    def __iter__(self) -> Iterator[V]:
        return iter(self._variants.values())

    def names(self) -> tuple[str, ...]:
        """All names, in the order in which the variants were entered."""
        return tuple(self._variants)
