"""What a save leaves alone, what it replaces, and what is there when it fails at any of its steps."""

import ctypes
import errno
import json
import os
import shutil
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import qvec_hub as qv
from qvec_hub.artifact import folder as artifact_folder
from qvec_hub.loading.from_pretrained import save_model
from qvec_hub.util import scratch
from qvec_hub.util.atomic import new_folder, write_text
from qvec_hub.util.scratch import check_writable
from qvec_hub.util.written import Layout

IMAGES = np.full((4, 16, 16, 3), 7, dtype=np.uint8)
TENSORS, CONFIG = "qvec.safetensors", "qvec_config.json"
FOREIGN = {
    "models/run1/weights.pt": b"weights",
    "model_notes.md": b"notes",
    "model.onnx": b"onnx",
    "modeling_custom.py": b"code",
    "model_best.pt": b"best",
    "qvec-notes.txt": b"mine",
    ".git/HEAD": b"ref",
    "figures/a.png": b"png",
    "model.old": b"old",
}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fill(folder: Path, files: dict[str, bytes] = FOREIGN) -> dict[str, bytes]:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return files


def litter(*folders: Path) -> list[str]:
    return [path.name for folder in folders for path in folder.iterdir() if path.name.startswith(".qvec-")]


@pytest.fixture
def quantized(receiver_folder: Path):
    return qv.from_pretrained(receiver_folder, weights="int4")


@pytest.fixture
def savers(vector, quantized) -> dict[str, Callable[[Path, float], None]]:
    """Ways to save something that differs by a number, which `number` reads again."""

    def save_quantized(folder: Path, value: float) -> None:
        with torch.no_grad():
            quantized.classifier.bias.fill_(value)
        save_model(quantized, folder)

    return {"vector": lambda folder, value: (value * vector).save_pretrained(folder), "model": save_quantized}


def number(kind: str, folder: Path, vector) -> float:
    if kind == "model":
        return float(qv.from_pretrained(folder).classifier.bias.detach()[0])
    return round(qv.QuantizationVector.from_pretrained(folder).norm() / vector.norm(), 3)


# What stays


@pytest.mark.parametrize("kind", ["vector", "model"])
@pytest.mark.parametrize("flat", [True, False], ids=["files alone", "with folders"])
def test_files_of_others_stay(kind: str, flat: bool, savers, vector, tmp_path: Path) -> None:
    project = tmp_path / "project"
    given = fill(project, {name: content for name, content in FOREIGN.items() if not flat or "/" not in name})
    for value in (1.0, 2.0):
        savers[kind](project, value)
        assert number(kind, project, vector) == value
        assert {name: content for name, content in contents(project).items() if name in given} == given
    assert litter(project, tmp_path) == []


