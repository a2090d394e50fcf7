"""Validation by pydantic, told in the words of this package: the key, what was expected, what was found.

The annotated fields of a dataclass say what a file may hold, and pydantic checks it. Here stands what pydantic does
not bring: messages of one form, keys that must be written out although they have defaults, keys that only warn.
"""

from __future__ import annotations

import copy
import functools
import json
import operator
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, NamedTuple, NoReturn, TypeVar, get_args

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, StrictFloat, TypeAdapter, ValidationError, model_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from ..errors import QVecError
from .untrusted import printable

__all__ = [
    "Finding",
    "Finite",
    "Kind",
    "Rule",
    "Stored",
    "findings",
    "raising",
    "refuse",
    "refuse_missing",
    "validated",
]

T = TypeVar("T")
Loc = tuple[str | int, ...]  # the way to a value: keys of objects, places in lists

Finite = Annotated[StrictFloat, Field(allow_inf_nan=False)]  # a number in a file: no text, no boolean, no NaN
UNKNOWN = "unexpected_keyword_argument"  # pydantic's name for a key that a dataclass has no field for
WORDS = {  # pydantic's names of errors -> what is expected, where its own message speaks of Python
    "dataclass_type": "an object",
    "dict_type": "an object",
    "list_type": "a list",
    "tuple_type": "a list",
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a number",
}


@dataclass(frozen=True)
class Rule:
    """Annotates a type with a condition on its values (but None).

    Attributes:
        wanted: follows "expected" in messages, which add that null will do where the type allows None.
        accepts: gets a value of the type; any truthy result accepts it.
    """

    wanted: str
    accepts: Callable[[Any], Any] = lambda value: True

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        about = self._about(source)

        def check(value: Any) -> Any:
            if value is not None and not self.accepts(value):
                raise PydanticCustomError("rule", "rule", about)
            return value

        return core_schema.no_info_after_validator_function(check, handler(source))

    def _about(self, source: Any) -> dict[str, Any]:
        return {"wanted": f"{self.wanted}, or null" if type(None) in get_args(source) else self.wanted}


class Kind(Rule):
    """A rule that also names the type: messages about a value of another type say the same."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema, about = super().__get_pydantic_core_schema__(source, handler), self._about(source)
        return core_schema.custom_error_schema(schema, "kind", custom_error_message="kind", custom_error_context=about)


class Stored:
    """Base of dataclasses that files hold: validated from an object, every key must be there, defaults or not.

    The constructor of a plain dataclass checks nothing, that of a pydantic dataclass lets defaults stand in.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    LEFT_OUT: ClassVar[Collection[str]] = ()  # keys that may be missing

    def __init_subclass__(cls) -> None:  # pydantic takes no validators from a plain base class
        cls._every_key = model_validator(mode="before")(classmethod(_every_key))  # type: ignore


def _every_key(cls: Any, values: Any) -> Any:
    if isinstance(values, dict):
        refuse_missing(values, [field.name for field in fields(cls)], cls.LEFT_OUT)
    return values


def refuse_missing(values: dict[Any, Any], names: Sequence[str], left_out: Collection[str] = ()) -> None:
    """In a validator, refuse an object that lacks one of the keys `names`, but for those that may be left out.

    Raises:
        PydanticCustomError: which pydantic makes a part of its `ValidationError`.
    """
    missing = [name for name in names if name not in values and name not in left_out]
    if missing:
        raise PydanticCustomError("missing_keys", "missing", {"names": names, "missing": missing})


def refuse(key: str, wanted: str, value: Any, why: str = "") -> NoReturn:
    """In a validator, refuse the value of an object's key; the key ``""`` stands for the object itself.

    Args:
        wanted: what is expected.
        why: more about the reason, as another error told it.

    Raises:
        PydanticCustomError: which pydantic makes a part of its `ValidationError`.
    """
    raise PydanticCustomError("refused", "refused", {"key": key, "wanted": wanted, "value": value, "why": why})


class Finding(NamedTuple):
    """What is wrong with a value.

    loc: the way to it.
    said: such as ``expected a string, found 5``.
    missing: where keys are missing, the paths of all that the object lacks; `loc` is then the first one's.
    """

    loc: Loc
    said: str
    missing: Sequence[str] = ()

    def __str__(self) -> str:
        return f"{_path(self.loc)}: {self.said}" if self.loc else self.said


def findings(error: ValidationError) -> list[Finding]:
    """What pydantic found, in its order."""
    return [_finding(found["loc"], found["type"], found["msg"], found) for found in error.errors(include_url=False)]


def _finding(loc: Loc, kind: str, message: str, found: Any) -> Finding:
    about = found.get("ctx", {})
    if "missing" in about:
        missing = [_path((*loc, name)) for name in about["missing"]]
        said = f"expected the keys {', '.join(about['names'])}, found none of {', '.join(missing)}"
        return Finding((*loc, about["missing"][0]), said, missing)
    wanted = about.get("wanted") or WORDS.get(kind) or message.partition("Input should be ")[2]
    if not wanted:
        said = "expected this key, found none" if kind == "missing" else message.removeprefix("Value error, ")
        return Finding(loc, said)
    why = f" ({about['why']})" if about.get("why") else ""
    said = f"expected {wanted}, found {_shown(about.get('value', found['input']))}{why}"
    return Finding((*loc, about["key"]) if about.get("key") else loc, said)


def _path(loc: Loc) -> str:
    """The way to a value as text: ``sources[0].revision``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def _shown(value: Any) -> str:
    try:
        return printable(json.dumps(value, default=repr), 60)
    except (TypeError, ValueError, RecursionError):  # keys that are no text, an integer of thousands of digits
        return f"a {type(value).__name__} that JSON cannot hold"


_adapter: Any = functools.cache(TypeAdapter)


def validated(cls: type[T], values: Any) -> tuple[T, list[str]]:
    """A dataclass built from parsed JSON, and the paths of the keys that it has no field for, the outermost first.

    Raises:
        ValidationError: when more is wrong than unknown keys.
    """
    try:
        return _adapter(cls).validate_python(values), []
    except ValidationError as error:
        unknown: list[Loc] = [found["loc"] for found in error.errors(include_url=False) if found["type"] == UNKNOWN]
        if len(unknown) < error.error_count():
            raise
    known = copy.deepcopy(values)
    for *parents, key in unknown:
        del functools.reduce(operator.getitem, parents, known)[key]
    unknown.sort(key=lambda loc: (len(loc), _path(loc)))
    return _adapter(cls).validate_python(known), [_path(loc) for loc in unknown]


def raising(error_type: type[QVecError]) -> Callable[[type[T]], type[T]]:
    """Decorate a pydantic dataclass: its constructor raises `error_type` with the first finding as the message."""

    def change(cls: type[T]) -> type[T]:
        construct: Any = cls.__init__

        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            try:
                construct(self, *args, **kwargs)
            except ValidationError as error:
                raise error_type(str(findings(error)[0])) from None

        cls.__init__ = functools.wraps(construct)(init)  # type: ignore[method-assign]
        return cls

    return change
