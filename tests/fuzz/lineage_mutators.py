"""Lies in the lineage sketch, which no hash covers."""

from __future__ import annotations

import random
import struct

from qvec_hub.artifact.config import LINEAGE_FILE

from .artifacts import Files, Special, opened, pack, tensor_names, tensors, unpack
from .mutators import LOADED, REFUSED, mutator


@mutator(LOADED, times=2, needs=LINEAGE_FILE)
def no_sketch(files: Files, rng: random.Random) -> None:
    del files[LINEAGE_FILE]


@mutator(LOADED, times=8, needs=LINEAGE_FILE)
def a_sketch_of_another_base(files: Files, rng: random.Random) -> None:
    """Whether the receiver descends from it is for the comparison to say."""
    with opened(files, LINEAGE_FILE) as (_, body):
        body[:] = struct.pack(f"<{len(body) // 4}f", *(rng.gauss(0, 1) for _ in range(len(body) // 4)))


@mutator(REFUSED, times=12, needs=LINEAGE_FILE)
def a_sketch_of_no_numbers(files: Files, rng: random.Random) -> None:
    """NaN, infinity, and numbers whose squares are infinite: comparing with them gives NaN, which is no verdict."""
    with opened(files, LINEAGE_FILE) as (_, body):
        at = 4 * rng.randrange(len(body) // 4)
        body[at : at + 4] = struct.pack("<f", rng.choice([float("nan"), float("inf"), -float("inf"), 3e38, -1e30]))


@mutator(REFUSED, times=12, needs=LINEAGE_FILE)
def a_sketch_of_another_shape(files: Files, rng: random.Random) -> None:
    with opened(files, LINEAGE_FILE) as (header, _):
        header[rng.choice(tensors(header))]["shape"] = rng.choice([[8, 8], [64, 1], [1, 64], [2, 32], [64, 1, 1]])


@mutator(REFUSED, needs=LINEAGE_FILE)
def a_sketch_of_another_length(files: Files, rng: random.Random) -> None:
    header, _ = unpack(files[LINEAGE_FILE])
    name = tensors(header)[-1]
    count = rng.choice([1, 63, 65, 10_000])
    header = {name: {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}
    files[LINEAGE_FILE] = pack(header, bytes(4 * count))


@mutator(REFUSED, needs=LINEAGE_FILE)
def a_sketch_of_another_dtype(files: Files, rng: random.Random) -> None:
    with opened(files, LINEAGE_FILE) as (header, _):
        header[rng.choice(tensors(header))]["dtype"] = rng.choice(["I32", "U32"])


@mutator(REFUSED, times=10, needs=LINEAGE_FILE)
def a_sketch_of_tensors_that_are_not_there(files: Files, rng: random.Random) -> None:
    with opened(files, LINEAGE_FILE) as (header, _):
        name = rng.choice(tensors(header))
        header[rng.choice(["classifier.weight", "encoder.layer.77.x", f"{name}2", "..", "\x1b[2J"])] = header.pop(name)


@mutator(REFUSED, times=2, needs=LINEAGE_FILE)
def the_vector_as_its_own_sketch(files: Files, rng: random.Random) -> None:
    files[LINEAGE_FILE] = files[rng.choice(tensor_names(files))]


@mutator(REFUSED, times=2, needs=LINEAGE_FILE)
def a_sketch_without_end(files: Files, rng: random.Random) -> None:
    files[LINEAGE_FILE] = Special("hole")
