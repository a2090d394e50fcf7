"""Variants from outside, of every kind, used like the own ones: in a load, a suite and a report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import qvec_hub as qv
from qvec_hub.artifact.encoding import ENCODINGS
from qvec_hub.artifact.encodings.registry import TensorEncoding, encoding
from qvec_hub.backbone.names import backbone_linears
from qvec_hub.bench.baselines.registry import BASELINES
from qvec_hub.bench.context import read_context
from qvec_hub.bench.controls.registry import CONTROLS
from qvec_hub.bench.model_store import Library
from qvec_hub.bench.report.write import write_report
from qvec_hub.bench.runner import run_suite
from qvec_hub.bench.verify import verify
from qvec_hub.cli.variants import HOMES, described
from qvec_hub.grid.quantize import Quantized, dequantize, quantize
from qvec_hub.grid.scale_rules.registry import SCALE_RULES, scale_rule
from qvec_hub.results import row as rows_room
from qvec_hub.results.rows import read_rows, row_files
from qvec_hub.rounding.registry import ROUNDINGS, rounding
from qvec_hub.util.registry import Registry
from qvec_hub.vector.merge_methods.registry import MERGE_METHODS, merge_method
from tests.bench.library import a_suite, fill


@pytest.fixture
def toys() -> Iterator[None]:
    @rounding("floor", "each weight to the next lower code", on_card="downwards")
    def floor(model, grid, pixel_values, *, batch_size, progress) -> dict[str, Quantized]:
        found = {}
        for name, layer in backbone_linears(model):
            nearest = quantize(layer.weight.detach(), grid)
            above = dequantize(*nearest, grid) > layer.weight
            found[name] = nearest._replace(codes=(nearest.codes.int() - above.int()).clamp_min(0).to(torch.uint8))
            layer.weight.data.copy_(dequantize(*found[name], grid))
            progress(1)
        return found

    @scale_rule("half", "half of the largest magnitude")
    def half(units, grid) -> tuple[torch.Tensor, None]:
        return 0.5 * units.abs().amax(dim=1, keepdim=True).clamp_min(1e-8) / grid.qmax, None

    @merge_method("first", "the first vector alone")
    def first(tensors, shares, density) -> torch.Tensor:
        return tensors[0]

    @encoding("f16", "halves of the other kind", bits=16)
    class Float16(TensorEncoding):
        def layout(self, shape):
            return {"": (torch.float16, shape)}

        def encode(self, tensor):
            return {"": tensor.half()}

        def decode(self, parts, shape):
            return parts[""].float()

    yield
    ENCODINGS.remove("f16")
    SCALE_RULES.remove("half")
    ROUNDINGS.remove("floor")
    MERGE_METHODS.remove("first")


def test_variants_from_outside_work_everywhere(toys, receiver, receiver_folder, vector, tmp_path: Path) -> None:
    grid = qv.Grid(bits=2)
    model = qv.from_pretrained(receiver_folder, weights=grid, rounding="floor")
    for name, layer in backbone_linears(model):
        trained = receiver.get_submodule(name).weight
        assert bool((layer.weight.dequantize() <= trained + 1e-6).all()), name
    clipped = qv.from_pretrained(receiver_folder, weights="int3-channel-half")
    for name, layer in backbone_linears(clipped):
        trained = receiver.get_submodule(name).weight
        step = 0.5 * trained.abs().amax(dim=1, keepdim=True) / 3
        assert torch.equal(layer.weight.dequantize(), (trained / step).round().clamp(-4, 3) * step), name
    merged = qv.merge([vector, 3 * vector], method="first")
    name = vector.names()[0]
    assert torch.equal(merged[name], vector[name])

    vector.save_pretrained(tmp_path / "halves", encoding="f16")
    halves, name = qv.QuantizationVector.from_pretrained(tmp_path / "halves"), "encoder.layer.1.output.dense.weight"
    assert halves.config.encoding.name == "f16"
    assert torch.equal(halves[name], vector[name].half().float())

    suite = a_suite(
        receivers=["shapes"],
        measure=[
            {"method": "ptq"},
            {"method": "ptq", "grids": ["int2-channel-half"]},
            {"method": "floor"},
            {"method": "proxy_floor"},
            {"method": "qvec", "donors": "others", "merge": "first", "scales": ["unit"]},
        ],
    )
    library, out = Library(tmp_path / "models"), tmp_path / "run"
    fill(library, suite)
    run_suite(suite, out, library.root)
    rows, context = [row for path in row_files([out]) for row in read_rows(path)], read_context([out])
    assert {row.method for row in rows} == {"ptq", "floor", "proxy_floor", "qvec"}
    text = write_report(rows, context, tmp_path / "report").markdown.read_text()
    for label in (
        "RTN on int2-channel-half",
        "floor (receiver's images)",
        "floor on proxy images",
        "first of others",
    ):
        assert label in text
    checks = verify(rows, context=context, suite=suite, library=library)  # by loading them, as everybody does
    assert len(checks) == 5
    assert all(check.reproduces for check in checks), [check.why for check in checks]


@pytest.mark.parametrize(
    ("decorator", "registry"),
    [
        ("encoding", ENCODINGS),
        ("scale_rule", SCALE_RULES),
        ("rounding", ROUNDINGS),
        ("merge_method", MERGE_METHODS),
    ],
)
def test_help_texts_name_what_the_registries_hold(decorator: str, registry: Registry) -> None:
    assert described(decorator) == {variant.name: variant.about for variant in registry}
    assert decorator in HOMES


def test_rows_know_the_same_controls() -> None:
    assert CONTROLS.names() == rows_room.CONTROLS


def test_names_are_taken_once_and_unknown_ones_are_listed() -> None:
    with pytest.raises(ValueError, match="registered already"):
        BASELINES.add(BASELINES.get("awq"))
    with pytest.raises(qv.QVecError, match="'gptq', 'awq', found 'best'"):
        BASELINES.get("best")
    with pytest.raises(qv.QVecError, match="found None"):
        ROUNDINGS.get(None)
