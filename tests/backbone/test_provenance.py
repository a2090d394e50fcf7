"""What a model object knows of its past: it travels with copies and pickles, and belongs to one object alone."""

import copy
import pickle

import pytest

import qvec_hub as qv
from qvec_hub.backbone.provenance import Provenance, provenance_of

WAYS = {
    "deep copy": copy.deepcopy,
    "copy": copy.copy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}


def test_a_model_without_a_past(receiver) -> None:
    assert provenance_of(receiver) == Provenance()
    assert provenance_of(None) == Provenance()


@pytest.mark.parametrize("way", WAYS)
def test_it_travels_with_copies(way: str, receiver, vector) -> None:
    model = qv.patch_(receiver, vector, 0.5)
    patch = provenance_of(model).patch
    assert patch is not None
    assert patch["scale"] == 0.5
    assert provenance_of(WAYS[way](model)) == provenance_of(model)


def test_a_copy_has_a_past_of_its_own(receiver, vector) -> None:
    shallow = copy.copy(receiver)
    qv.patch_(shallow, vector, 0.5)
    assert provenance_of(receiver) == Provenance()


def test_a_saved_model_starts_anew(receiver, vector, tmp_path) -> None:
    qv.patch_(receiver, vector, 0.5).save_pretrained(tmp_path / "saved")
    again = qv.from_pretrained(tmp_path / "saved")
    assert provenance_of(again).patch is None
    record = qv.quantize_(again, "int3").config.quantization_config
    assert (record["vector"], record["scale"]) == (None, 1.0)
