"""State dicts of strangers: tensors are taken from them, and nothing else."""

import os
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from qvec_hub import ArtifactError
from qvec_hub.interop.state_dict import open_state_dict

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


class Hostile:
    """A pickle that, if it were loaded, would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("ending", [".pt", ".pth", ".bin", ".safetensors"])
@pytest.mark.parametrize("nested", [None, "state_dict", "model"])
def test_tensors_are_read(tmp_path, ending, nested):
    path = tmp_path / f"file{ending}"
    if ending == ".safetensors":
        save_file(TENSORS, path)
    else:
        torch.save(TENSORS if nested is None else {nested: TENSORS, "epoch": 3}, path)
    found = open_state_dict(path)
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


def test_the_format_before_pytorch_1_6_is_read(tmp_path):
    torch.save(TENSORS, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(open_state_dict(tmp_path / "old.pt")["a.weight"], TENSORS["a.weight"])


@pytest.mark.parametrize("new", [True, False])
def test_a_pickle_that_runs_code_is_refused_and_runs_nothing(tmp_path, new):
    touched = tmp_path / "touched"
    torch.save({**TENSORS, "x": Hostile(touched)}, tmp_path / "bad.pt", _use_new_zipfile_serialization=new)
    with pytest.raises(ArtifactError, match="holds more than tensors and was not opened"):
        open_state_dict(tmp_path / "bad.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Hostile(touched)))
    with pytest.raises(ArtifactError):
        open_state_dict(tmp_path / "plain.pt")
    assert not touched.exists()


def truncated(path):
    torch.save(TENSORS, path)
    path.write_bytes(path.read_bytes()[:-200])


def empty_archive(path):
    with zipfile.ZipFile(path, "w"):
        pass


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"not a pickle"), "file.pt"),
        (truncated, "cannot be read as a state dict"),
        (empty_archive, "cannot be read as a state dict"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: torch.save({}, path), "holds no tensors"),
        (lambda path: torch.save([1, 2], path), "found list"),
        (lambda path: torch.save({"a": TENSORS["a.bias"], "epoch": 3}, path), "epoch is int"),
        (lambda path: torch.save({3: TENSORS["a.bias"]}, path), "expected tensors by name"),
        (lambda path: torch.save({"a": TENSORS["a.bias"].to_sparse()}, path), "no dense tensor"),
        (lambda path: torch.save({"a": TENSORS["a.bias"].to(torch.complex64)}, path), "no dense tensor"),
        (lambda path: torch.save({"a": torch.zeros(1).expand(10**9)}, path), "holds fewer numbers"),
        (lambda path: torch.save(torch.nn.Linear(2, 2), path), "holds more than tensors"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, write, message):
    path = tmp_path / "file.pt"
    write(path)
    with pytest.raises(ArtifactError, match=message) as error:
        open_state_dict(path)
    assert str(path) in str(error.value)


def test_a_missing_file_and_another_ending_are_refused(tmp_path):
    with pytest.raises(ArtifactError, match="is missing"):
        open_state_dict(tmp_path / "none.pt")
    (tmp_path / "weights.npz").write_bytes(b"PK")
    with pytest.raises(ArtifactError, match="expected a file that ends in"):
        open_state_dict(tmp_path / "weights.npz")
