"""Reads mutated artifacts in a child process, with bounds on time, memory and reach, and reports what came of each.

The child is a fork: it starts in no time, and whatever a mutation does to it (a crash, a hang, all memory) is seen
from outside. A mutator that takes longer than `SECONDS` is a hang; the watchdog works even where Python does not.
"""

from __future__ import annotations

import contextlib
import copy
import faulthandler
import gc
import hashlib
import json
import math
import os
import pickle
import random
import re
import resource
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import torch

import qvec_hub as qv
from qvec_hub.artifact.config import VectorConfig

from . import artifacts
from .artifacts import Files
from .mutators import EITHER, LOADED, MUTATORS, REFUSED, Mutator

SECONDS = 60  # for the few dozen mutations of one mutator; one takes milliseconds
MEGABYTES = 200  # beyond what the process held before
MAX_MESSAGE = 3000
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def run(original: Files, seed: str, work: Path) -> dict[str, dict[str, Any]]:
    """Every applicable mutator on one artifact: name -> how often it was refused and loaded, and what went wrong.

    Args:
        original: the valid artifact.
        seed: names the artifact; mutation i of mutator m is drawn from ``"seed m i"``.
        work: an empty folder for the child's files.
    """
    report, log = work / "report.json", work / "log.txt"
    child = os.fork()
    if child == 0:
        code = 1
        gc.freeze()  # what was there before the fork needs no more looking through
        try:
            report.write_text(json.dumps(_all(original, seed, work, log)))
            code = 0
        except BaseException:
            with log.open("a") as file:
                traceback.print_exc(file=file)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child ended with status {status} in: {log.read_text()[-3000:]}"
    found: dict[str, dict[str, Any]] = json.loads(report.read_text())
    return found


def applicable(files: Files) -> list[Mutator]:
    return [mutator for mutator in MUTATORS.values() if mutator.needs in files]


def _all(original: Files, seed: str, work: Path, log: Path) -> dict[str, dict[str, Any]]:
    outside = _surroundings(work)
    before = _listing(outside), _listing(Path(huggingface_hub.constants.HF_HOME))
    opened = _watch_pickles()
    _bound_memory()
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = {}
    with log.open("w") as file:
        for mutator in applicable(original):
            file.seek(0)
            file.truncate()
            file.write(f"{seed} {mutator.name}\n")
            file.flush()
            report[mutator.name] = _many(mutator, original, seed, work, outside, file)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) / 1024
    assert grown < MEGABYTES, f"memory grew by {grown:.0f} MB"
    assert not opened, f"pickles were opened: {opened}"
    assert (_listing(outside), _listing(Path(huggingface_hub.constants.HF_HOME))) == before, "something was written"
    return report


def _many(mutator: Mutator, original: Files, seed: str, work: Path, outside: Path, log: Any) -> dict[str, Any]:
    counts: dict[str, Any] = {REFUSED: 0, LOADED: 0, "wrong": []}
    faulthandler.dump_traceback_later(SECONDS, exit=True, file=log)
    for i in range(mutator.times):
        files = copy.copy(original)
        mutator.change(files, random.Random(f"{seed} {mutator.name} {i}"))
        artifacts.write(files, work / "vector", outside)
        names = sorted(os.listdir(work / "vector"))  # noqa: PTH208
        try:
            verdict = _read(work / "vector", mutator, original)
            counts[verdict] += 1
            if mutator.verdict not in (EITHER, verdict):
                counts["wrong"].append(f"mutation {i} was {verdict}")
        except BaseException:
            counts["wrong"].append(f"mutation {i}: {traceback.format_exc()[-1500:]}")
        if sorted(os.listdir(work / "vector")) != names:  # noqa: PTH208
            counts["wrong"].append(f"mutation {i}: reading changed the folder")
    return counts


def _read(folder: Path, mutator: Mutator, original: Files) -> str:
    """Load and check one mutated artifact; any exception but a `QVecError` passes through."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            vector = qv.QuantizationVector.from_pretrained(folder)
        except qv.QVecError as error:
            _check_text(str(error))
            return REFUSED
    assert all(warning.category is UserWarning for warning in warned), [str(w.message) for w in warned]
    for warning in warned:
        _check_text(str(warning.message))
    assert warned or not mutator.warns
    _check_vector(vector)
    if not mutator.sealed:
        assert vector.config.tensors.sha256 == json.loads(original[artifacts.CONFIG_FILE])["tensors"]["sha256"]
    return LOADED


def _check_vector(vector: qv.QuantizationVector) -> None:
    """All tensors finite and the ones the hash means, the config sane, everything printable."""
    tensors = {name: vector[name] for name in sorted(vector)}
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == vector.shapes()
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    values = torch.cat([tensor.reshape(-1) for tensor in tensors.values()])
    assert bool(torch.isfinite(values).all())
    config = vector.config
    assert hashlib.sha256(values.numpy().tobytes()).hexdigest() == config.tensors.sha256
    assert (len(tensors), len(values)) == (config.tensors.count, config.tensors.parameters)
    assert math.isclose(float(values.double().norm()), config.tensors.norm, rel_tol=1e-2)
    for name in tensors:
        _check_text(name)
    assert math.isfinite(config.scale)
    assert all(math.isfinite(source.weight) for source in config.sources)
    assert VectorConfig.from_dict(json.loads(config.to_json())) == config
    _check_text(repr(vector))
    json.dumps(vector.provenance(), allow_nan=False)
    for name, sample in (vector.lineage or {}).items():
        assert name in vector
        assert tuple(sample.shape) == (64,)
        assert bool(torch.isfinite(sample).all())


def _check_text(text: str) -> None:
    assert text
    assert len(text) <= MAX_MESSAGE, f"a message of {len(text)} characters: {text[:200]!r}"
    assert not _UNSAFE.search(text), f"a message with control characters: {text[:500]!r}"


def _surroundings(work: Path) -> Path:
    """A folder beside the artifact with things that links may lead to."""
    outside = work / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("a secret")
    (outside / "model.safetensors").write_bytes(artifacts.pack({"secret": 1}, b""))
    os.mkfifo(outside / "pipe")
    artifacts.write({"socket": artifacts.Special("socket")}, outside / "bound", outside)
    (outside / "bound" / "socket").rename(outside / "socket")
    (outside / "loop").symlink_to("loop")
    return outside


def _listing(folder: Path) -> dict[str, tuple[int, ...]]:
    """Everything under a folder but the marks of checked files, with size and times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        if path.parts[-2:] != ("qvec_hub", "verified") and "verified" not in path.parts and path.name != "qvec_hub":
            found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns)
    return found


def _watch_pickles() -> list[str]:
    """From now on every loader of pickles raises, and the list tells which was called."""
    opened: list[str] = []

    def forbidden(name: str) -> Any:
        def load(*args: Any, **kwargs: Any) -> Any:
            opened.append(name)
            raise AssertionError(f"{name} was called")

        return load

    for module, name in [(pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")]:
        setattr(module, name, forbidden(f"{module.__name__}.{name}"))
    return opened


def _bound_memory() -> None:
    """Let the address space grow by a little only, where the system tells how large it is."""
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + 3 * MEGABYTES * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def wrong(report: dict[str, dict[str, Any]]) -> Iterator[str]:
    """One line for each mutation that came to something else than it must."""
    for name, counts in report.items():
        yield from (f"{name}: {line}" for line in counts["wrong"])
