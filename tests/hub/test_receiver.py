"""Which base a receiver descends from: said by its card, its config or its name, or shown by its weights."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from transformers import ViTForImageClassification

import qvec_hub as qv
from qvec_hub.hub_search.base_of import MAX_UNNAMED
from qvec_hub.hub_search.declared_base import DeclaredBase
from tests.conftest import fine_tuned, tiny_config
from tests.hub_server import Fault

from .library import BASE
from .test_search import names


@pytest.fixture
def unrelated() -> ViTForImageClassification:
    """Of the same sizes, but of another pretraining."""
    torch.manual_seed(77)
    return ViTForImageClassification(tiny_config()).eval()


def foreign_sketch(library) -> bytes:
    """The sketch of some other base of the same sizes."""
    samples = load(library.files["lineage.safetensors"])
    return save({name: torch.randn(sample.shape) for name, sample in samples.items()})


def edit_config(folder: Path, **changes) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_card_names_the_base(library, receiver_folder: Path) -> None:
    library.put("a/v")
    library.put("a/other", "org/other")
    (receiver_folder / "model.safetensors").unlink()  # weights are not needed
    (receiver_folder / "README.md").write_text(f"---\nbase_model: {BASE}\n---\n")
    found = qv.search(receiver_folder)
    assert (names(found), found.base_model, found.found_by) == (["a/v"], BASE, "its card")
    (receiver_folder / "README.md").write_text(f"---\nbase_model: [org/unheard-of, 5, {BASE}]\n---\n")
    assert qv.search(receiver_folder).base_model == BASE


def test_a_config_names_the_base(library, receiver_folder: Path) -> None:
    library.put("a/v")
    (receiver_folder / "model.safetensors").unlink()
    edit_config(receiver_folder, _name_or_path=BASE)
    found = qv.search(str(receiver_folder))
    assert (names(found), found.found_by) == (["a/v"], "its config")


def test_the_receiver_is_the_base(library, base, tmp_path: Path) -> None:
    base.save_pretrained(tmp_path / "base")
    library.hub.seed(BASE, files_of(tmp_path / "base"))
    library.put("a/v")
    library.hub.clear_requests()
    found = qv.search(BASE)
    assert (names(found), found.found_by) == (["a/v"], "its own name")
    assert not [each.path for each in library.hub.requests if "model.safetensors" in each.path]


@pytest.mark.parametrize(
    "damage", ["---\nbase_model: [\n---\n", "---\n- a list\n---\n", "\x00", "---\nbase_model: 5\n---\n"]
)
def test_weights_tell_where_the_card_does_not(library, receiver_folder: Path, damage: str) -> None:
    (receiver_folder / "README.md").write_text(damage)
    library.put("a/foreign", "org/foreign", files={"lineage.safetensors": foreign_sketch(library)})
    library.put("a/v")
    library.put("a/w")
    found = qv.search(receiver_folder)
    assert sorted(names(found)) == ["a/v", "a/w"]
    assert found.base_model == BASE
    assert found.found_by.startswith("its weights, similarity 0.9")
    assert sorted(library.sketches()) == ["a/foreign", "a/v"]  # one vector of each base


def test_a_model_in_memory(library, receiver) -> None:
    library.put("a/v")
    assert names(qv.search(receiver)) == ["a/v"]


def test_a_model_loaded_from_the_hub_has_a_card_there(library, receiver_folder: Path) -> None:
    card = f"---\nbase_model: {BASE}\n---\n".encode()
    library.hub.seed("me/flowers", {**files_of(receiver_folder), "README.md": card})
    library.put("a/v", files={"lineage.safetensors": None})
    model = qv.from_pretrained("me/flowers")
    found = qv.search(model)
    assert (names(found), found.found_by) == (["a/v"], "its card")
    model.config._name_or_path = "me/gone"
    with pytest.raises(qv.LineageError, match="its own name names me/gone"):
        qv.search(model)


def test_a_private_receiver_at_a_revision(library, receiver_folder: Path, unrelated, tmp_path: Path) -> None:
    library.put("a/v")
    old = library.hub.seed("bob/flowers", files_of(receiver_folder), private=True)
    unrelated.save_pretrained(tmp_path / "unrelated")
    library.hub.seed("bob/flowers", files_of(tmp_path / "unrelated"))
    library.hub.tag("bob/flowers", "v1", old)
    for revision in ("v1", old):
        assert names(qv.search(f"bob/flowers@{revision}", token="hf_bob")) == ["a/v"]
    with pytest.raises(qv.LineageError, match=r"bob/flowers: no vector .* closest is org/base with similarity"):
        qv.search("bob/flowers", token="hf_bob")
    for nowhere in ("bob/flowers", "bob/flowers@v9", "nobody/nothing"):
        with pytest.raises(qv.HubError, match=nowhere):
            qv.search(nowhere, token=None if nowhere == "bob/flowers" else "hf_bob")


def test_vectors_of_an_unpublished_base_fit_by_their_sketches(library, receiver_folder: Path) -> None:
    library.put("a/named")
    library.put("a/unnamed", None)
    library.put("a/foreign", None, files={"lineage.safetensors": foreign_sketch(library)})
    library.put("a/no-sketch", None, files={"lineage.safetensors": None})
    library.put("a/broken-sketch", None, files={"lineage.safetensors": b"garbage"})
    by_weights = qv.search(receiver_folder)
    assert sorted(names(by_weights)) == ["a/named", "a/unnamed"]
    edit_config(receiver_folder, _name_or_path=BASE)
    (receiver_folder / "model.safetensors").unlink()
    by_name = qv.search(receiver_folder)
    assert (sorted(names(by_name)), by_name.found_by) == (["a/named", "a/unnamed"], "its config")


def test_only_vectors_of_unpublished_bases_fit(library, receiver_folder: Path, qvec) -> None:
    library.put("a/foreign", "org/foreign", files={"lineage.safetensors": foreign_sketch(library)})
    for i in range(3):
        library.put(f"a/unnamed{i}", None)
    found = qv.search(receiver_folder)
    assert (sorted(names(found)), found.base_model) == (["a/unnamed0", "a/unnamed1", "a/unnamed2"], None)
    assert found.found_by.startswith("its weights")
    assert "base: not published (its weights" in qvec("search", "--for", receiver_folder).stderr


def test_so_many_unpublished_bases_are_compared_and_no_more(library, receiver_folder: Path) -> None:
    made = library.made("a/v", None, (), "toys", "int3")
    for i in range(MAX_UNNAMED + 10):
        library.hub.seed(f"a/v{i}", made, downloads=i)
    assert qv.search(receiver_folder).total == MAX_UNNAMED
    assert len(library.sketches()) == MAX_UNNAMED
    assert "a/v9" not in library.sketches()  # the least downloaded


def test_a_base_whose_first_vector_has_no_readable_sketch(library, receiver_folder: Path) -> None:
    library.put("a/without", downloads=3, files={"lineage.safetensors": None})
    library.put("a/garbage", downloads=2, files={"lineage.safetensors": b"garbage"})
    library.put("a/closed", downloads=2, gated="auto")
    library.put("a/good", downloads=1)
    library.hub.inject(Fault("status", path="a/closed/resolve/", code=403, error_code="GatedRepo", times=None))
    found = qv.search(receiver_folder)
    assert (found.base_model, len(found)) == (BASE, 4)
    assert library.sketches() == ["a/closed", "a/garbage", "a/good"]


def test_nothing_fits(library, unrelated, base, tmp_path: Path) -> None:
    library.put("a/v")
    library.put("a/unnamed", None)
    unrelated.save_pretrained(tmp_path / "unrelated")
    with pytest.raises(qv.LineageError, match=r"closest is .* with similarity") as raised:
        qv.search(tmp_path / "unrelated")
    message = str(raised.value)
    assert "neither its card nor its config names a base" in message
    assert "compared with 2 of 1 published bases and 1 vectors of unpublished ones" in message
    assert "--base" in message
    assert "qvec train" in message

    large = ViTForImageClassification(tiny_config(num_hidden_layers=3))
    library.hub.clear_requests()
    with pytest.raises(qv.LineageError, match="none has its size"):
        qv.search(large)
    assert library.sketches() == []


def test_a_claim_nobody_has_a_vector_of_is_named(library, unrelated) -> None:
    library.put("a/v")
    unrelated.config._name_or_path = "org/unheard-of"
    with pytest.raises(qv.LineageError, match="its own name names org/unheard-of"):
        qv.search(unrelated)


def test_a_receiver_that_is_none(library, vector_folder: Path, tmp_path: Path) -> None:
    library.put("a/v")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "config.json").write_text("{")
    for nothing in (tmp_path / "nowhere", vector_folder, tmp_path / "torn", "./nowhere"):
        with pytest.raises(qv.ArtifactError):
            qv.search(nothing)


def test_named_bases_are_ids_only(receiver_folder: Path) -> None:
    (receiver_folder / "README.md").write_text('---\nbase_model: ["../../etc", "a/b", "\\e[1m/x", "noorg"]\n---\n')
    edit_config(receiver_folder, _name_or_path="/home/me/model", base_model_name_or_path="c/d")
    assert DeclaredBase(receiver_folder, None).named_bases() == [("a/b", "its card"), ("c/d", "its config")]


def test_fine_tunes_of_one_base_agree(library, base) -> None:
    library.put("a/v")
    for seed in range(3):
        assert names(qv.search(fine_tuned(base, 0.01, seed))) == ["a/v"]
