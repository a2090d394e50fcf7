"""Lies and oddities in the safetensors files, most with a config that was made to agree."""

from __future__ import annotations

import random
import struct
from typing import Any

from qvec_hub.artifact.config import INDEX_FILE, LINEAGE_FILE

from .artifacts import Files, Header, json_of, opened, pack, rename, seal, tensor_names, tensors, unpack
from .mutators import LOADED, REFUSED, mutator


def shard(files: Files, rng: random.Random) -> str:
    return rng.choice(tensor_names(files))


def a_tensor(header: Header, rng: random.Random) -> str:
    return rng.choice(tensors(header))


def add(files: Files, file: str, name: str, entry: Any, body: bytes = b"") -> None:
    """A tensor more, wherever it has to be named."""
    header, old = unpack(files[file])
    entry = {**entry, "data_offsets": [len(old), len(old) + len(body)]}
    files[file] = pack({**header, name: entry}, old + body)
    if INDEX_FILE in files:
        with json_of(files, INDEX_FILE) as index:
            index["weight_map"][name] = file


@mutator(REFUSED, times=18)
def lie_about_the_header_length(files: Files, rng: random.Random) -> None:
    name = rng.choice([*tensor_names(files), *({LINEAGE_FILE} & files.keys())])
    header, body = unpack(files[name])
    size = len(files[name])
    lengths = [
        0,
        1,
        2,
        size - 8,
        size,
        10**8,
        10**8 + 1,
        2**31,
        2**32,
        2**63 - 1,
        2**63,
        2**64 - 1,
        rng.randrange(size),
    ]
    files[name] = pack(header, body, length=rng.choice(lengths))


@mutator(REFUSED, times=18)
def a_header_that_is_none(files: Files, rng: random.Random) -> None:
    name = shard(files, rng)
    body = unpack(files[name])[1]
    headers = [
        b"{}",
        b"[]",
        b'"x"',
        b"3",
        b"null",
        b"{" * 5000,
        b'{"a":' * 20_000,
        b"\xff\xfe",
        b"\x80\x04K\x00.",
        b"  ",
    ]
    headers += [b'{"__metadata__": {}}', b'{"a": null}', b'{"a": []}', b'{"a": {}}', b'{"a": {"dtype": "F32"}}']
    files[name] = pack(rng.choice(headers), body)


@mutator(REFUSED, times=12)
def a_tensor_named_twice(files: Files, rng: random.Random) -> None:
    with opened(files, name := shard(files, rng)) as (header, _):
        twice = a_tensor(header, rng)
        header["TWICE"] = header[rng.choice([twice, a_tensor(header, rng)])]
    files[name] = files[name].replace(b'"TWICE"', f'"{twice}"'.encode())
    length = files[name].index(b"}}") + 2 - 8
    files[name] = struct.pack("<Q", length) + files[name][8:]


@mutator(REFUSED, times=36)
def offsets_that_are_wrong(files: Files, rng: random.Random) -> None:
    with opened(files, shard(files, rng)) as (header, body):
        entry = header[a_tensor(header, rng)]
        start, end = entry["data_offsets"]
        entry["data_offsets"] = rng.choice(
            [
                [start + 4, end + 4], [start - 4, end - 4], [start, end + 4], [start, end - 4], [end, start], [-4, end],
                [start, 2**63], [start, 2**64], [2**64 - 4, end], [start], [], [start, end, end], [str(start), end],
                [float(start), float(end)], None, {}, [start + len(body), end + len(body)], [10**30, 10**30 + 4],
            ]
        )  # fmt: skip


@mutator(REFUSED, times=12)
def offsets_of_another_tensor(files: Files, rng: random.Random) -> None:
    with opened(files, shard(files, rng)) as (header, _):
        one, other = rng.choices(tensors(header), k=2)
        header[one]["data_offsets"] = list(header[other]["data_offsets"])
        if one == other:
            header[one]["data_offsets"][1] += 1


@mutator(REFUSED, times=22)
def a_shape_beyond_the_file(files: Files, rng: random.Random) -> None:
    with opened(files, shard(files, rng)) as (header, _):
        shapes: list[Any] = [
            [2**40, 2**40],
            [2**63],
            [2**64],
            [2**32, 2**32],
            [10**12],
            [-1],
            [-2, -2],
            [1.5],
            ["3"],
            None,
        ]
        shapes += [[], 7, [[1]], [2**31 - 1, 2**31 - 1, 4], [10**400], [True], "32"]
        header[a_tensor(header, rng)]["shape"] = rng.choice(shapes)


@mutator(REFUSED, times=18, sealed=True)
def a_tensor_of_no_numbers(files: Files, rng: random.Random) -> None:
    shape = rng.choice([[0], [0, 2**63], [2**62, 0, 2**62], [3, 0], [2**63 - 1, 2**63 - 1, 0], [0] * 40])
    add(files, shard(files, rng), "encoder.extra.bias", {"dtype": "F32", "shape": shape})
    seal(files)


@mutator(REFUSED, times=10, sealed=True)
def a_shape_of_many_dimensions(files: Files, rng: random.Random) -> None:
    with opened(files, shard(files, rng)) as (header, _):
        header[a_tensor(header, rng)]["shape"] += [1] * rng.choice([9, 70, 2000, 10_000])
    seal(files)


