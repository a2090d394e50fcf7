"""What the reader decides about hostile artifacts, one decision a test; `tests/fuzz` tries thousands."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import qvec_hub as qv
from qvec_hub.artifact import folder as storage
from qvec_hub.artifact.config import CONFIG_FILE, LINEAGE_FILE, TENSOR_FILE, Donor, Revision, Source
from qvec_hub.util.untrusted import parse_json, printable

NAME = "encoder.layer.1.output.dense.weight"


def change(folder: Path, **values: object) -> None:
    config = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps({**config, **values}))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one whenever tensors are hashed."""
    calls: list[str] = []
    real = storage.summarize
    monkeypatch.setattr(storage, "summarize", lambda tensors, where: calls.append(where) or real(tensors, where))
    return calls


def flip_in_place(path: Path) -> None:
    """Flip a bit and put the modification time back, once the clock of the file system has moved on."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    while path.stat().st_ctime_ns == before.st_ctime_ns:
        with path.open("r+b") as file:
            file.write(data)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)


def test_a_checked_file_is_not_hashed_again_until_it_changes(vector_folder: Path, hashed, monkeypatch) -> None:
    monkeypatch.setattr(storage, "SETTLED_NS", 0)
    for _ in range(2):
        qv.QuantizationVector.from_pretrained(vector_folder)
    assert len(hashed) == 1
    flip_in_place(vector_folder / TENSOR_FILE)
    with pytest.raises(qv.ArtifactError, match="sha256"):
        qv.QuantizationVector.from_pretrained(vector_folder)


def test_a_file_changed_a_moment_ago_is_not_remembered(vector_folder: Path, hashed, monkeypatch) -> None:
    """Within a tick of the file system's clock a second change would not show."""
    monkeypatch.setattr(storage, "SETTLED_NS", 10**18)
    for _ in range(2):
        qv.QuantizationVector.from_pretrained(vector_folder)
    assert len(hashed) == 2


def test_a_check_counts_for_the_norm_it_saw(vector_folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(storage, "SETTLED_NS", 0)
    found = qv.QuantizationVector.from_pretrained(vector_folder).config.tensors
    change(vector_folder, tensors={**vars(found), "norm": 2 * found.norm})
    with pytest.raises(qv.ArtifactError, match="norm"):
        qv.QuantizationVector.from_pretrained(vector_folder)


@pytest.mark.parametrize(
    ("change_one", "reason"),
    [
        (lambda s: s.update({"classifier.weight": torch.zeros(64)}), "not in the vector"),
        (lambda s: s.update({NAME: torch.zeros(63)}), r"shape \(63,\), expected \(64,\)"),
        (lambda s: s.update({NAME: torch.zeros(64, dtype=torch.float16)}), "F16, expected F32"),
        (lambda s: s[NAME].fill_(float("nan")), "NaN"),
        (lambda s: s[NAME].fill_(1e30), "beyond any weight"),
    ],
)
def test_a_sketch_that_is_none(change_one, reason: str, vector_folder: Path) -> None:
    sketch = load_file(vector_folder / LINEAGE_FILE)
    change_one(sketch)
    save_file(sketch, vector_folder / LINEAGE_FILE)
    with pytest.raises(qv.ArtifactError, match=reason):
        qv.QuantizationVector.from_pretrained(vector_folder)


@pytest.mark.parametrize("name", [CONFIG_FILE, TENSOR_FILE, LINEAGE_FILE])
def test_only_regular_files_are_opened(name: str, vector_folder: Path) -> None:
    (vector_folder / name).unlink()
    os.mkfifo(vector_folder / name)  # opening it would wait for ever
    with pytest.raises(qv.ArtifactError, match=rf"{name}: is a pipe, socket or device, expected a regular file"):
        qv.QuantizationVector.from_pretrained(vector_folder)
    (vector_folder / name).unlink()
    (vector_folder / name).mkdir()
    with pytest.raises(qv.ArtifactError, match=rf"{name}: is a folder"):
        qv.QuantizationVector.from_pretrained(vector_folder)


def test_links_are_followed_to_files(vector, vector_folder: Path, tmp_path: Path) -> None:
    """As in the Hub's cache, and as people store large files; what a link leads to is checked like any file."""
    (vector_folder / TENSOR_FILE).rename(tmp_path / "blob")
    (vector_folder / TENSOR_FILE).symlink_to(tmp_path / "blob")
    assert torch.equal(qv.QuantizationVector.from_pretrained(vector_folder)[NAME], vector[NAME])
    (tmp_path / "blob").unlink()
    with pytest.raises(qv.ArtifactError, match="is missing"):
        qv.QuantizationVector.from_pretrained(vector_folder)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"a": 1, "a": 2}', "'a' stands there twice"),
        (b'{"a": {"\\u001b[2J": 1, "\\u001b[2J": 1}}', r"'\\x1b\[2J' stands there twice"),
        (b"[NaN]", "found NaN"),
        (b"[-Infinity]", "found -Infinity"),
        (b"[1e400]", "found 1e400"),
        (b"[" + b"9" * 5000 + b"]", "an integer of 5000 digits"),
        (b"[" * 40 + b"]" * 40, "nested deeper than 32"),
        (b"[" * 100_000, "JSON"),
        (b'["\\ud800"]', r"control characters in the text '\\ud800'"),
        ('{"\u202e": 1}'.encode(), r"\\u202e"),
        (b"\xff", "utf-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"", "Expecting value"),
    ],
)
def test_json_that_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(qv.ArtifactError, match=f"^file: not readable as JSON.*{reason}"):
        parse_json(text, "file")


