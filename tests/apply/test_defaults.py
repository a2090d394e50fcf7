"""What a load does where nothing but a width is asked for: scale, rounding and grid, against the single steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageClassification, ViTForImageClassification

import qvec_hub as qv
from qvec_hub import Grid
from qvec_hub.apply.treatment import BEST, FEW_BITS, codes_of
from qvec_hub.backbone.names import backbone_linears
from qvec_hub.grid.quantize import dequantize
from qvec_hub.layers.packed_linear import packed_layers
from qvec_hub.rounding.registry import ROUNDINGS

pytestmark = pytest.mark.usefixtures("quick_rounding")


def on_grid(vector: qv.QuantizationVector, grid: str) -> qv.QuantizationVector:
    return vector.with_config(grid=Grid.parse(grid))


def by_hub(folder: Path, **how: Any) -> ViTForImageClassification:
    return qv.from_pretrained(folder, **how)


def by_plugin(folder: Path, **how: Any) -> ViTForImageClassification:
    config = qv.QVecConfig(**how)
    return AutoModelForImageClassification.from_pretrained(folder, quantization_config=config, dtype=torch.float32)


both_ways = pytest.mark.parametrize("load", [by_hub, by_plugin])


def dequantized(model: ViTForImageClassification, grid: str, rounding: str) -> ViTForImageClassification:
    """A float model with the values of the codes that `rounding` finds, without a packed layer."""
    found = codes_of(model, Grid.parse(grid), rounding)
    for name, layer in backbone_linears(model):
        layer.weight.data = dequantize(*found[name], Grid.parse(grid))
    return model


def rounded(model: ViTForImageClassification, grid: str) -> ViTForImageClassification:
    """A float model with each weight at its nearest value of the grid."""
    for _, layer in backbone_linears(model):
        layer.weight.data = qv.fake_quantize(layer.weight.data, Grid.parse(grid))
    return model


def same_weights(loaded: ViTForImageClassification, expected: ViTForImageClassification) -> bool:
    wanted = dict(backbone_linears(expected))
    assert len(packed_layers(loaded)) == len(wanted)
    return all(
        torch.equal(loaded.get_submodule(name).weight.dequantize(), layer.weight) for name, layer in wanted.items()
    )


def how_of(model: ViTForImageClassification) -> tuple[Any, ...]:
    config = model.config.quantization_config
    return config.grid.name, config.rounding, config.scale, config.watched


def test_the_best_rounding_uses_images_and_serves_the_widths_that_lose_much() -> None:
    assert ROUNDINGS.get(BEST).needs_images
    assert FEW_BITS == 3


def test_what_people_read_names_it(qvec) -> None:
    """Its name stands in texts that cannot look it up; it changes in all of them or in none."""
    docs = Path(__file__).parents[2]
    page = (docs / "README.md").read_text(encoding="utf-8")
    assert page.count(f'| `"{BEST}"` on proxy images |') == 3
    assert f'the rounding is `"{BEST}"` by default' in (docs / "docs/usage.md").read_text(encoding="utf-8")
    assert f'Default: ``"{BEST}"`` at 2 and' in qv.QVecConfig.__doc__
    assert f'(``rounding="{BEST}"``)' in qv.from_pretrained.__doc__
    shown = " ".join(qvec("apply", "--help").stdout.replace("│", " ").split())
    assert f"Default: {BEST} at 2 and 3 bits where --scale is left out or auto, else nearest" in shown


@both_ways
@pytest.mark.parametrize("bits", [2, 3])
def test_no_vector(bits: int, load: Callable[..., Any], receiver_folder: Path, pixels) -> None:
    loaded = load(receiver_folder, weights=f"int{bits}")
    grid = f"int{bits}-channel-trellis"
    assert how_of(loaded) == (grid, BEST, 1.0, "proxies")
    expected = dequantized(qv.from_pretrained(receiver_folder), grid, BEST)
    assert same_weights(loaded, expected)
    assert torch.equal(loaded(pixels).logits, expected(pixels).logits)
    assert not same_weights(loaded, rounded(qv.from_pretrained(receiver_folder), grid))


def test_three_bits_are_the_width_by_default(receiver_folder: Path) -> None:
    assert how_of(by_plugin(receiver_folder)) == ("int3-channel-trellis", BEST, 1.0, "proxies")


@both_ways
@pytest.mark.parametrize("scale", [None, "auto"])
def test_one_vector(scale: str | None, load: Callable[..., Any], vector, receiver_folder: Path, pixels) -> None:
    """The scale is chosen; the grid is not the vector's own, which would lose more."""
    stages = set()
    how = {"weights": "int3", "scale": scale, "progress": lambda what, done, total: stages.add(what)}
    loaded = load(receiver_folder, vector=vector, **how)
    grid = "int3-channel-trellis"
    choice = qv.choose_scale(qv.from_pretrained(receiver_folder), vector, grid, rounding=BEST)
    assert how_of(loaded) == (grid, BEST, choice.scale, "proxies")
    assert loaded.config.quantization_config.scale_curve == [list(point) for point in choice.curve]
    patched = qv.patch_(qv.from_pretrained(receiver_folder), vector, choice.scale)
    expected = dequantized(patched, grid, BEST)
    assert same_weights(loaded, expected)
    assert torch.equal(loaded(pixels).logits, expected(pixels).logits)
    assert stages == {"choosing the scale", "rounding"}


