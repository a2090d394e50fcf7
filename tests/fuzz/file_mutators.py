"""Files that are no files, files that lead elsewhere, files that should not be there, and indices that lie."""

from __future__ import annotations

import io
import json
import pickle
import random
from typing import Any

import torch

from qvec_hub.artifact.config import CONFIG_FILE, INDEX_FILE, LINEAGE_FILE, TENSOR_FILE

from .artifacts import Files, Link, Special, json_of, tensor_names
from .byte_mutators import a_file
from .mutators import LOADED, REFUSED, mutator


class Bomb:
    """Unpickling it would be seen: the harness records every call of a pickle loader."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("a pickle was opened",)


def pickles() -> list[bytes]:
    archive = io.BytesIO()
    torch.save({"encoder.layer.0.weight": torch.zeros(2)}, archive)
    return [pickle.dumps(Bomb(), protocol) for protocol in (0, 2, 4)] + [archive.getvalue()]


PLACES = [CONFIG_FILE, TENSOR_FILE, INDEX_FILE, LINEAGE_FILE]  # a special file is refused even where none is needed


def a_place(files: Files, rng: random.Random) -> str:
    """Any file that is read, whether this artifact has it or not; tensors and the sketch only where they are."""
    places = [name for name in PLACES if name in files or name not in (TENSOR_FILE, LINEAGE_FILE)]
    return rng.choice([*places, *tensor_names(files)])


@mutator(REFUSED, times=18)
def a_special_file(files: Files, rng: random.Random) -> None:
    files[a_place(files, rng)] = Special(rng.choice(["folder", "pipe", "socket", "hole"]))


@mutator(REFUSED, times=36)
def a_link_to_no_file(files: Files, rng: random.Random) -> None:
    targets = [
        "/dev/zero",
        "/dev/random",
        "/dev/null",
        "/dev/stdin",
        "/dev/tty",
        "/proc/self/environ",
        "/proc/kmsg",
        ".",
        "/",
    ]
    targets += ["{outside}", "{outside}/pipe", "{outside}/socket", "{outside}/loop", "{outside}/nothing", "x" * 300]
    name = a_place(files, rng)
    files[name] = Link(rng.choice([*targets, name]))


@mutator(REFUSED, times=8)
def a_link_to_a_foreign_file(files: Files, rng: random.Random) -> None:
    files[a_place(files, rng)] = Link(
        rng.choice(["{outside}/secret.txt", "{outside}/model.safetensors", "/etc/passwd"])
    )


@mutator(LOADED, times=8)
def a_link_to_the_right_file(files: Files, rng: random.Random) -> None:
    """Links are how the Hub's cache stores everything; where one leads decides nothing, what is there does."""
    name = a_file(files, rng)
    files["blob"] = files[name]
    files[name] = Link(rng.choice(["blob", "./blob", "../vector/blob"]))


@mutator(REFUSED)
def an_empty_file(files: Files, rng: random.Random) -> None:
    files[a_place(files, rng)] = b""


@mutator(REFUSED, times=10)
def a_pickle_named_like_a_file_of_ours(files: Files, rng: random.Random) -> None:
    files[a_place(files, rng)] = rng.choice(pickles())


@mutator(REFUSED, times=8)
def a_file_less(files: Files, rng: random.Random) -> None:
    del files[rng.choice([name for name in files if name != LINEAGE_FILE])]


@mutator(LOADED, times=12)
def files_beside_it(files: Files, rng: random.Random) -> None:
    extra: list[tuple[str, Any]] = [
        ("README.md", b"\x1b[2J"), ("pytorch_model.bin", rng.choice(pickles())), (".git", Special("folder")),
        ("README.md", Special("pipe")), ("model.safetensors", b"x"), ("adapter.pt", rng.choice(pickles())),
        ("README.md", Link("/dev/zero")), ("config.json", b"{"), ("qvec-00009-of-00009.safetensors", b"junk"),
        ("qvec_config.json.bak", b""), ("modeling_evil.py", b"raise SystemExit"), ("x.sock", Special("socket")),
    ]  # fmt: skip
    files.update(rng.sample(extra, rng.randint(1, 4)))


