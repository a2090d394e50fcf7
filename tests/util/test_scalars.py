"""Numbers of NumPy, PyTorch and the standard library in every argument that takes one, and what is none."""

import json
import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import qvec_hub as qv
from qvec_hub import Grid
from qvec_hub.backbone.names import backbone_tensors

HALF = {
    "float": 0.5,
    "numpy.float64": np.float64(0.5),
    "numpy.float32": np.float32(0.5),
    "numpy.float16": np.float16(0.5),
    "array without dimensions": np.array(0.5),
    "tensor without dimensions": torch.tensor(0.5),
    "tensor with a gradient": torch.tensor(0.5, requires_grad=True),
    "half precision tensor": torch.tensor(0.5, dtype=torch.bfloat16),
    "fraction": Fraction(1, 2),
    "decimal": Decimal("0.5"),
}
TWO = {
    "int": 2,
    "numpy.int64": np.int64(2),
    "numpy.uint8": np.uint8(2),
    "tensor": torch.tensor(2),
    "array": np.array(2),
}
NONE = {
    "true": True,
    "numpy's true": np.True_,
    "torch's true": torch.tensor(True),
    "nan": math.nan,
    "numpy's nan": np.float32("nan"),
    "torch's infinity": torch.tensor(-math.inf),
    "infinity": math.inf,
    "text": "0.5",
    "word": "most",
    "complex": 0.5j,
    "numpy's complex": np.complex64(1),
    "beyond any float": 10**400,
    "signalling nan": Decimal("sNaN"),
    "list": [0.5],
    "array": np.array([0.5]),
    "tensor": torch.tensor([0.5, 0.5]),
    "meta tensor": torch.empty((), device="meta"),
    "nothing": object(),
}
NAME = "layernorm.weight"


def patched(scale: object, vector, receiver, folder: Path) -> None:
    before = {name: tensor.clone() for name, tensor in backbone_tensors(receiver).items()}
    qv.patch_(receiver, vector, scale)
    for name, tensor in backbone_tensors(receiver).items():
        assert torch.equal(tensor, before[name] + 0.5 * vector[name])


def loaded(scale: object, vector, receiver, folder: Path, tmp_path: Path) -> None:
    model = qv.from_pretrained(folder, vector=vector, weights="int3", scale=scale)
    model.save_pretrained(tmp_path / "saved")
    written = json.loads((tmp_path / "saved" / "config.json").read_text())["quantization_config"]["scale"]
    assert (written, type(written)) == (0.5, float)


def loaded_in_float(scale: object, vector, receiver, folder: Path) -> None:
    name, model = "vit.layernorm.weight", qv.from_pretrained(folder, vector=vector, scale=scale)
    assert torch.equal(model.state_dict()[name], receiver.state_dict()[name] + 0.5 * vector[NAME])


def configured(scale: object, vector, receiver, folder: Path) -> None:
    record = qv.QVecConfig(vector, "int3", scale).to_dict()
    assert json.loads(json.dumps(record))["scale"] == 0.5


def multiplied(scale: object, vector, receiver, folder: Path) -> None:
    for product in (scale * vector, vector * scale):
        assert torch.equal(product[NAME], 0.5 * vector[NAME])
        assert [type(source["weight"]) for source in product.provenance()] == [float]


def recommended(scale: object, vector, receiver, folder: Path, tmp_path: Path) -> None:
    vector.with_config(scale=scale).save_pretrained(tmp_path / "vector")
    assert qv.QuantizationVector.from_pretrained(tmp_path / "vector").config.scale == 0.5


def merged(scale: object, vector, receiver, folder: Path, tmp_path: Path) -> None:
    both = qv.merge([vector, -vector], weights=[scale, 1.5])
    assert torch.allclose(both[NAME], -0.5 * vector[NAME], atol=1e-7)
    both.save_pretrained(tmp_path / "merged")
    sources = json.loads((tmp_path / "merged" / "qvec_config.json").read_text())["sources"]
    assert [source["weight"] for source in sources] == [0.25, -0.75]
    qv.merge([vector, -vector], "ties", density=scale)


def chosen(scale: object, vector, receiver, folder: Path) -> None:
    curve = qv.choose_scale(receiver, vector, "int3", scales=[scale], images=torch.zeros(2, 3, 16, 16)).curve
    assert [(type(tried), tried) for tried, _ in curve] == [(float, 0.0), (float, 0.5)]


def extracted(scale: object, vector, receiver, folder: Path) -> None:
    assert qv.QuantizationVector.extract(folder, perturbed(receiver), scale=scale).config.scale == 0.5


def perturbed(model):
    model.vit.layernorm.bias.data += 1
    return model


