"""A packed weight can be read by everybody and changed by nobody; what is saved and loaded keeps its float32 scales."""

import copy
import io
import pickle
from functools import partial
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm
from transformers import AutoModelForImageClassification, ViTImageProcessor, pipeline

import qvec_hub as qv
from qvec_hub.backbone.names import backbone_linears
from qvec_hub.layers.packed_linear import packed_layers, swap_linears_


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


def add_in_place(layer):
    layer.weight += 1


def set_one(weight):
    weight[0, 0] = 5.0


# On a frozen layer (and its float values); the ways of adapters, pruning, initialization and editing.
CHANGES = {
    "add_": lambda layer, v: layer.weight.add_(1),
    "copy_": lambda layer, v: layer.weight.copy_(v),
    "clamp_": lambda layer, v: torch.clamp_(layer.weight, 0, 1),
    "foreach": lambda layer, v: torch._foreach_add_([layer.weight], 1.0),
    "out": lambda layer, v: torch.add(v, 1, out=layer.weight),
    "data": lambda layer, v: setattr(layer.weight, "data", v),
    "data.add_": lambda layer, v: layer.weight.data.add_(1),
    "+=": lambda layer, v: add_in_place(layer),
    "an element": lambda layer, v: set_one(layer.weight),
    "an element of data": lambda layer, v: set_one(layer.weight.data),
    "a row": lambda layer, v: layer.weight[0].zero_(),
    "a row, out": lambda layer, v: torch.add(v[0], 1, out=layer.weight[0]),
    "an element of a row": lambda layer, v: layer.weight[0].__setitem__(0, 5.0),
    "each row": lambda layer, v: [row.mul_(2) for row in layer.weight],
    "a view": lambda layer, v: layer.weight.view(-1)[3:5].fill_(0),
    "the transpose": lambda layer, v: layer.weight.T.add_(1),
    "a chunk": lambda layer, v: layer.weight.chunk(2)[0].data.mul_(2),
    "init": lambda layer, v: nn.init.normal_(layer.weight),
    "init of a row": lambda layer, v: nn.init.zeros_(layer.weight[:2]),
    "parametrize": lambda layer, v: parametrize.register_parametrization(layer, "weight", Doubled()),
    "weight norm": lambda layer, v: parametrizations.weight_norm(layer),
    "old weight norm": lambda layer, v: weight_norm(layer),
    "spectral norm": lambda layer, v: parametrizations.spectral_norm(layer),
    "old spectral norm": lambda layer, v: spectral_norm(layer),
    "prune": lambda layer, v: prune.l1_unstructured(layer, "weight", 0.3),
    "another parameter": lambda layer, v: setattr(layer, "weight", nn.Parameter(v)),
    "another tensor": lambda layer, v: setattr(layer, "weight", v),
    "no weight": lambda layer, v: delattr(layer, "weight"),
    "register": lambda layer, v: layer.register_parameter("weight", nn.Parameter(v)),
    "functional": lambda layer, v: torch.func.functional_call(layer, {"weight": v}, (v,)),
    "load": lambda layer, v: layer.load_state_dict({"weight": v, "bias": layer.bias}, strict=False),
}


@pytest.fixture
def quantized(receiver):
    return qv.quantize_(receiver, "int3")


