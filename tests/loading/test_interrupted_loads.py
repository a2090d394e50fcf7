"""What a load leaves behind: the caller's memory as it was, no thread, no setting; and nothing silently left out."""

import copy
import json
import threading
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoModelForImageClassification,
    BeitConfig,
    BeitForImageClassification,
    ViTForImageClassification,
)

import qvec_hub as qv
from qvec_hub.layers.packed_linear import PackedLinear
from qvec_hub.training.start import starting_model
from qvec_hub.util import page_release
from qvec_hub.util.threads import Workers
from tests.conftest import fine_tuned, tiny_config

WIDE = {"hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 1}  # weights of a megabyte and more
TENSOR = "vit.encoder.layer.0.intermediate.dense.weight"


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """Folders of a receiver ("r"), also pickled ("r/model.bin"), and of a vector for it ("v")."""
    folder = tmp_path_factory.mktemp("wide")
    torch.manual_seed(0)
    model = ViTForImageClassification(tiny_config(**WIDE)).eval()
    model.save_pretrained(folder / "r")
    torch.save(load_file(folder / "r" / "model.safetensors"), folder / "r" / "model.bin")
    vector = qv.QuantizationVector.extract(model, fine_tuned(model, 0.001, 1), model, grid="int8")
    vector.save_pretrained(folder / "v")
    return folder


def from_numpy(folder: Path) -> dict[str, torch.Tensor]:
    """Tensors in a memory-mapped array of the caller's, one after the other."""
    tensors = load_file(folder / "model.safetensors")
    path = folder / "all.bin"
    path.write_bytes(b"".join(tensor.contiguous().numpy().tobytes() for tensor in tensors.values()))
    flat = torch.from_numpy(np.memmap(path, dtype=np.float32, mode="c"))
    parts = flat.split([tensor.numel() for tensor in tensors.values()])
    return {name: part.view(tensors[name].shape) for name, part in zip(tensors, parts, strict=True)}


MAPPED = {
    "safetensors": lambda folder: load_file(folder / "model.safetensors"),
    "torch.load": lambda folder: torch.load(folder / "model.bin", mmap=True),
    "numpy": from_numpy,
}


@pytest.mark.parametrize(("origin", "rounding"), [*((origin, "nearest") for origin in MAPPED), ("safetensors", "gptq")])
def test_tensors_of_the_callers_keep_their_edits(origin: str, rounding: str, wide: Path, quick_rounding) -> None:
    state = MAPPED[origin](wide / "r")
    before = state[TENSOR].clone()
    state[TENSOR].mul_(3.0)
    vector = qv.QuantizationVector.from_pretrained(wide / "v")
    delta = vector["encoder.layer.0.output.dense.weight"]
    delta.add_(1.0)
    edited = delta.clone()

    def load(vector):
        quantization = qv.QVecConfig(vector, "int8", 0.0, check_lineage=False, rounding=rounding)
        return ViTForImageClassification.from_pretrained(
            None, config=tiny_config(**WIDE), state_dict=state, quantization_config=quantization
        )

    first, second = load(vector), load(None)
    assert torch.equal(state[TENSOR], 3.0 * before)
    assert torch.equal(delta, edited)
    for model in (first, second):
        found = model.vit.layers[0].mlp.fc1.weight.dequantize()
        assert float((found - 3.0 * before).abs().max()) < 0.05 * float(before.abs().max())


@pytest.fixture
def released(monkeypatch) -> list[int]:
    """The sizes of what was given back to the system; it is, too."""
    sizes: list[int] = []
    real = page_release._madvise

    def watched():
        advise = real()
        return lambda start, size, advice: (sizes.append(size), advise(start, size, advice))[1]

    monkeypatch.setattr(page_release, "_madvise", watched)
    return sizes


@pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="needs Linux")
def test_pages_of_this_loads_own_files_are_given_back(wide: Path, released: list[int]) -> None:
    model = qv.from_pretrained(wide / "r", vector=wide / "v", weights="int8")
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    weights = sum(4 * layer.in_features * layer.out_features for layer in layers)
    assert sum(released) > 1.8 * weights  # the receiver's and the vector's, up to a page at each end
    released.clear()
    qv.from_pretrained(wide / "r", vector=qv.QuantizationVector.from_pretrained(wide / "v"), weights="int8")
    assert 0.9 * weights < sum(released) < 1.1 * weights  # a vector of the caller's is left alone


@pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="needs Linux")
def test_a_page_that_was_written_to_is_kept(wide: Path, released: list[int]) -> None:
    path = wide / "r" / "model.safetensors"
    state, release = load_file(path), page_release.PageRelease([path])
    state[TENSOR][500] = 7.0
    release(state[TENSOR])
    assert not released
    other = state["vit.encoder.layer.0.output.dense.weight"]
    expected = other.clone()
    release(other)
    assert len(released) == 1
    assert torch.equal(other, expected)
    assert float(state[TENSOR][500].min()) == 7.0


def threads_of_a_new_thread() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def nothing_is_left() -> None:
    end = time.monotonic() + 5
    while [thread for thread in threading.enumerate() if thread.name.startswith("qvec")]:
        assert time.monotonic() < end, "a worker is alive"
        time.sleep(0.01)
    assert torch.get_num_threads() == 3
    assert threads_of_a_new_thread() == 3


def by_hub(folder: Path, rounding: str = "nearest"):
    return qv.from_pretrained(folder, weights="int3", rounding=rounding)


def by_plugin(folder: Path, rounding: str = "nearest"):
    return AutoModelForImageClassification.from_pretrained(
        folder, quantization_config=qv.QVecConfig(weights="int3", rounding=rounding)
    )


# Where a load can be ended: whose method, and the call of it that fails.
MOMENTS = {
    "streaming: a weight arrives": ("qvec_hub.loading.streaming.WeightStream.receive", 3, {}),
    "streaming: a worker packs": ("qvec_hub.loading.streaming.pack_weight", 3, {}),
    "streaming: a layer is filled": ("qvec_hub.layers.packed_linear.PackedLinear.hold", 2, {}),
    "streaming: the end": ("qvec_hub.loading.streaming.WeightStream.finish", 1, {}),
    "transformers: a tensor is set": ("transformers.core_model_loading.set_param_for_module", 6, {}),
    "transformers: after the weights": ("transformers.PreTrainedModel.mark_tied_weights_as_initialized", 1, {}),
    "deferred: a weight arrives": ("qvec_hub.loading.deferred.DeferredLoad.receive", 3, {"rounding": "gptq"}),
    "deferred: rounding": ("qvec_hub.rounding.methods.gptq.round_matrix", 2, {"rounding": "gptq"}),
    "deferred: packing": ("qvec_hub.loading.deferred.pack", 2, {"rounding": "gptq"}),
}


@pytest.mark.parametrize("load", [by_hub, by_plugin])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("moment", MOMENTS)
def test_whatever_ends_a_load_no_thread_and_no_setting_stays(
    moment: str, error: type, load, receiver_folder: Path, three_threads, monkeypatch, quick_rounding
) -> None:
    place, which, how = MOMENTS[moment]
    owner, _, name = place.rpartition(".")
    module, _, kind = owner.rpartition(".")
    holder = import_module(owner if kind.islower() else module)
    holder = holder if kind.islower() else getattr(holder, kind)
    real, calls = getattr(holder, name), []

    def failing(*args, **kwargs):
        calls.append(name)
        if len(calls) == which:
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(holder, name, failing)
    with pytest.raises((error, qv.QVecError)):
        load(receiver_folder, **how)
    assert len(calls) >= which
    nothing_is_left()
    monkeypatch.undo()
    load(receiver_folder, **how)  # and the next load is as good as any
    nothing_is_left()