WAYS = [patched, loaded, loaded_in_float, configured, multiplied, recommended, merged, chosen, extracted]


def call(way, scale: object, **fixtures: object) -> None:
    names = way.__code__.co_varnames[1 : way.__code__.co_argcount]
    way(scale, **{name: fixtures[name] for name in names})


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_half_is_a_half_in_every_library(way, vector, receiver, receiver_folder: Path, tmp_path: Path) -> None:
    state = {name: tensor.clone() for name, tensor in receiver.state_dict().items()}
    for number, half in enumerate(HALF.values()):
        receiver.load_state_dict(state)
        call(way, half, vector=vector, receiver=receiver, folder=receiver_folder, tmp_path=tmp_path / str(number))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_what_is_no_number_is_refused_and_changes_nothing(
    way, vector, receiver, receiver_folder: Path, tmp_path: Path
) -> None:
    state = {name: tensor.clone() for name, tensor in receiver.state_dict().items()}
    for wrong in NONE.values():
        with pytest.raises(qv.QVecError, match="expected"):
            call(way, wrong, vector=vector, receiver=receiver, folder=receiver_folder, tmp_path=tmp_path / "x")
    if way is not extracted:
        assert all(torch.equal(tensor, state[name]) for name, tensor in receiver.state_dict().items())


@pytest.mark.parametrize("scale", [0, 0.0, -0.5, np.float32(-0.5), 1e-300])
def test_zero_and_negative_scales_are_scales(scale, vector, receiver) -> None:
    before = receiver.vit.layernorm.weight.detach().clone()
    qv.patch_(receiver, vector, scale)
    assert torch.equal(receiver.vit.layernorm.weight, before + float(scale) * vector[NAME])


def test_lists_of_scales_and_weights_of_any_library(vector, receiver) -> None:
    images = torch.zeros(2, 3, 16, 16)
    for scales in ([0.5], (0.5,), np.array([0.5]), torch.tensor([0.5]), iter([0.5]), {0.5}):
        assert [s for s, _ in qv.choose_scale(receiver, vector, "int3", scales=scales, images=images).curve] == [0, 0.5]
    for scales in (0.5, "0.5", "auto", ["auto"], [None], torch.tensor(0.5), np.array([[0.5]])):
        with pytest.raises(qv.QVecError, match="scales: expected a list of finite numbers"):
            qv.choose_scale(receiver, vector, "int3", scales=scales, images=images)
    for weights in (np.array([1, 3]), torch.tensor([1.0, 3.0]), (Fraction(1), 3)):
        assert [s.weight for s in qv.merge([vector, vector], weights=weights).config.sources] == [0.25, 0.75]
    for weights in (1, "12", [1e308, 1e308], [True, 1], [math.nan, 1], torch.tensor(1.0), [[1], [2]], {"a": 1}):
        with pytest.raises(qv.QVecError, match="weights: expected 2 numbers"):
            qv.merge([vector, vector], weights=weights)


def test_bits_of_any_library(receiver, tmp_path: Path) -> None:
    for two in TWO.values():
        grid = Grid(bits=two, granularity="group", group_size=two)
        assert grid == Grid(2, "group", group_size=2)
        assert (type(grid.bits), type(grid.group_size)) == (int, int)
        assert json.loads(json.dumps(grid.to_dict())) == Grid(2, "group", group_size=2).to_dict()
    qv.quantize_(receiver, Grid(bits=np.int64(3))).save_pretrained(tmp_path / "saved")
    assert qv.from_pretrained(tmp_path / "saved").config.quantization_config.grid == Grid(3)
    for wrong in (*NONE.values(), 2.0, np.float32(2), Fraction(2), Decimal(2)):
        with pytest.raises(qv.GridError, match="bits"):
            Grid(bits=wrong)
        with pytest.raises(qv.GridError, match="group_size"):
            Grid(granularity="group", group_size=wrong)
    for spec in ("INT3", "Int3", 3, np.int64(3), "int3 ", "3", b"int3", ["int3"], torch.tensor(3)):
        for use in (Grid.parse, lambda spec: qv.QVecConfig(None, spec), lambda spec: qv.quantize_(receiver, spec)):
            with pytest.raises(qv.GridError, match="'int3'"):
                use(spec)


@pytest.mark.parametrize("scale", ["nan", "inf", "1e999", "half", "", "0.5.1", "True"])
def test_the_command_line_says_what_a_scale_is(
    scale: str, qvec, vector_folder: Path, receiver_folder: Path, tmp_path: Path
) -> None:
    done = qvec("apply", receiver_folder, "--vector", vector_folder, "--scale", scale, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "scale: expected a finite number" in done.stderr
    assert not (tmp_path / "out").exists()