def content(model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def unchanged(model, before: dict[str, torch.Tensor]) -> bool:
    after = model.state_dict()
    return list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("change", CHANGES)
def test_a_packed_weight_refuses_changes(change: str, quantized, pixels) -> None:
    layer, before, logits = quantized.vit.layers[0].mlp.fc1, content(quantized), quantized(pixels).logits
    with torch.no_grad(), pytest.raises(qv.QVecError, match=r"is packed.*float model.*then quantize"):
        CHANGES[change](layer, layer.weight.dequantize())
    assert unchanged(quantized, before)
    assert not hasattr(layer, "parametrizations")
    assert torch.equal(quantized(pixels).logits, logits)


READINGS = {
    "clone": lambda w: w.clone().add_(1),
    "a row": lambda w: w[0] + 1,
    "rows": lambda w: torch.stack([row.sum() for row in w]),
    "a row as an array": lambda w: torch.from_numpy(w[0].numpy().copy()),
    "product": lambda w: w.T @ w,
    "linear": lambda w: nn.functional.linear(torch.ones(2, w.shape[1]), w),
    "sum of chunks": lambda w: w.chunk(2)[0] + w.chunk(2)[1],
    "contiguous transpose": lambda w: w.T.contiguous().add_(1),
    "a copy of a view": lambda w: w.reshape(-1)[:5].clone().zero_(),
    "data": lambda w: w.data.abs().amax(dim=1),
    "half": lambda w: w.to(torch.float16).mul_(2),
    "copied from": lambda w: torch.empty(w.shape).copy_(w),
    "a row copied from": lambda w: torch.empty(w.shape[1]).copy_(w[0]),
    "quantile": lambda w: w.flatten().quantile(0.5),
    "an element": lambda w: torch.tensor(w[1, 2].item()),
}


@pytest.mark.parametrize("reading", READINGS)
def test_a_packed_weight_is_read_like_any_other(reading: str, quantized) -> None:
    weight = quantized.vit.layers[0].mlp.fc1.weight
    assert torch.equal(READINGS[reading](weight), READINGS[reading](weight.dequantize()))


@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.filterwarnings("ignore:Merge")
def test_an_adapter_trains_beside_a_packed_model_and_is_never_merged_into_it(safe: bool, quantized, pixels) -> None:
    before = content(quantized)
    logits = quantized(pixels).logits
    wanted = LoraConfig(target_modules=["q_proj", "fc1"], r=2, init_lora_weights=False)
    adapted = get_peft_model(copy.deepcopy(quantized), wanted)
    adapted(pixel_values=pixels).logits.sum().backward()
    assert any(p.grad is not None and bool(p.grad.any()) for n, p in adapted.named_parameters() if "lora_B" in n)
    with_adapter = adapted(pixel_values=pixels).logits
    assert not torch.allclose(with_adapter, logits)
    for merge in (partial(adapted.merge_and_unload, safe_merge=safe), adapted.merge_adapter):
        with pytest.raises(qv.QVecError, match="merge adapters"):
            merge()
        assert torch.equal(adapted(pixel_values=pixels).logits, with_adapter)
    assert unchanged(adapted.unload(), before)


def of_grid(other: str):
    return lambda model, float_model: qv.quantize_(copy.deepcopy(float_model), other).state_dict()


def rounded_scales(model, float_model):
    return {name: t.bfloat16() if t.is_floating_point() else t for name, t in model.state_dict().items()}


STATES = {
    "float": lambda model, float_model: float_model.state_dict(),
    "int2": of_grid("int2"),
    "affine": of_grid("int3-channel-absmax-affine"),
    "groups": of_grid("int3-group10"),
    "rounded": rounded_scales,
}


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("state", STATES)
def test_state_dicts_of_another_kind_are_refused_as_a_whole(state: str, assign: bool, receiver) -> None:
    other = copy.deepcopy(receiver)
    with torch.no_grad():
        other.vit.embeddings.cls_token.add_(1.0)
    model = qv.quantize_(copy.deepcopy(receiver), "int3")
    before, tensors = content(model), STATES[state](model, other)
    wrapped = nn.Sequential(model)
    for load in (
        model.load_state_dict,
        lambda t, **how: wrapped.load_state_dict({f"0.{n}": x for n, x in t.items()}, **how),
    ):
        with pytest.raises(qv.QVecError, match="load_state_dict"):
            load(tensors, strict=False, assign=assign)
    assert unchanged(model, before)


def swapped(float_model):
    swap_linears_(float_model, qv.Grid(3))
    return float_model


@pytest.mark.parametrize("fresh", [swapped, lambda float_model: qv.quantize_(float_model, "int3")])
@pytest.mark.parametrize("assign", [False, True])
def test_state_dicts_of_the_same_grid_are_loaded(fresh, assign: bool, receiver, qat, pixels) -> None:
    model = qv.quantize_(copy.deepcopy(receiver), "int3")
    other = fresh(copy.deepcopy(qat))
    other.load_state_dict(model.state_dict(), assign=assign)
    assert torch.equal(other(pixels).logits, model(pixels).logits)


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LOADS = {
    "nothing said": lambda folder, dtype: AutoModelForImageClassification.from_pretrained(folder),
    "qv": lambda folder, dtype: qv.from_pretrained(folder),
    "dtype": lambda folder, dtype: AutoModelForImageClassification.from_pretrained(folder, dtype=dtype),
    "its name": lambda folder, dtype: AutoModelForImageClassification.from_pretrained(folder, dtype=str(dtype)[6:]),
    "auto": lambda folder, dtype: AutoModelForImageClassification.from_pretrained(folder, dtype="auto"),
    "qv dtype": lambda folder, dtype: qv.from_pretrained(folder, dtype=dtype),
    "device_map": lambda folder, dtype: qv.from_pretrained(folder, dtype=dtype, device_map="cpu"),
    "pipeline": lambda folder, dtype: (
        pipeline("image-classification", model=str(folder), image_processor=ViTImageProcessor(), dtype=dtype).model
    ),
}


@pytest.mark.parametrize("loading", LOADS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_reload_in_the_same_dtype_is_the_same_to_the_bit(
    dtype: str, loading: str, receiver, pixels, tmp_path: Path
) -> None:
    receiver.to(DTYPES[dtype]).save_pretrained(tmp_path / "r")
    model = qv.from_pretrained(tmp_path / "r", weights="int8-channel-mse-affine")
    model.save_pretrained(tmp_path / "q")
    again = LOADS[loading](tmp_path / "q", DTYPES[dtype])
    assert again.dtype == model.dtype == DTYPES[dtype]
    for ours, theirs in zip(packed_layers(again), packed_layers(model), strict=True):
        for name in ("weight_scale", "weight_shift"):
            assert getattr(ours, name).dtype == torch.float32
            assert torch.equal(getattr(ours, name), getattr(theirs, name))
    with torch.inference_mode():
        assert torch.equal(again(pixels.to(again.dtype)).logits, model(pixels.to(model.dtype)).logits)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_reload_in_another_dtype_is_a_cast(dtype: str, receiver, pixels, tmp_path: Path) -> None:
    model = qv.quantize_(copy.deepcopy(receiver), "int3")
    model.save_pretrained(tmp_path / "q")
    pixels = pixels.to(DTYPES[dtype])
    expected = model.to(DTYPES[dtype])(pixels).logits
    for load in (qv.from_pretrained, AutoModelForImageClassification.from_pretrained):
        again = load(tmp_path / "q", dtype=DTYPES[dtype])
        assert torch.equal(again(pixels).logits, expected)
        again.save_pretrained(tmp_path / "again")
        assert torch.equal(load(tmp_path / "again")(pixels).logits, expected)
        back = load(tmp_path / "again", dtype=torch.float32)  # what the grid says is still all there
        for name, layer in backbone_linears(receiver):
            assert torch.equal(back.get_submodule(name).weight.dequantize(), qv.fake_quantize(layer.weight, qv.Grid(3)))


def in_a_new_process(model, pixels, answer) -> None:
    with torch.inference_mode():
        answer.put(model(pixels).logits.tolist())


def sent(model):
    return pickle.loads(pickle.dumps(model))


def stored(model):
    buffer = io.BytesIO()
    torch.save(model, buffer)
    return torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, sent, stored])
