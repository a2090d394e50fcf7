"""Damage that knows nothing of formats: bits flipped, bytes lost and added, in every file."""

from __future__ import annotations

import random

from qvec_hub.artifact.config import CONFIG_FILE, INDEX_FILE, LINEAGE_FILE

from .artifacts import Files, pack, tensor_names, unpack
from .mutators import EITHER, REFUSED, mutator


def flip(data: bytes, rng: random.Random, count: int = 1) -> bytes:
    changed = bytearray(data)
    for _ in range(count):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def a_file(files: Files, rng: random.Random) -> str:
    """Any file that belongs to the format."""
    return rng.choice(sorted(files))


@mutator(EITHER, times=36)
def flip_bits_of_the_config(files: Files, rng: random.Random) -> None:
    files[CONFIG_FILE] = flip(files[CONFIG_FILE], rng, rng.randint(1, 3))


@mutator(EITHER, times=22, needs=INDEX_FILE)
def flip_bits_of_the_index(files: Files, rng: random.Random) -> None:
    files[INDEX_FILE] = flip(files[INDEX_FILE], rng, rng.randint(1, 3))


@mutator(EITHER, times=36)
def flip_bits_of_a_header(files: Files, rng: random.Random) -> None:
    name = rng.choice(tensor_names(files))
    start = 8 + int.from_bytes(files[name][:8], "little")
    files[name] = flip(files[name][:start], rng, rng.randint(1, 3)) + files[name][start:]


@mutator(REFUSED, times=36)
def flip_a_bit_of_a_tensor(files: Files, rng: random.Random) -> None:
    name = rng.choice(tensor_names(files))
    header, body = unpack(files[name])
    files[name] = pack(header, flip(body, rng))


@mutator(EITHER, times=18, needs=LINEAGE_FILE)
def flip_bits_of_the_lineage(files: Files, rng: random.Random) -> None:
    files[LINEAGE_FILE] = flip(files[LINEAGE_FILE], rng, rng.randint(1, 8))


@mutator(REFUSED, times=18)
def cut_a_file_short(files: Files, rng: random.Random) -> None:
    name = a_file(files, rng)
    files[name] = files[name][: rng.randrange(len(files[name].rstrip()))]


@mutator(REFUSED, times=12)
def cut_the_front_off(files: Files, rng: random.Random) -> None:
    name = a_file(files, rng)
    files[name] = files[name][rng.randint(1, len(files[name]) - 1) :]


@mutator(REFUSED, times=12)
def append_bytes(files: Files, rng: random.Random) -> None:
    name = a_file(files, rng)
    files[name] += b"x" + rng.randbytes(rng.randint(0, 50))


@mutator(EITHER, times=18)
def insert_bytes(files: Files, rng: random.Random) -> None:
    name = a_file(files, rng)
    at = rng.randrange(len(files[name]))
    files[name] = files[name][:at] + rng.randbytes(rng.randint(1, 8)) + files[name][at:]


@mutator(EITHER, times=18)
def lose_bytes(files: Files, rng: random.Random) -> None:
    name = a_file(files, rng)
    at = rng.randrange(len(files[name]))
    files[name] = files[name][:at] + files[name][at + rng.randint(1, 8) :]


@mutator(EITHER, times=18)
def repeat_a_stretch(files: Files, rng: random.Random) -> None:
    name = a_file(files, rng)
    start, end = sorted(rng.randrange(len(files[name])) for _ in range(2))
    files[name] = files[name][:end] + files[name][start:end] + files[name][end:]


@mutator(REFUSED, times=12)
def noise_instead_of_a_file(files: Files, rng: random.Random) -> None:
    files[a_file(files, rng)] = rng.randbytes(rng.choice([1, 7, 8, 9, 100, 5000]))


@mutator(REFUSED)
def one_file_in_the_place_of_another(files: Files, rng: random.Random) -> None:
    one, other = rng.sample(sorted(files), 2)
    files[one], files[other] = files[other], files[one]


@mutator(REFUSED, times=8)
def zeros_over_a_stretch_of_a_tensor(files: Files, rng: random.Random) -> None:
    name = rng.choice(tensor_names(files))
    header, body = unpack(files[name])
    start = rng.randrange(len(body) - 8)
    files[name] = pack(header, body[:start] + bytes(8) + body[start + 8 :])