def test_json_that_is_read() -> None:
    text = '{"a": [1, -2.5, 1e3, true, null, "ταξινόμηση 🌸"], "b": {"c": 9223372036854775807}}'
    assert parse_json(text.encode(), "file") == json.loads(text)


def test_strangers_text_is_made_harmless() -> None:
    assert printable("a\x1b[2J\u202eb\ud800\n花") == "a\\x1b[2J\\u202eb\\ud800\\n花"
    assert printable("x" * 1000, 10) == "xxxxxxxxx…"


def test_messages_and_warnings_show_no_control_characters(vector_folder: Path) -> None:
    change(vector_folder, model_type="vit\x1b]0;owned\x07")
    with pytest.raises(qv.ArtifactError, match=r"control characters in the text 'vit\\x1b\]0;owned\\x07'"):
        qv.QuantizationVector.from_pretrained(vector_folder)
    change(vector_folder, model_type="vit", **{f"k{i:03}{'x' * 999}": 1 for i in range(100)})
    with pytest.warns(UserWarning, match=r"k000xxx.*… and 92 more$") as warned:
        qv.QuantizationVector.from_pretrained(vector_folder)
    assert len(str(warned[0].message)) < 1000


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"base_model": {"repo_id": "../../etc", "revision": None}}, r"base_model\.repo_id: expected a Hub repo id"),
        ({"base_model": {"repo_id": "a/b", "revision": "../x"}}, r"base_model\.revision: expected a commit"),
        ({"architecture": {"hidden_size": "32"}}, "architecture: expected at most 64 numbers"),
        ({"model_type": "x" * 301}, "model_type: expected a name of at most 300 characters"),
        ({"scale": 10**400}, "an integer of 401 digits"),
        (
            {"sources": [{"repo_id": "a/b", "revision": None, "weight": 1, "subfolder": "../x"}]},
            r"sources\[0\]\.subfold",
        ),
        ({"tensors": {"count": 1, "parameters": 1, "norm": -1, "sha256": "0" * 64}}, r"tensors\.norm.*not negative"),
        ({"tensors": {"count": 1, "parameters": 1, "norm": 1, "sha256": "0" * 63}}, r"tensors\.sha256.*64 hexadecimal"),
        ({"grid": {"bits": 3}}, r"missing grid\.granularity"),
    ],
)
def test_values_that_are_refused_by_name(values: dict, reason: str, vector_folder: Path) -> None:
    change(vector_folder, **values)
    with pytest.raises(qv.ArtifactError, match=reason):
        qv.QuantizationVector.from_pretrained(vector_folder)


def test_a_source_may_have_a_subfolder(vector, tmp_path: Path) -> None:
    plain, nested = Source("org/zoo", None, 0.5), Source("org/zoo", "main", 0.5, subfolder="int3/eurosat")
    config = replace(vector.config, sources=[plain, nested])
    qv.QuantizationVector(config, {name: vector[name] for name in vector}).save_pretrained(tmp_path / "v")
    written = json.loads((tmp_path / "v" / CONFIG_FILE).read_text())["sources"]
    assert written == [
        {"repo_id": "org/zoo", "revision": None, "weight": 0.5},
        {"repo_id": "org/zoo", "revision": "main", "weight": 0.5, "subfolder": "int3/eurosat"},
    ]
    loaded = qv.QuantizationVector.from_pretrained(tmp_path / "v")
    assert loaded.config.sources == [plain, nested]
    assert loaded.provenance() == written


@pytest.mark.parametrize(
    "values",
    [
        {"recipe": {"loss": float("nan")}},
        {"recipe": {"data": Path("x")}},
        {"recipe": {"note": "two\nlines"}},
        {"donor": Donor(task="\x1b[2J")},
        {"base_model": Revision("a local folder", None)},
    ],
)
def test_what_could_not_be_read_again_is_not_written(values: dict, vector, vector_folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in vector_folder.iterdir()}
    changed = qv.QuantizationVector(replace(vector.config, **values), {name: vector[name] for name in vector})
    with pytest.raises(qv.ArtifactError, match="the vector's config"):
        changed.save_pretrained(vector_folder)
    assert {path.name: path.read_bytes() for path in vector_folder.iterdir()} == before


def test_a_long_group_would_fill_the_memory() -> None:
    """Rows are filled up to whole groups: a group of 10**9 makes four gigabytes of every row."""
    values = {"bits": 3, "granularity": "group", "range": "absmax", "symmetric": True, "group_size": 10**9}
    with pytest.raises(qv.GridError, match="group_size from 1 to 65536, found 1000000000"):
        qv.Grid.from_dict(values)
    with pytest.raises(qv.GridError, match="group_size from 1 to 65536, found 99999999"):
        qv.Grid.parse("int3-group99999999")
    with pytest.raises(qv.GridError, match=r"^grid: expected a name.{1,200}$"):
        qv.Grid.parse("int" + "9" * 5000)


def test_a_grid_of_values_that_have_no_order_or_hash() -> None:
    for values in [{"range": []}, {"granularity": {}}, {"bits": [3]}, {"bits": 10**5000}, {"symmetric": None}, {3: 1}]:
        with pytest.raises(qv.GridError):
            qv.Grid.from_dict(values)


def test_no_escape_sequence_reaches_the_terminal(vector_folder: Path, qvec) -> None:
    change(vector_folder, recipe={"note": "\x1b[2J\x1b]0;owned\x07"})
    done = qvec("info", vector_folder)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "\\x1b[2J" in done.stderr
    assert "\x1b" not in done.stderr