@pytest.mark.parametrize("made", ["quantized", "loaded", "loaded again"])
def test_copies_are_whole_and_refuse_changes_as_well(
    copied, made: str, receiver_folder: Path, receiver, pixels, tmp_path: Path
) -> None:
    model = (
        qv.quantize_(receiver, "int3")
        if made == "quantized"
        else qv.from_pretrained(receiver_folder, weights="int3", rounding="nearest")
    )
    if made == "loaded again":
        model.save_pretrained(tmp_path / "q")
        model = AutoModelForImageClassification.from_pretrained(tmp_path / "q")
    model.vit.layers[0].mlp.fc1.register_forward_hook(print_nothing)
    other = copied(model)
    assert torch.equal(other(pixels).logits, model(pixels).logits)
    with torch.no_grad(), pytest.raises(qv.QVecError, match="is packed"):
        other.vit.layers[0].mlp.fc1.weight.add_(1)
    with pytest.raises(qv.QVecError, match="load_state_dict"):
        other.load_state_dict({"vit.layers.0.mlp.fc1.weight": torch.zeros(56, 32)}, strict=False)
    other.save_pretrained(tmp_path / "o")
    assert torch.equal(qv.from_pretrained(tmp_path / "o")(pixels).logits, model(pixels).logits)


def print_nothing(*_) -> None:
    """A hook that can be pickled."""


