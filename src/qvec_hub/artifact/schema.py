"""Build dataclasses from parsed JSON and turn them back, with every key, type and value checked.

A field's type says what JSON it takes. Its metadata may add a `Rule`, ``field(metadata={"rule": REPO_ID})``, and
may make the key optional in the file, ``metadata={"optional": True}``: such a key is left out where the value is
the field's default.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable
from dataclasses import Field, fields, is_dataclass
from functools import cache
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from ..errors import ArtifactError, GridError
from ..grid.grid import Grid
from ..util.untrusted import printable

__all__ = ["COUNTABLE", "NAME", "REPO_ID", "REVISION", "SHA256", "SIZES", "SUBFOLDER", "Rule", "build", "to_json"]


class Rule(NamedTuple):
    """A condition on a field's value beyond its type; null is accepted if the type allows it."""

    wanted: str
    accepts: Callable[[Any], Any]


MAX_NAME = 300
_PART = r"\w(?:(?:\.-?|-\.?)?\w){0,95}"  # words joined by single dots and dashes
_REPO_ID = re.compile(rf"{_PART}/{_PART}", re.ASCII)
_REVISION = re.compile(r"\w(?!\S*\.\.)[\w./+-]{0,254}", re.ASCII)
_SUBFOLDER = re.compile(r"[^/\\:]+(/[^/\\:]+)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")

NAME = Rule(f"a name of at most {MAX_NAME} characters", lambda text: len(text) <= MAX_NAME)
REPO_ID = Rule("a Hub repo id such as 'org/name'", _REPO_ID.fullmatch)
REVISION = Rule("a commit, branch or tag", _REVISION.fullmatch)
SUBFOLDER = Rule(
    "a relative path without '..'",
    lambda path: len(path) <= MAX_NAME and _SUBFOLDER.fullmatch(path) and not {".", ".."}.intersection(path.split("/")),
)
SHA256 = Rule("64 hexadecimal digits", _SHA256.fullmatch)
COUNTABLE = Rule("a number that is not negative", lambda number: number >= 0)
SIZES = Rule(
    "at most 64 numbers or short lists of numbers",
    lambda sizes: len(sizes) <= 64 and all(_is_size(size) for size in sizes.values()),
)


def build(cls: Any, values: Any, where: str, prefix: str = "") -> Any:
    """Build a dataclass from parsed JSON; unknown keys only warn.

    Args:
        where: the file, for messages.
        prefix: the path of the object within it, ``""`` or ``"donor."``.

    Raises:
        ArtifactError: when a key is missing, mistyped or against its rule; the message names it.
    """
    if not isinstance(values, dict):
        raise ArtifactError(f"{where}: {prefix.rstrip('.')}: expected an object, found {_found(values)}")
    known = {f.name: f for f in fields(cls)}
    missing = [prefix + name for name, f in known.items() if name not in values and not _optional(f)]
    if missing:
        raise ArtifactError(f"{where}: missing {', '.join(missing)}; expected every key of the format")
    unknown = sorted(printable(prefix + name, 60) for name in values if name not in known)
    if unknown:
        more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
        warnings.warn(f"{where}: ignoring unknown keys {', '.join(unknown[:8])}{more}", stacklevel=4)
    hints = _hints(cls)
    checked = {name: _value(hints[name], values[name], where, prefix + name) for name in known if name in values}
    for name, value in checked.items():
        rule: Rule | None = known[name].metadata.get("rule")
        if rule is not None and value is not None and not rule.accepts(value):
            raise ArtifactError(f"{where}: {prefix}{name}: expected {rule.wanted}, found {_found(value)}")
    return cls(**checked)


def to_json(value: Any) -> Any:
    """Turn a dataclass, or a value of one, into JSON values; optional keys at their default are left out."""
    if is_dataclass(value):
        items = {f.name: (f, getattr(value, f.name)) for f in fields(value)}
        return {k: to_json(v) for k, (f, v) in items.items() if not (_optional(f) and v == f.default)}
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    return [to_json(item) for item in value] if isinstance(value, (list, tuple)) else value


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls)


def _optional(item: Field[Any]) -> bool:
    return bool(item.metadata.get("optional", False))


def _value(hint: Any, value: Any, where: str, name: str) -> Any:
    options = get_args(hint)
    if type(None) in options:
        if value is None:
            return None
        hint = next(option for option in options if option is not type(None))
        wanted = f"{_wanted(hint)} or null"
    else:
        wanted = _wanted(hint)
    if isinstance(value, bool) or not isinstance(value, _JSON_TYPES.get(get_origin(hint) or hint, dict)):
        raise ArtifactError(f"{where}: {name}: expected {wanted}, found {_found(value)}")
    if hint is Grid:
        return _grid(value, where, name)
    if is_dataclass(hint):
        return build(hint, value, where, f"{name}.")
    if get_origin(hint) is list:
        return [build(get_args(hint)[0], item, where, f"{name}[{i}].") for i, item in enumerate(value)]
    if hint is float:
        if not _finite(value):
            raise ArtifactError(f"{where}: {name}: expected a finite number, found {_found(value)}")
        return float(value)
    return value


def _grid(values: dict[str, Any], where: str, name: str) -> Grid:
    missing = [f"{name}.{f.name}" for f in fields(Grid) if f.name not in values]
    if missing:
        raise ArtifactError(f"{where}: missing {', '.join(missing)}; expected every key of the format")
    try:
        return Grid.from_dict(values)
    except GridError as error:
        raise ArtifactError(f"{where}: {error}") from error


# Anything not listed is a dataclass, so an object.
_JSON_TYPES: dict[Any, Any] = {str: str, int: int, float: (int, float), list: list}
_WANTED: dict[Any, str] = {str: "a string", int: "an integer", float: "a number", list: "a list"}


def _wanted(hint: Any) -> str:
    return _WANTED.get(get_origin(hint) or hint, "an object")


def _is_size(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= 64 and all(not isinstance(item, list) and _is_size(item) for item in value)
    return isinstance(value, (int, float)) and not isinstance(value, bool) and _finite(value)


def _finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer beyond any float
        return False


def _found(value: Any) -> str:
    return printable(json.dumps(value), 60)
