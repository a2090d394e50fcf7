"""Texts in ``qvec_config.json`` that are hostile whatever they mean: encodings, escapes, nesting, length."""

from __future__ import annotations

import json
import random

from qvec_hub.artifact.config import CONFIG_FILE, MAX_CONFIG_BYTES

from .artifacts import Files, json_of
from .config_mutators import NAMES, put, put_literal, strict_objects
from .mutators import LOADED, REFUSED, mutator

ESCAPES = [
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\r",
    "\x00",
    "\x08\x08",
    "\x7f",
    "\x9b31m",
    "\u202e",
    "\u2066",
    "\u2028",
    "\n",
]


@mutator(REFUSED, times=22)
def a_terminal_escape_in_a_name(files: Files, rng: random.Random) -> None:
    put(files, rng.choice([*NAMES, "recipe.name", "recipe.note"]), f"toys{rng.choice(ESCAPES)}toys")


@mutator(REFUSED, times=12)
def a_terminal_escape_in_a_key(files: Files, rng: random.Random) -> None:
    with json_of(files) as config:
        target = rng.choice([*strict_objects(config), config["grid"], config["recipe"], config["architecture"]])
        target[f"key{rng.choice(ESCAPES)}"] = 1


@mutator(REFUSED, times=12)
def half_a_surrogate_pair(files: Files, rng: random.Random) -> None:
    put_literal(files, rng.choice([*NAMES, "recipe.name"]), f'"\\ud{rng.choice("89abcdef")}00"')


@mutator(LOADED)
def any_script_in_a_name(files: Files, rng: random.Random) -> None:
    put(
        files,
        "donor.task",
        rng.choice(["花の分類", "ταξινόμηση", "पुष्प", "🌸 flowers", "a" * 300, "", "[red]x[/red]", "%s{}"]),
    )


@mutator(REFUSED, times=10)
def a_name_without_end(files: Files, rng: random.Random) -> None:
    put(files, rng.choice(NAMES), "x" * rng.choice([301, 10_000, 900_000]))


@mutator(LOADED)
def a_long_recipe(files: Files, rng: random.Random) -> None:
    put(files, "recipe.note", "x" * rng.choice([1000, 500_000]))


@mutator(LOADED)
def a_nested_recipe(files: Files, rng: random.Random) -> None:
    depth = rng.randint(1, 25)
    put_literal(files, "recipe.note", '{"a": [' * (depth // 2) + "1" + "]}" * (depth // 2))


@mutator(REFUSED, times=12)
def nesting_without_end(files: Files, rng: random.Random) -> None:
    depth = rng.choice([40, 300, 900, 990, 5000, 100_000])
    opening, closing = rng.choice([("[", "]"), ('{"a":', "}")])
    put_literal(files, rng.choice(["recipe.note", "scale", "colour"]), opening * depth + "1" + closing * depth)


@mutator(REFUSED, times=12)
def a_config_of_nothing_but_nesting(files: Files, rng: random.Random) -> None:
    files[CONFIG_FILE] = rng.choice([b"[", b'{"a":', b"[{", b"[]", b"{", b"[[],"]) * rng.choice([1, 1000, 150_000])


@mutator(REFUSED)
def a_config_without_end(files: Files, rng: random.Random) -> None:
    files[CONFIG_FILE] += b" " * (MAX_CONFIG_BYTES + rng.randint(0, 5 << 20))


@mutator(LOADED, times=1)
def many_small_things(files: Files, rng: random.Random) -> None:
    put(files, "recipe.note", [rng.choice([[], {}, 0, ""])] * 20_000)


@mutator(REFUSED, times=12)
def bytes_that_are_no_utf8(files: Files, rng: random.Random) -> None:
    at = rng.randrange(len(files[CONFIG_FILE]))
    bad = rng.choice([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"])
    files[CONFIG_FILE] = files[CONFIG_FILE][:at] + bad + files[CONFIG_FILE][at:]


@mutator(REFUSED)
def another_text_encoding(files: Files, rng: random.Random) -> None:
    encoding = rng.choice(["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-7"])
    files[CONFIG_FILE] = ("+" * (encoding == "utf-7") + files[CONFIG_FILE].decode()).encode(encoding)


@mutator(REFUSED, times=12)
def json_that_is_no_config(files: Files, rng: random.Random) -> None:
    files[CONFIG_FILE] = rng.choice(
        [b"null", b"[]", b"3", b'"x"', b"{}", b"true", b"NaN", b"-", b"\n", b"\x00", b"{'a': 1}", b'{"a": 1,}', b"//"]
    )


@mutator(REFUSED)
def two_configs_in_one(files: Files, rng: random.Random) -> None:
    files[CONFIG_FILE] += rng.choice([b"", b"\x00", b","]) + json.dumps({"format_version": 1}).encode()