def test_a_model_goes_to_another_process(quantized, pixels) -> None:
    spawn = torch.multiprocessing.get_context("spawn")
    answer = spawn.Queue()
    worker = spawn.Process(target=in_a_new_process, args=(quantized, pixels, answer))
    worker.start()
    found = torch.tensor(answer.get(timeout=120))
    worker.join()
    assert torch.allclose(found, quantized(pixels).logits, atol=1e-6)


def test_saving_over_the_folder_it_was_loaded_from(receiver_folder: Path, pixels, tmp_path: Path) -> None:
    qv.from_pretrained(receiver_folder, weights="int3", rounding="nearest").save_pretrained(tmp_path)
    model = qv.from_pretrained(tmp_path)
    expected = model(pixels).logits
    model.save_pretrained(tmp_path)
    assert torch.equal(model(pixels).logits, expected)
    assert torch.equal(qv.from_pretrained(tmp_path)(pixels).logits, expected)


def hooked(model):
    model.seen = []
    model.handle = model.vit.layers[0].mlp.fc1.register_forward_hook(lambda m, a, out: model.seen.append(out.shape))
    model.vit.layers[1].mlp.fc2.register_forward_pre_hook(lambda m, a: (2 * a[0],))


def share_weights(model):
    model.vit.layers[1].mlp.fc1.weight = model.vit.layers[0].mlp.fc1.weight


def share_a_layer(model):
    model.vit.layers[1].mlp.fc1 = model.vit.layers[0].mlp.fc1


# What a float model may have, and quantize_ keeps.
KEPT = {
    "hooks": hooked,
    "shared weights": share_weights,
    "a shared layer": share_a_layer,
    "frozen": lambda model: model.requires_grad_(False),
    "train mode": lambda model: model.train(),
}


@pytest.mark.parametrize("what", KEPT)
def test_what_layers_carry_is_kept(what: str, receiver, pixels) -> None:
    KEPT[what](receiver)
    by_hand = copy.deepcopy(receiver)
    for _, layer in backbone_linears(by_hand):
        layer.weight.data = qv.fake_quantize(layer.weight, qv.Grid(3))
    expected = by_hand.eval()(pixels).logits
    model = qv.quantize_(receiver, "int3")
    assert all(layer.training == (what == "train mode") for layer in packed_layers(model))
    assert {p.requires_grad for p in model.parameters()} == {what != "frozen"}
    linears = [m for _, m in model.vit.named_modules(remove_duplicate=False) if isinstance(m, nn.Linear)]
    assert all(getattr(layer, "frozen", False) for layer in linears)
    seen = len(getattr(model, "seen", ()))
    assert torch.equal(model.eval()(pixels).logits, expected)
    if what == "hooks":
        assert len(model.seen) == seen + 1
        model.handle.remove()
        model(pixels)
        assert len(model.seen) == seen + 1


def accelerated(model):
    model.vit.layers[0].mlp.fc1.forward = lambda x: x


REFUSED = {
    "a parametrization": lambda model: parametrize.register_parametrization(
        model.vit.layers[0].mlp.fc1, "weight", Doubled()
    ),
    "pruning": lambda model: prune.l1_unstructured(model.vit.layers[0].mlp.fc1, "weight", 0.3),
    "another forward": accelerated,
}


@pytest.mark.parametrize("rounding", ["nearest", "gptq"])
@pytest.mark.parametrize("what", REFUSED)
def test_what_would_be_lost_is_refused(what: str, rounding: str, receiver, pixels) -> None:
    REFUSED[what](receiver)
    before, modules = content(receiver), dict(receiver.named_modules())
    with pytest.raises(qv.MisfitError, match=r"vit\.layers\.0\.mlp\.fc1: its"):
        qv.quantize_(receiver, "int3", rounding=rounding, images=pixels if rounding != "nearest" else None)
    assert unchanged(receiver, before)
    assert dict(receiver.named_modules()) == modules


@pytest.mark.parametrize("share", [share_weights, share_a_layer])
def test_a_vector_is_not_added_twice_to_shared_weights(share, receiver, vector) -> None:
    share(receiver)
    before = content(receiver)
    with pytest.raises(qv.MisfitError, match="shares its memory"):
        qv.patch_(receiver, vector)
    with pytest.raises(qv.MisfitError, match="shares its memory"):
        qv.choose_scale(receiver, vector, "int3")
    assert unchanged(receiver, before)