def test_an_older_saves_files_go_and_others_of_the_name_stay(vector, tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "v"
    monkeypatch.setattr("qvec_hub.artifact.config.MAX_SHARD_BYTES", 20_000)
    vector.with_images(IMAGES).save_pretrained(folder)
    assert len(list(folder.glob("qvec-*.safetensors"))) > 1
    monkeypatch.undo()
    (folder / "qvec-00009-of-00009.safetensors.bak").write_bytes(b"mine")
    plain = qv.QuantizationVector(vector.config, {name: vector[name] for name in vector})  # neither lineage nor images
    plain.save_pretrained(folder)
    kept = {TENSORS, CONFIG, "README.md", "qvec-00009-of-00009.safetensors.bak"}
    assert {path.name for path in folder.iterdir()} == kept


@pytest.mark.parametrize("name", ["images.png", "lineage.safetensors"])
def test_what_somebody_put_in_the_place_of_a_part_is_neither_removed_nor_read(name: str, vector, tmp_path) -> None:
    folder = tmp_path / "v"
    vector.with_images(IMAGES).save_pretrained(folder)
    (folder / name).write_bytes(b"something of mine")
    plain = qv.QuantizationVector(vector.config, {name: vector[name] for name in vector})
    for _ in range(2):
        plain.save_pretrained(folder)
        assert (folder / name).read_bytes() == b"something of mine"
    opened = qv.QuantizationVector.from_pretrained(folder)
    assert opened.images() is None
    assert opened.lineage is None


def test_a_folder_from_before_tensor_files_told_of_the_others(vector, tmp_path: Path) -> None:
    folder = tmp_path / "v"
    vector.with_images(IMAGES).save_pretrained(folder)
    save_file(load_file(folder / TENSORS), folder / TENSORS, metadata={"format": "pt"})
    opened = qv.QuantizationVector.from_pretrained(folder)
    assert opened.images() is not None
    assert opened.lineage is not None
    vector.save_pretrained(folder)  # nobody can tell whose images they are
    assert (folder / "images.png").exists()
    assert qv.QuantizationVector.from_pretrained(folder).images() is None


def test_what_would_be_lost_is_refused(vector, quantized, receiver_folder: Path, tmp_path: Path) -> None:
    images = tmp_path / "photos"
    fill(images, {"images.png": b"mine"})
    weights = tmp_path / "weights"
    fill(weights, {"model.safetensors": b"of another library"})
    settings = tmp_path / "settings"
    fill(settings, {"config.json": b'{"lr": 1}'})
    floats = tmp_path / "floats"
    shutil.copytree(receiver_folder, floats)
    folder = tmp_path / "blocked"
    fill(folder, {"config.json/a": b"", "qvec_config.json/a": b""})
    vectors = tmp_path / "vectors"
    vector.save_pretrained(vectors)
    refused: list[tuple[Path, Callable[[Path], Any], str]] = [
        (images, vector.with_images(IMAGES).save_pretrained, "images.png: is not of an earlier save"),
        (weights, lambda out: save_model(quantized, out), "model.safetensors: is not of an earlier save"),
        (settings, lambda out: save_model(quantized, out), "a config.json of something else"),
        (floats, lambda out: save_model(quantized, out), "another model .'vit'."),
        (floats, vector.save_pretrained, "holds a model"),
        (vectors, lambda out: save_model(quantized, out), "holds a quantization vector"),
        (folder, vector.save_pretrained, "is a folder where a file has to go"),
        (folder, lambda out: save_model(quantized, out, overwrite=True), "is a folder where a file has to go"),
    ]
    for out, save, message in refused:
        before = contents(out)
        with pytest.raises(qv.ArtifactError, match=message) as caught:
            save(out)
        assert "nothing was changed" in str(caught.value)
        assert contents(out) == before
    save_model(quantized, floats, overwrite=True)
    assert qv.from_pretrained(floats).config.quantization_config is not None


def test_a_sharded_models_older_files_go(quantized, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    quantized.save_pretrained(folder, max_shard_size=20_000)  # by transformers itself, which leaves no trace of us
    (folder / "model-notes.safetensors").write_bytes(b"mine")
    save_model(quantized, folder)
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "model-notes.safetensors"}
    index = {"weight_map": {"a": "model-00001-of-00001.safetensors", "b": "../outside", "c": "model-notes.safetensors"}}
    fill(
        folder, {"model-00001-of-00001.safetensors": b"old", "model.safetensors.index.json": json.dumps(index).encode()}
    )
    fill(tmp_path, {"outside": b"mine"})
    save_model(quantized, folder)
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "model-notes.safetensors"}
    assert (tmp_path / "outside").exists()


# Where it goes


@pytest.mark.parametrize("kind", ["vector", "model"])
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_a_link_stays_and_its_folder_is_written_to(kind: str, existing: bool, savers, vector, tmp_path: Path) -> None:
    link, real = tmp_path / "link", tmp_path / "disk" / "real"
    link.symlink_to(real)
    if existing:
        real.mkdir(parents=True)
    for value in (1.0, 2.0):
        savers[kind](link, value)
        assert link.is_symlink()
        assert not real.is_symlink()
        assert number(kind, real, vector) == value


@pytest.mark.parametrize("kind", ["vector", "model"])
@pytest.mark.parametrize("where", [".", "folder", "folder/inner"])
def test_the_working_directory_stays_the_folder_it_is(kind: str, where: str, savers, vector, tmp_path, monkeypatch):
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / where)
    out = Path("." if where == "." else tmp_path / "folder")
    before = Path().stat().st_ino
    for value in (1.0, 2.0):
        savers[kind](out, value)
        assert number(kind, out, vector) == value
        assert Path().stat().st_ino == before == Path.cwd().stat().st_ino