@mutator(REFUSED, times=18, sealed=True)
def another_dtype(files: Files, rng: random.Random) -> None:
    with opened(files, shard(files, rng)) as (header, _):
        entry = header[a_tensor(header, rng)]
        dtype, factor = rng.choice(
            [("I32", 1), ("U32", 1), ("F16", 2), ("BF16", 2), ("U8", 4), ("F8_E4M3", 4), ("F4", 8), ("BOOL", 4)]
        )
        entry |= {"dtype": dtype, "shape": [*entry["shape"], factor]}
    seal(files)


@mutator(REFUSED, times=10)
def a_dtype_that_is_none(files: Files, rng: random.Random) -> None:
    with opened(files, shard(files, rng)) as (header, _):
        header[a_tensor(header, rng)]["dtype"] = rng.choice(
            ["\x1b[31m", "f32", "", None, 3, "O", "x" * 100_000, ["F32"]]
        )


@mutator(REFUSED, times=12)
def metadata_that_is_none(files: Files, rng: random.Random) -> None:
    with opened(files, name := shard(files, rng)) as (header, _):
        header["__metadata__"] = rng.choice([3, [], "x", {"a": 1}, {"a": {"b": "c"}}, {"a": None}, "DEEP"])
    text, body = files[name][8:].split(b"}}", 1)
    files[name] = pack((text + b"}}").replace(b'"DEEP"', b'{"a":' * 5000 + b"1" + b"}" * 5000), body)


@mutator(LOADED)
def other_metadata(files: Files, rng: random.Random) -> None:
    with opened(files, shard(files, rng)) as (header, _):
        header["__metadata__"] = rng.choice([{}, {"format": "tf"}, {"a": "b" * 100_000}, {"../x": "/etc/passwd"}])


@mutator(REFUSED)
def a_header_without_end(files: Files, rng: random.Random) -> None:
    header, body = unpack(files[name := shard(files, rng)])
    files[name] = pack(pack(header, b"")[8:] + b" " * (3 << 20), body)


@mutator(LOADED, times=8)
def a_padded_header(files: Files, rng: random.Random) -> None:
    header, body = unpack(files[name := shard(files, rng)])
    files[name] = pack(pack(header, b"")[8:] + b" " * rng.randint(0, 5000), body)


ODD_NAMES = [
    "..", "../../x", "/etc/passwd", "a\x00b", "", "a b", "\x1b[2J", "слой.вес", "a..b", ".a", "a.", "a/b", "a\\b",
    "x" * 201, "x" * 1_000_000, "a\nb", "\u202ea", "-a", "__metadata__.x\t", "%s", "a:b",
]  # fmt: skip


@mutator(REFUSED, times=22, sealed=True)
def a_name_that_is_none(files: Files, rng: random.Random) -> None:
    name = shard(files, rng)
    rename(files, name, a_tensor(unpack(files[name])[0], rng), rng.choice(ODD_NAMES))
    seal(files)


@mutator(REFUSED, times=10, sealed=True)
def the_name_of_a_head(files: Files, rng: random.Random) -> None:
    name = shard(files, rng)
    heads = ["classifier.weight", "head.bias", "vit.classifier.dense.weight", "fc_norm.weight", "cls_classifier.bias"]
    rename(files, name, a_tensor(unpack(files[name])[0], rng), rng.choice(heads))
    seal(files)


@mutator(LOADED, times=8, sealed=True)
def a_name_of_another_model(files: Files, rng: random.Random) -> None:
    """Whether it fits is for the receiver to say."""
    name = shard(files, rng)
    rename(files, name, a_tensor(unpack(files[name])[0], rng), rng.choice(["blocks.0.attn.qkv.weight", "x", "A-b_c.0"]))
    seal(files)


@mutator(REFUSED, times=18, sealed=True)
def a_number_that_is_not_finite(files: Files, rng: random.Random) -> None:
    with opened(files, shard(files, rng)) as (_, body):
        value = rng.choice([b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f", b"\x00\x00\x80\xff", b"\x01\x00\x80\x7f"])
        at = 4 * rng.randrange(len(body) // 4)
        body[at : at + 4] = value
    seal(files)


@mutator(LOADED, times=8, sealed=True)
def other_numbers(files: Files, rng: random.Random) -> None:
    """Even the largest: their squares overflow float32."""
    with opened(files, shard(files, rng)) as (_, body):
        at = 4 * rng.randrange(len(body) // 4)
        body[at : at + 4] = struct.pack("<f", rng.choice([3e38, -3e38, 1e-45, 0.0, -0.0, 1.0]))
    seal(files)


@mutator(REFUSED, times=12)
def a_tensor_more(files: Files, rng: random.Random) -> None:
    add(files, shard(files, rng), "encoder.extra.bias", {"dtype": "F32", "shape": [4]}, bytes(16))


@mutator(LOADED, sealed=True)
def a_tensor_more_and_a_config_that_says_so(files: Files, rng: random.Random) -> None:
    add(files, shard(files, rng), "encoder.extra.bias", {"dtype": "F32", "shape": [4]}, rng.randbytes(3) + bytes(13))
    seal(files)


@mutator(REFUSED, times=12, needs=INDEX_FILE)
def an_index_entry_of_another_name(files: Files, rng: random.Random) -> None:
    with opened(files, shard(files, rng)) as (header, _):
        old = a_tensor(header, rng)
        header[f"{old}2"] = header.pop(old)