BAD_SHARDS: list[Any] = [
    "../vector/qvec.safetensors", "/etc/passwd", "..", "", "README.md", CONFIG_FILE, INDEX_FILE, LINEAGE_FILE,
    "qvec.safetensors/../x", "qvec-00001-of-00002.safetensors\n", "qvec-٠٠٠٠١-of-٠٠٠٠٢.safetensors", "QVEC.safetensors",
    "qvec-1-of-2.safetensors", "qvec.safetensors\x00", "model.pt", "x" * 10_000, 3, None, [], {}, True,
    ["qvec.safetensors"], "\x1b[2J", "qvec-99999-of-99999.safetensors", "./qvec.safetensors",
]  # fmt: skip


@mutator(REFUSED, times=30, needs=INDEX_FILE)
def an_index_that_names_other_files(files: Files, rng: random.Random) -> None:
    with json_of(files, INDEX_FILE) as index:
        names = sorted(index["weight_map"])
        for name in rng.sample(names, rng.choice([1, len(names)])):
            index["weight_map"][name] = rng.choice(BAD_SHARDS)


@mutator(REFUSED, times=12, needs=INDEX_FILE)
def an_index_that_names_other_tensors(files: Files, rng: random.Random) -> None:
    with json_of(files, INDEX_FILE) as index:
        weight_map = index["weight_map"]
        name, other = rng.sample(sorted(weight_map), 2)
        change = rng.randrange(4)
        if change == 0:
            del weight_map[name]
        elif change == 1:
            weight_map[rng.choice(["", "..", "x" * 100_000, "\x1b[2J", "encoder.new"])] = weight_map[name]
        elif change == 2:
            weight_map[f"{name}.2"] = weight_map.pop(name)
        elif weight_map[name] != weight_map[other]:
            weight_map[name], weight_map[other] = weight_map[other], weight_map[name]
        else:
            weight_map.clear()


@mutator(REFUSED, times=18)
def an_index_that_is_none(files: Files, rng: random.Random) -> None:
    """Also beside a single file, where there should be no index at all."""
    texts: list[Any] = [{}, [], None, {"weight_map": []}, {"weight_map": {}}, {"weight_map": 3}, {"weight_map": None}]
    raw = [b"[" * 100_000, b'{"weight_map": ' * 3000, b"\xff", b'{"weight_map": {"a": 1e999}}', b" " * (3 << 20)]
    raw += [b'{"weight_map": {"a": "qvec.safetensors", "a": "qvec.safetensors"}}', b'{"weight_map": {"a": NaN}}']
    files[INDEX_FILE] = rng.choice([*raw, *(json.dumps(text).encode() for text in texts)])


@mutator(LOADED, needs=INDEX_FILE)
def an_index_with_other_metadata(files: Files, rng: random.Random) -> None:
    with json_of(files, INDEX_FILE) as index:
        index["metadata"] = rng.choice([None, {}, {"total_size": -1}, [1, 2], "x" * 1000])
        index["colour"] = "blue"


@mutator(REFUSED, needs=INDEX_FILE)
def shards_under_each_others_names(files: Files, rng: random.Random) -> None:
    one, other = rng.sample(tensor_names(files), 2)
    files[one], files[other] = files[other], files[one]


@mutator(REFUSED, times=2, needs=INDEX_FILE)
def shards_without_their_index(files: Files, rng: random.Random) -> None:
    del files[INDEX_FILE]


@mutator(LOADED, times=2, needs=TENSOR_FILE)
def an_index_of_one_file(files: Files, rng: random.Random) -> None:
    header = json.loads(files[TENSOR_FILE][8 : 8 + int.from_bytes(files[TENSOR_FILE][:8], "little")])
    names = [name for name in header if name != "__metadata__"]
    files[INDEX_FILE] = json.dumps({"weight_map": dict.fromkeys(names, TENSOR_FILE)}).encode()