@pytest.mark.parametrize("kind", ["vector", "model"])
def test_mode_and_group_stay_and_new_files_are_as_readable_as_any(kind: str, savers, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    other = next((group for group in os.getgroups() if group != os.getegid()), None)
    group = 4242 if os.geteuid() == 0 else other
    if group is not None:
        os.chown(folder, -1, group)
    folder.chmod(0o2770)
    wanted = folder.stat()
    plain = tmp_path / "plain"
    plain.touch()
    for value in (1.0, 2.0):
        savers[kind](folder, value)
        found = folder.stat()
        assert (found.st_mode, found.st_uid, found.st_gid) == (wanted.st_mode, wanted.st_uid, wanted.st_gid)
        for path in folder.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode), path
            assert path.stat().st_gid == wanted.st_gid


@contextmanager
def as_on(kind: str, monkeypatch: pytest.MonkeyPatch, place: Path) -> Iterator[None]:
    """The ways in which a folder can refuse to be exchanged or linked into."""

    def refuse(*args: Any, **options: Any) -> Any:
        raise OSError(errno.EPERM, "not permitted")

    with monkeypatch.context() as patch:
        if kind == "a mount":
            real = Path.is_mount
            patch.setattr(Path, "is_mount", lambda path: path == place or real(path))
        elif kind == "a mount of the same file system":  # which only the exchange itself finds out
            patch.setattr(ctypes, "CDLL", lambda *name, **how: SimpleNamespace(renameat2=lambda *arguments: -1))
        elif kind == "no hard links":
            patch.setattr(os, "link", refuse)
        elif kind == "another system":
            patch.setattr(sys, "platform", "darwin")
        elif kind == "a parent that is not ours":
            real_access = os.access
            patch.setattr(os, "access", lambda path, mode: Path(path) != place.parent and real_access(path, mode))
        yield


PLACES = [
    "a mount",
    "a mount of the same file system",
    "no hard links",
    "another system",
    "a parent that is not ours",
]


