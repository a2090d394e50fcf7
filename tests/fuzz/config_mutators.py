"""Lies and oddities in ``qvec_config.json``."""

from __future__ import annotations

import json
import random
from typing import Any

from qvec_hub.artifact.config import CONFIG_FILE

from .artifacts import Files, json_of
from .mutators import LOADED, REFUSED, mutator

FREE = ("architecture", "recipe")  # objects whose keys are not the format's
NAMES = ["qvec_hub_version", "model_type", "donor.task", "donor.dataset", "encoding.name"]
REPOSITORIES = ["base_model", "donor.finetuned", "donor.qat"]
NUMBERS = ["format_version", "scale", "tensors.count", "tensors.parameters", "tensors.norm", "grid.bits"]
NUMBERS += ["architecture.hidden_size", "recipe.epochs"]


def at(values: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """The object that holds a dotted path's last key, and that key."""
    *parents, last = path.split(".")
    for parent in parents:
        values = values[parent]
    return values, last


def put(files: Files, path: str, value: Any) -> None:
    with json_of(files) as config:
        target, key = at(config, path)
        target[key] = value


def put_literal(files: Files, path: str, literal: str) -> None:
    """A value as JSON text that Python would not write."""
    put(files, path, "LITERAL")
    files[CONFIG_FILE] = files[CONFIG_FILE].replace(b'"LITERAL"', literal.encode())


def strict_objects(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Every object whose keys the format lists, but the grid's."""
    donor = config["donor"]
    return [
        config,
        config["base_model"],
        donor,
        donor["qat"],
        config["encoding"],
        config["tensors"],
        *config["sources"],
    ]


@mutator(REFUSED, times=18)
def delete_a_key(files: Files, rng: random.Random) -> None:
    with json_of(files) as config:
        target = rng.choice([*strict_objects(config), config["grid"]])
        del target[rng.choice(sorted(target))]


@mutator(REFUSED, times=18)
def write_a_key_twice(files: Files, rng: random.Random) -> None:
    with json_of(files) as config:
        target = rng.choice([*strict_objects(config), config["grid"], config["architecture"]])
        key = rng.choice(sorted(target))
        target["TWICE"] = target[key]
    files[CONFIG_FILE] = files[CONFIG_FILE].replace(b'"TWICE"', json.dumps(key).encode())


WRONG: dict[type, list[Any]] = {
    str: [5, 1.5, True, [], {}, ["x"]],
    int: ["1", True, None, [], {}, [1]],
    float: ["1.0", True, None, [], {}],
    bool: [1, "true", None, []],
    dict: [[], "x", 3, True],
    list: [{}, "x", 3, None],
    type(None): [5, True, [], {}],
}


@mutator(REFUSED, times=36)
def swap_a_type(files: Files, rng: random.Random) -> None:
    with json_of(files) as config:
        target = rng.choice([*strict_objects(config), config["grid"]])
        key = rng.choice(sorted(target))
        target[key] = rng.choice(WRONG[type(target[key])])


@mutator(REFUSED, times=36)
def a_number_that_is_none(files: Files, rng: random.Random) -> None:
    literals = ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 5000, "-" + "9" * 400, "1" * 30, "1" * 50_000]
    put_literal(files, rng.choice(NUMBERS), rng.choice(literals))


@mutator(REFUSED, times=12)
def a_negative_count(files: Files, rng: random.Random) -> None:
    put(files, rng.choice(["tensors.count", "tensors.parameters", "tensors.norm", "grid.bits"]), -rng.randint(1, 10**9))


@mutator(REFUSED, times=18)
def lie_about_the_content(files: Files, rng: random.Random) -> None:
    lies = [
        ("tensors.parameters", 10**12),
        ("tensors.parameters", 1),
        ("tensors.count", 0),
        ("tensors.count", 10**18),
        ("tensors.norm", 1e300),
        ("tensors.norm", 0),
        ("tensors.sha256", "0" * 64),
        ("tensors.sha256", rng.randbytes(32).hex()),
        ("tensors.sha256", rng.randbytes(31).hex()),
        ("tensors.sha256", ""),
        ("tensors.sha256", "../" * 22),
        ("tensors.sha256", rng.randbytes(32).hex() + "\n"),
    ]
    put(files, *rng.choice(lies))


@mutator(REFUSED, times=16)
def another_format_version(files: Files, rng: random.Random) -> None:
    put(files, "format_version", rng.choice([2, 99, 10**18, 0, -1, 1.0, 2.0, True, False, "1", "2", None, [1], {}]))


@mutator(REFUSED)
def another_encoding(files: Files, rng: random.Random) -> None:
    put(files, "encoding.name", rng.choice(["float16", "pickle", "", "FLOAT32", "float32 ", "float32/../x"]))


@mutator(REFUSED, times=22)
def a_grid_that_does_not_exist(files: Files, rng: random.Random) -> None:
    wrong = [
        {"bits": 10**9}, {"bits": 1}, {"bits": 0}, {"bits": 3.0}, {"granularity": "row"}, {"granularity": ["channel"]},
        {"granularity": {}}, {"range": "best"}, {"range": []}, {"range": {}}, {"range": "x" * 10_000},
        {"symmetric": 0}, {"group_size": 0}, {"group_size": 16}, {"granularity": "group", "group_size": 0},
        {"granularity": "group", "group_size": -1}, {"granularity": "group", "group_size": 10**18},
        {"granularity": "group", "group_size": 1.5}, {"granularity": "group"}, {"range": "hqq"}, {"colour": "blue"},
    ]  # fmt: skip
    with json_of(files) as config:
        config["grid"] |= rng.choice(wrong)


@mutator(LOADED)
def another_grid(files: Files, rng: random.Random) -> None:
    right = [{"bits": 8}, {"range": "mse"}, {"granularity": "group", "group_size": 7}, {"symmetric": False}]
    with json_of(files) as config:
        config["grid"] |= rng.choice(right)


@mutator(REFUSED, times=12)
def sizes_that_are_none(files: Files, rng: random.Random) -> None:
    wrong: list[Any] = ["32", "\u001b[2J", True, None, {}, {"a": 1}, [[1]], [None], ["x"], [1] * 1000]
    key = rng.choice(["hidden_size", "image_size", "colour"])
    put(files, f"architecture.{key}", rng.choice(wrong))


@mutator(REFUSED)
def sizes_of_another_model(files: Files, rng: random.Random) -> None:
    put(files, "architecture.image_size", rng.choice([10**9, -3, 0, 1.5, [224, 224], []]))


BAD_REPOSITORIES = [
    "../../etc/passwd", "/etc/passwd", "a/b/c", "plain", "https://example.org/x", "a b/c", "-a/b", "a/..", "a/.b",
    "org/", "", "/name", "C:\\x", "a/b@main", "a--b/c", "x" * 300 + "/y", "a/" + "y" * 300, "a/b.", "å/b",
    "a/b\x1b[2J", "a/b\n", "\u202ea/b", "~/x",
]  # fmt: skip


@mutator(REFUSED, times=22)
def a_repository_that_is_none(files: Files, rng: random.Random) -> None:
    put(files, f"{rng.choice(REPOSITORIES)}.repo_id", rng.choice(BAD_REPOSITORIES))


@mutator(REFUSED, times=16)
def a_revision_that_is_none(files: Files, rng: random.Random) -> None:
    wrong = ["../main", "a/../b", "-x", "a b", "", "x" * 300, "a..b", "~", "main\x1b[0m", "/main", "--upload-pack=x"]
    path = rng.choice([*(f"{where}.revision" for where in REPOSITORIES), "donor.dataset_revision"])
    put(files, path, rng.choice(wrong))


@mutator(LOADED, times=8)
def other_repositories(files: Files, rng: random.Random) -> None:
    where = rng.choice(REPOSITORIES)
    put(files, f"{where}.repo_id", rng.choice([None, "google/vit-base-patch16-224-in21k", "a/b", "A_b/c.d-e", "1/2"]))
    put(files, f"{where}.revision", rng.choice([None, "main", "refs/pr/3", "v1.0", "0" * 40, "feature/x+y"]))


@mutator(REFUSED, times=22)
def sources_that_are_none(files: Files, rng: random.Random) -> None:
    source: dict[str, Any] = {"repo_id": "org/name", "revision": None, "weight": 0.5}
    wrong: list[Any] = [
        {"subfolder": ".."}, {"subfolder": "a/../b"}, {"subfolder": "/a"}, {"subfolder": ""}, {"subfolder": "a//b"},
        {"subfolder": "C:\\x"}, {"subfolder": 3}, {"subfolder": "a\x07"}, {"subfolder": "x" * 500}, {"weight": None},
        {"weight": "1"}, {"weight": [1]}, {"repo_id": "../x"}, {"revision": 7},
    ]  # fmt: skip
    with json_of(files) as config:
        config["sources"] = [source, rng.choice([None, [], "x", 3, *({**source, **change} for change in wrong)])]


@mutator(LOADED, times=8)
def other_sources(files: Files, rng: random.Random) -> None:
    source = {"repo_id": rng.choice([None, "org/name"]), "revision": None, "weight": rng.uniform(-9, 9)}
    folder = rng.choice([{}, {"subfolder": None}, {"subfolder": "vectors/int3"}, {"subfolder": "with space"}])
    with json_of(files) as config:
        config["sources"] = [{**source, **folder}] * rng.randint(1, 20)


@mutator(LOADED)
def another_scale(files: Files, rng: random.Random) -> None:
    put(files, "scale", rng.choice([0, -3, 1e-300, 1e300, 10**18, 0.5]))


@mutator(LOADED, times=12, warns=True)
def an_unknown_key(files: Files, rng: random.Random) -> None:
    with json_of(files) as config:
        for i in range(rng.choice([1, 2, 300])):
            rng.choice(strict_objects(config))[f"colour{i}"] = rng.choice([None, 1, "blue", [], {"a": [1]}])


@mutator(LOADED)
def keys_in_another_order(files: Files, rng: random.Random) -> None:
    config = json.loads(files[CONFIG_FILE])
    keys = rng.sample(sorted(config), len(config))
    files[CONFIG_FILE] = json.dumps({key: config[key] for key in keys}, indent=rng.choice([None, 0, 7])).encode()