def test_a_finished_load_leaves_the_settings_alone(receiver_folder: Path, vector, three_threads) -> None:
    qv.from_pretrained(receiver_folder, vector=vector, weights="int3", rounding="nearest")
    nothing_is_left()


def test_workers_compute_alone_and_end(three_threads) -> None:
    workers: Workers[int] = Workers(2, "qvec")
    assert {workers.submit(torch.get_num_threads).result() for _ in range(8)} == {1}
    nothing_is_left()  # the second worker may be starting still, and sets the default for that moment
    assert threads_of_a_new_thread() == 3
    assert workers.submit(max, 2, 5).result() == 5  # started anew
    with pytest.raises(ZeroDivisionError):
        workers.submit(divmod, 1, 0).result()
    started, hold = threading.Event(), threading.Event()
    busy = [workers.submit(lambda: started.set() or hold.wait()) for _ in range(2)]
    waiting = workers.submit(max, 1, 2)
    started.wait()
    threading.Timer(0.05, hold.set).start()
    workers.close()
    assert waiting.cancelled()
    assert all(each.done() for each in busy)
    nothing_is_left()


@pytest.mark.parametrize("rounding", ["nearest", "gptq"])
def test_quantize_interrupted_changes_nothing(rounding: str, receiver, pixels, monkeypatch, quick_rounding) -> None:
    before = copy.deepcopy(receiver)
    modules = dict(receiver.named_modules())
    for place, which in [("qvec_hub.layers.packed_linear.PackedLinear.hold", 3), ("torch.nn.Module.set_submodule", 4)]:
        calls = []

        def failing(*args, real=(PackedLinear.hold if "hold" in place else nn.Module.set_submodule),
                    calls=calls, which=which, **kwargs):  # fmt: skip
            calls.append(1)
            if len(calls) == which:
                raise KeyboardInterrupt
            return real(*args, **kwargs)

        with monkeypatch.context() as patched:
            patched.setattr(place, failing)
            images = pixels if rounding != "nearest" else None
            with pytest.raises(KeyboardInterrupt):
                qv.quantize_(receiver, "int3", rounding=rounding, images=images)
        assert dict(receiver.named_modules()) == modules
        after = receiver.state_dict()
        assert all(torch.equal(tensor, after[name]) for name, tensor in before.state_dict().items())
        assert not hasattr(receiver.config, "quantization_config")


def rewritten(folder: Path, change) -> None:
    """The checkpoint with other tensors."""
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def four_layers(tensors):
    """As of a model with twice the layers."""
    more = {name.replace("layer.", "layer.1"): tensor.clone() for name, tensor in tensors.items() if "layer." in name}
    return tensors | {name.replace("layer.10", "layer.2").replace("layer.11", "layer.3"): t for name, t in more.items()}


def bare(tensors):
    return {name.removeprefix("vit."): tensor for name, tensor in tensors.items()}


def adding(*names: str):
    return lambda tensors: tensors | {name: torch.ones(3) for name in names}


TOO_MUCH = {
    "more layers": four_layers,
    "more layers, bare": lambda tensors: bare(four_layers(tensors)),
    "a bias the config denies": adding("vit.encoder.layer.0.attention.attention.query.extra"),
    "another token": adding("vit.embeddings.distillation_token"),
    "another token, bare": lambda tensors: bare(adding("vit.embeddings.distillation_token")(tensors)),
    "an adapter": adding("vit.encoder.layer.1.output.dense.lora_A.default.weight"),
    "a norm of another kind of model": adding("vit.pre_layernorm.weight"),
}
LEFT_OVER = {
    "a pooler": adding("vit.pooler.dense.weight", "vit.pooler.dense.bias"),
    "a pooler, bare": lambda tensors: bare(adding("vit.pooler.dense.weight")(tensors)),
    "a token of pretraining": adding("vit.embeddings.mask_token"),
    "constants": adding("vit.encoder.layer.0.attention.attention.relative_position_index", "vit.position_ids"),
    "other heads": adding("head.weight", "cls_classifier.bias", "lm_head.weight", "decoder.0.weight", "fc_norm.bias"),
    "a decoder of pretraining": adding("decoder.decoder_layers.0.output.dense.weight"),
}