@pytest.mark.parametrize("kind", ["vector", "model"])
@pytest.mark.parametrize("system", PLACES)
def test_where_a_folder_cannot_be_exchanged(kind: str, system: str, savers, vector, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    beside = fill(tmp_path, {"model.old/a.txt": b"mine", ".model.partial": b"mine"})
    foreign = fill(folder, {"model_notes.md": b"notes"})
    inode = folder.stat().st_ino
    with as_on(system, monkeypatch, folder):
        for value in (1.0, 2.0):
            savers[kind](folder, value)
            assert number(kind, folder, vector) == value
            assert folder.stat().st_ino == inode
    assert {name: (folder / name).read_bytes() for name in foreign} == foreign
    assert {name: (tmp_path / name).read_bytes() for name in beside} == beside
    assert litter(folder, tmp_path) == []


def test_files_that_come_while_a_folder_is_exchanged_are_brought_along(vector, vector_folder, monkeypatch) -> None:
    link, inode = os.link, vector_folder.stat().st_ino

    def meanwhile(source: Path, place: Path, **options: Any) -> None:
        link(source, place, **options)
        if source.name == "notes.txt":  # it was carried over to the new folder, and now comes another
            (vector_folder / "late.txt").write_text("mine")
            (vector_folder / "notes.txt.new").write_text("edited")
            (vector_folder / "notes.txt.new").replace(vector_folder / "notes.txt")

    (vector_folder / "notes.txt").write_text("as it was")
    monkeypatch.setattr(os, "link", meanwhile)
    (2 * vector).save_pretrained(vector_folder)
    assert vector_folder.stat().st_ino != inode
    assert (vector_folder / "late.txt").read_text() == "mine"
    assert (vector_folder / "notes.txt").read_text() == "edited"


# What is there when it fails


STEPS = ["write", "fsync", "link", "rename"]


@contextmanager
def failing(step: str, at: int, code: int, monkeypatch: pytest.MonkeyPatch, on: list[str]) -> Iterator[list[str]]:
    """Let the `at`-th call of a kind fail as a full or read-only disk lets it; `on` collects the calls."""

    def broken(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            on.append(step)
            if len(on) == at:
                raise OSError(code, os.strerror(code))
            return real(*args, **options)

        return call

    with monkeypatch.context() as patch:
        if step == "write":
            patch.setattr(Path, "write_text", broken(Path.write_text))
            patch.setattr(artifact_folder, "save_file", broken(artifact_folder.save_file))
        elif step == "rename":
            patch.setattr(Path, "rename", broken(Path.rename))
            patch.setattr(Path, "replace", broken(Path.replace))
        else:
            patch.setattr(os, step, broken(getattr(os, step)))
        yield on


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("one_by_one", [False, True], ids=["exchanged", "one by one"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", ["vector", "model"])
def test_a_step_that_fails(kind, step, one_by_one, code, savers, vector, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "target"
    savers[kind](folder, 1.0)
    fill(folder, {"notes.txt": b"mine", **({"deep/a": b"mine"} if one_by_one else {})})
    before, refused, at = contents(folder), 0, 1
    while True:
        calls: list[str] = []
        message = None
        with failing(step, at, code, monkeypatch, calls):
            try:
                savers[kind](folder, 2.0)
            except qv.ArtifactError as error:
                message = str(error)
        if message is not None:
            refused += 1
            assert "nothing there was changed" in message
            assert os.strerror(code) in message
            assert contents(folder) == before
        if litter(folder, tmp_path):
            assert step == "rename"  # the one that would have given the scratch folder its name
        if len(calls) < at:
            break
        if contents(folder) != before:  # what failed was not needed
            savers[kind](folder, 1.0)
            before = contents(folder)
        at += 1
    assert number(kind, folder, vector) == 2.0
    assert refused or step == "link" or (kind, step) == ("model", "write")


def test_a_save_that_can_neither_go_on_nor_back_says_so(vector, vector_folder: Path, monkeypatch) -> None:
    fill(vector_folder, {"deep/a": b"mine"})
    real, gone = Path.replace, []

    def replace(path: Path, to: Path) -> Path:
        if gone or to.name == TENSORS:
            gone.append(to)
            raise OSError(errno.EIO, "the disk is gone")
        return real(path, to)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(qv.ArtifactError, match=r"was being replaced when that failed .*has no qvec_config.json"):
            (2 * vector).save_pretrained(vector_folder)
    with pytest.raises(qv.ArtifactError, match=r"it holds no qvec_config.json"):
        qv.QuantizationVector.from_pretrained(vector_folder)
    (2 * vector).save_pretrained(vector_folder)
    assert number("vector", vector_folder, vector) == 2.0
    assert (vector_folder / "deep" / "a").read_bytes() == b"mine"


KILLED_AT = [
    (artifact_folder, "save_file"),
    (os, "fsync"),
    (os, "link"),
    (Path, "rename"),
    (Path, "replace"),
    (shutil, "rmtree"),
]


@pytest.mark.parametrize("one_by_one", [False, True], ids=["exchanged", "one by one"])
@pytest.mark.parametrize("kind", ["vector", "model"])
def test_killed_at_any_step(kind: str, one_by_one: bool, savers, vector, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(scratch, "YOUNG_S", -1.0)
    folder = tmp_path / "target"
    savers[kind](folder, 1.0)
    foreign = fill(folder, {"notes.txt": b"mine", **({"deep/a": b"mine"} if one_by_one else {})})
    halves = 0
    for owner, name in KILLED_AT:
        for at in range(1, 20):
            if not killed(owner, name, at, lambda: savers[kind](folder, 2.0)):
                break
            assert {each: (folder / each).read_bytes() for each in foreign} == foreign
            if (folder / ("config.json" if kind == "model" else CONFIG)).exists():
                assert number(kind, folder, vector) in (1.0, 2.0)
            else:  # recognizably no model and no vector
                halves += 1
                with pytest.raises(qv.ArtifactError, match="config"):
                    number(kind, folder, vector)
            savers[kind](folder, 1.0)  # mends it, and cleans up
            assert number(kind, folder, vector) == 1.0
            assert litter(folder, tmp_path) == [], (name, at)
    assert bool(halves) == one_by_one


def killed(owner: Any, name: str, at: int, save: Callable[[], None]) -> bool:
    """Save in a forked process that is killed when it calls something the `at`-th time; whether it did."""
    child = os.fork()
    if child == 0:
        real, calls = getattr(owner, name), []

        def call(*args: Any, **options: Any) -> Any:
            calls.append(name)
            if len(calls) == at:
                os._exit(9)
            return real(*args, **options)

        setattr(owner, name, call)
        try:
            save()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_a_scratch_folder_in_use_or_of_others_stays(tmp_path: Path) -> None:
    fill(tmp_path, {".qvec-aaaaaaaa.tmp/mine": b"no mark, so not ours", ".qvec-notes/a": b""})
    with scratch.scratch_folder(tmp_path) as one, scratch.scratch_folder(tmp_path) as other:
        assert one.is_dir()
        assert other.is_dir()
    assert sorted(litter(tmp_path)) == [".qvec-aaaaaaaa.tmp", ".qvec-notes"]


def test_ctrl_c_waits_for_the_last_step(tmp_path: Path, monkeypatch) -> None:
    real = Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        if target == tmp_path / "f":
            os.kill(os.getpid(), scratch.ENDING_SIGNALS[0])
        return real(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "f", Layout(config="a")) as new:
            (new / "a").write_text("whole")
    finally:
        signal.signal(signal.SIGINT, before)
    assert contents(tmp_path) == {"f/a": b"whole"}


def test_a_folder_made_for_nothing_goes_again(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "a" / "b" / "c"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_writable_or_not(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    for good in ("new/deep/er", ".", "file/.."):
        check_writable(tmp_path / good)
    for bad in ("file", "file/inside", "x" * 300, "nul\0"):
        with pytest.raises(qv.ArtifactError):
            check_writable(tmp_path / bad)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def read_only(*args: Any, **options: Any) -> str:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path))

    monkeypatch.setattr(scratch.tempfile, "mkdtemp", read_only)
    with pytest.raises(qv.ArtifactError, match=r"Read-only file system\); nothing was changed"):
        check_writable(tmp_path / "new")


def test_a_text_file_is_replaced_where_its_link_leads(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "real.txt").chmod(0o640)
    (tmp_path / "link.txt").symlink_to("real.txt")
    fill(tmp_path, {".link.txt.partial": b"mine"})
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "real.txt").stat().st_mode) == 0o640
    assert (tmp_path / ".link.txt.partial").read_bytes() == b"mine"


def test_an_index_of_an_earlier_save_is_read_as_a_strangers(vector, tmp_path: Path) -> None:
    folder = tmp_path / "v"
    vector.save_pretrained(folder)
    names = ["../outside.safetensors", "qvec-00001-of-00001.safetensors", "thesis.safetensors", 7]
    index = {"weight_map": {str(place): name for place, name in enumerate(names)}}
    fill(folder, {"qvec.safetensors.index.json": json.dumps(index).encode(), "thesis.safetensors": b"mine"})
    fill(folder, {"qvec-00001-of-00001.safetensors": b"old"})
    fill(tmp_path, {"outside.safetensors": b"mine"})
    vector.save_pretrained(folder)
    assert {"thesis.safetensors", TENSORS} <= {path.name for path in folder.iterdir()}
    assert not (folder / "qvec-00001-of-00001.safetensors").exists()
    assert (tmp_path / "outside.safetensors").read_bytes() == b"mine"
    with safe_open(folder / TENSORS, "pt") as opened:
        assert set(json.loads(opened.metadata()["files"])) == {"lineage.safetensors"}


def test_the_same_vector_makes_the_same_files(vector, tmp_path: Path) -> None:
    for number in range(12):  # by chance alone all would be alike once in two thousand times
        vector.save_pretrained(tmp_path / str(number))
    assert len({(tmp_path / str(number) / TENSORS).read_bytes() for number in range(12)}) == 1
    assert all(torch.equal(tensor, vector[name]) for name, tensor in load_file(tmp_path / "0" / TENSORS).items())