@both_ways
def test_several_vectors(load: Callable[..., Any], vector, receiver_folder: Path) -> None:
    trained, grid = "int2-channel-mse-affine", "int2-channel-trellis"
    donors = [on_grid(vector, trained), on_grid(0.5 * vector, trained)]
    loaded = load(receiver_folder, vector=donors, weights="int2")
    merged = qv.merge(donors)
    choice = qv.choose_scale(qv.from_pretrained(receiver_folder), merged, grid, rounding=BEST)
    assert how_of(loaded) == (grid, BEST, choice.scale, "proxies")
    patched = qv.patch_(qv.from_pretrained(receiver_folder), merged, choice.scale)
    assert same_weights(loaded, dequantized(patched, grid, BEST))


@both_ways
@pytest.mark.parametrize(
    ("asked", "scale"),
    [({"scale": 1.0}, 1.0), ({"scale": 0}, 0.0), ({"scale": "recommended"}, 0.75), ({"rounding": "nearest"}, 0.75)],
    ids=str,
)
def test_a_scale_or_plain_rounding_is_the_published_method(
    asked: dict[str, Any], scale: float, load: Callable[..., Any], vector, receiver_folder: Path
) -> None:
    given = vector.with_config(scale=0.75)
    loaded = load(receiver_folder, vector=given, weights="int3", **asked)
    assert how_of(loaded) == ("int3-channel-absmax", "nearest", scale, None)
    patched = qv.patch_(qv.from_pretrained(receiver_folder), given, scale)
    assert same_weights(loaded, rounded(patched, "int3-channel-absmax"))


@both_ways
@pytest.mark.parametrize("several", [False, True])
def test_many_bits_are_plain(several: bool, load: Callable[..., Any], vector, receiver_folder: Path) -> None:
    loaded = load(receiver_folder, weights="int4")
    assert how_of(loaded) == ("int4-channel-absmax", "nearest", 1.0, None)
    assert same_weights(loaded, rounded(qv.from_pretrained(receiver_folder), "int4-channel-absmax"))
    given = on_grid(vector, "int4-channel-absmax")
    loaded = load(receiver_folder, vector=[given, given] if several else given, weights="int4")
    assert how_of(loaded) == ("int4-channel-absmax", "nearest", 1.0, None)
    patched = qv.patch_(qv.from_pretrained(receiver_folder), given, 1.0)
    assert same_weights(loaded, rounded(patched, "int4-channel-absmax"))


@both_ways
@pytest.mark.parametrize("bits", [2, 3])
def test_plain_rounding_of_a_bare_width_has_the_papers_grid(
    bits: int, load: Callable[..., Any], receiver_folder: Path
) -> None:
    loaded = load(receiver_folder, weights=f"int{bits}", rounding="nearest")
    grid = f"int{bits}-channel-absmax"
    assert how_of(loaded) == (grid, "nearest", 1.0, None)
    assert same_weights(loaded, rounded(qv.from_pretrained(receiver_folder), grid))


def test_a_rounding_with_images_brings_its_scale_and_grid(vector, receiver_folder: Path) -> None:
    four = by_hub(receiver_folder, weights="int4", rounding="gptq")
    assert how_of(four) == ("int4-channel-mse-affine", "gptq", 1.0, "proxies")
    one = by_hub(receiver_folder, vector=vector, weights="int3", rounding="gptq").config.quantization_config
    grid = Grid.parse("int3-channel-trellis")
    choice = qv.choose_scale(qv.from_pretrained(receiver_folder), vector, grid, rounding="gptq")
    assert (one.scale, one.grid) == (choice.scale, grid)


def test_a_full_name_or_a_grid_is_taken_as_it_is(vector, receiver_folder: Path) -> None:
    for weights in ("int3-channel-absmax", Grid(3)):
        assert how_of(by_hub(receiver_folder, weights=weights))[:2] == ("int3-channel-absmax", BEST)
    own = on_grid(vector, "int3-channel-mse")
    assert how_of(by_hub(receiver_folder, vector=own, weights="int3", rounding="nearest"))[0] == "int3-channel-mse"
    plain = {"vector": own, "rounding": "nearest"}
    with pytest.warns(UserWarning, match="trained on int3-channel-mse and is used on int2-channel-absmax"):
        by_hub(receiver_folder, weights="int2", **plain)
    with pytest.warns(UserWarning, match="trained on int3-channel-mse and is used on int3-channel-absmax"):
        by_hub(receiver_folder, weights=Grid(3), **plain)


def test_auto_can_be_had_with_plain_rounding(vector, receiver_folder: Path) -> None:
    how = {"vector": vector, "weights": "int3", "scale": "auto", "rounding": "nearest"}
    config = by_hub(receiver_folder, **how).config.quantization_config
    assert (config.rounding, config.watched) == ("nearest", "proxies")
    choice = qv.choose_scale(qv.from_pretrained(receiver_folder), vector, Grid(3))
    assert config.scale_curve == [list(point) for point in choice.curve]


def test_quantize_is_plain_unless_it_is_asked(receiver, receiver_folder: Path) -> None:
    assert same_weights(qv.quantize_(receiver, "int3"), rounded(qv.from_pretrained(receiver_folder), "int3"))


def test_own_images_instead_of_proxy_images(receiver_folder: Path, pixels) -> None:
    loaded = by_hub(receiver_folder, weights="int2", images=pixels)
    assert how_of(loaded) == ("int2-channel-trellis", BEST, 1.0, "own_images")


def test_images_that_nothing_is_found_with_are_told(receiver, receiver_folder: Path, pixels) -> None:
    unused = r"^images: expected .* found rounding 'nearest' to int\d.*; they are not used\. Pass rounding='fitted'"
    with pytest.warns(UserWarning, match=unused):
        four = by_hub(receiver_folder, weights="int4", images=pixels)
    assert how_of(four) == ("int4-channel-absmax", "nearest", 1.0, None)
    with pytest.warns(UserWarning, match=unused):
        qv.quantize_(receiver, "int3", images=pixels)