def every_way_in(folder: Path, out: Path):
    yield "qv float", lambda: qv.from_pretrained(folder)
    yield "qv", lambda: by_hub(folder)
    yield "qv deferred", lambda: by_hub(folder, rounding="gptq")
    yield "plugin", lambda: by_plugin(folder)
    yield "train", lambda: starting_model(folder, list("abcde"), seed=0)
    yield "extract", lambda: qv.QuantizationVector.extract(folder, out)


@pytest.mark.parametrize("what", TOO_MUCH)
def test_backbone_weights_that_find_no_place_are_an_error(
    what: str, receiver_folder: Path, qat, quick_rounding, tmp_path: Path
) -> None:
    rewritten(receiver_folder, TOO_MUCH[what])
    qat.save_pretrained(tmp_path / "qat")
    for _, load in every_way_in(receiver_folder, tmp_path / "qat"):
        with pytest.raises(qv.ArtifactError, match=r"find no place.*would be left out"):
            load()


@pytest.mark.parametrize("what", LEFT_OVER)
def test_what_a_classifier_does_not_need_may_be_left_over(
    what: str, receiver_folder: Path, receiver, qat, pixels, quick_rounding, tmp_path: Path
) -> None:
    rewritten(receiver_folder, LEFT_OVER[what])
    qat.save_pretrained(tmp_path / "qat")
    for name, load in every_way_in(receiver_folder, tmp_path / "qat"):
        loaded = load()
        if name == "qv float":
            assert torch.equal(loaded(pixels).logits, receiver(pixels).logits)


def test_an_older_beit_checkpoint_keeps_its_constants(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 28}
    config = BeitConfig(**sizes, image_size=16, patch_size=4, use_relative_position_bias=True)
    BeitForImageClassification(config).save_pretrained(tmp_path)
    index = "beit.encoder.layer.0.attention.attention.relative_position_bias.relative_position_index"
    rewritten(tmp_path, lambda tensors: tensors | {index: torch.zeros(17, 17, dtype=torch.int64)})
    by_hub(tmp_path)
    by_plugin(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "use_relative_position_bias": False}))
    for load in (by_hub, by_plugin):
        with pytest.raises(qv.ArtifactError, match=r"find no place.*relative_position_bias_table"):
            load(tmp_path)


@pytest.mark.parametrize(
    "part", ["layer.1.output.dense.weight_packed", "layer.0.output.dense.weight_scale", "cls_token"]
)
def test_a_quantized_model_and_its_files_belong_together(part: str, receiver_folder: Path, tmp_path: Path) -> None:
    by_hub(receiver_folder).save_pretrained(tmp_path / "q")
    rewritten(tmp_path / "q", lambda tensors: {name: t for name, t in tensors.items() if part not in name})
    with pytest.raises(qv.ArtifactError, match="random"):
        AutoModelForImageClassification.from_pretrained(tmp_path / "q")
    by_hub(receiver_folder).save_pretrained(tmp_path / "q")
    rewritten(tmp_path / "q", four_layers)
    for load in (AutoModelForImageClassification.from_pretrained, qv.from_pretrained):
        with pytest.raises(qv.ArtifactError, match="find no place"):
            load(tmp_path / "q")


def test_a_new_head_is_still_possible(receiver_folder: Path, tmp_path: Path) -> None:
    quantization = qv.QVecConfig(weights="int3", rounding="nearest")
    model = AutoModelForImageClassification.from_pretrained(
        receiver_folder, quantization_config=quantization, num_labels=9, ignore_mismatched_sizes=True
    )
    assert model.classifier.out_features == 9
