"""What people pass to `QuantizationVector.extract`: the plain difference of state dicts, or one error that says why."""

import copy
import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.utils import parametrizations
from transformers import ViTForImageClassification

import qvec_hub as qv
from tests.conftest import fine_tuned, tiny_config


@pytest.fixture
def folders(finetuned, qat, tmp_path):
    """Checkpoints as people have them, by name."""
    made = {
        name: tmp_path / name for name in ("fp", "qat", "shards", "bin", "empty", "adapter", "quantized", "damaged")
    }
    finetuned.save_pretrained(made["fp"])
    qat.save_pretrained(made["qat"])
    qat.save_pretrained(made["shards"], max_shard_size="20KB")
    made["empty"].mkdir()
    made["bin"].mkdir()
    shutil.copy(made["qat"] / "config.json", made["bin"])
    torch.save(qat.state_dict(), made["bin"] / "pytorch_model.bin")
    adapted(qat).save_pretrained(made["adapter"])
    qv.from_pretrained(made["qat"], weights="int3", rounding="nearest").save_pretrained(made["quantized"])
    shutil.copytree(made["qat"], made["damaged"])
    weights = made["damaged"] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    return made


def adapted(model):
    return get_peft_model(copy.deepcopy(model), LoraConfig(target_modules=["q_proj", "v_proj"]))


def changed(model, change):
    model = copy.deepcopy(model)
    change(model)
    return model


def edited(folder, other):
    model = ViTForImageClassification.from_pretrained(folder)
    model.load_state_dict(other.state_dict())
    return model


def with_nine_classes(model):
    model.classifier = torch.nn.Linear(32, 9)


def tied(model):
    model.vit.layers[1].mlp.fc1.weight = model.vit.layers[0].mlp.fc1.weight


def transposed(model):
    weight = model.vit.layers[0].mlp.fc1.weight
    weight.data = weight.data.t().contiguous().t()


RIGHT = {
    "folders": lambda f, q, d: (d["fp"], d["qat"]),
    "names of folders": lambda f, q, d: (str(d["fp"]), str(d["qat"])),
    "an object and a folder": lambda f, q, d: (f, d["qat"]),
    "shards": lambda f, q, d: (d["fp"], d["shards"]),
    "bare backbones": lambda f, q, d: (f.vit, q.vit),
    "DataParallel": lambda f, q, d: (torch.nn.DataParallel(f), torch.nn.DataParallel(q)),
    "compiled": lambda f, q, d: (torch.compile(f), torch.compile(q)),
    "prepared for QAT": lambda f, q, d: (f, qv.prepare_qat_(copy.deepcopy(q), "int3")),
    "edited after loading": lambda f, q, d: (f, edited(d["fp"], q)),
    "a merged adapter": lambda f, q, d: (f, adapted(q).merge_and_unload()),
    "another number of classes": lambda f, q, d: (f, changed(q, with_nine_classes)),
    "NaN in the head alone": lambda f, q, d: (f, changed(q, lambda m: m.classifier.weight.data.fill_(torch.nan))),
    "tied weights": lambda f, q, d: (f, changed(q, tied)),
    "not contiguous": lambda f, q, d: (f, changed(q, transposed)),
    "bfloat16": lambda f, q, d: (copy.deepcopy(f).bfloat16(), copy.deepcopy(q).bfloat16()),
}  # fmt: skip


@pytest.mark.parametrize("what", RIGHT)
def test_the_vector_is_the_difference_of_the_state_dicts(finetuned, qat, folders, what, tmp_path) -> None:
    pair = RIGHT[what](finetuned, qat, folders)
    plain = [ViTForImageClassification.from_pretrained(m) if not isinstance(m, torch.nn.Module) else m for m in pair]
    first, second = (dict(model.state_dict()) for model in plain)
    name = next(name for name in second if name.endswith("layers.1.mlp.fc1.weight"))
    found = qv.QuantizationVector.extract(*pair)
    found.save_pretrained(tmp_path / "vector")
    read = qv.QuantizationVector.from_pretrained(tmp_path / "vector")
    expected = second[name].float() - first[name].float()
    assert torch.equal(read["encoder.layer.1.intermediate.dense.weight"], expected)
    total = sum(
        float((second[key].double().float() - first[key].float()).double().square().sum())
        for key in second
        if "classifier" not in key
    )
    assert read.norm() == pytest.approx(total**0.5, rel=1e-5)


def doubled(model):
    parametrizations.weight_norm(model.vit.layers[0].mlp.fc1)


def infinite(model):
    model.vit.layers[1].mlp.fc1.weight.data[0, 0] = torch.inf


WRONG = {
    "itself": (lambda f, q, d: (f, f), qv.ArtifactError, "identical"),
    "state dicts": (lambda f, q, d: (f, q.state_dict()), qv.QVecError, "qat: .*found OrderedDict; load a state dict"),
    "None": (lambda f, q, d: (None, q), qv.QVecError, "finetuned: expected a transformers model, .* found NoneType"),
    "a base that is a number": (lambda f, q, d: (f, q, 5), qv.QVecError, "base: .*found int"),
    "another module": (lambda f, q, d: (f, torch.nn.Linear(2, 2)), qv.QVecError, "qat: .*found Linear"),
    "quantized": (lambda f, q, d: (f, qv.quantize_(copy.deepcopy(q), "int3")), qv.QVecError, "qat: .*quantized layer"),
    "both quantized": (lambda f, q, d: (d["quantized"], d["quantized"]), qv.QVecError, "finetuned: .*quantized layer"),
    "an adapter": (lambda f, q, d: (f, adapted(q)), qv.QVecError, "qat: has adapters.*merge_and_unload"),
    "inside an adapter": (lambda f, q, d: (f, adapted(q).base_model.model), qv.QVecError, "qat: has adapters"),
    "a folder with an adapter": (lambda f, q, d: (f, d["adapter"]), qv.QVecError, "qat: has adapters"),
    "parametrized": (lambda f, q, d: (f, changed(q, doubled)), qv.QVecError, "parametrization of 'vit.layers.0.mlp"),
    "no data": (lambda f, q, d: (f, copy.deepcopy(q).to("meta")), qv.ArtifactError, "meta device"),
    "infinity": (lambda f, q, d: (changed(f, infinite), q), qv.ArtifactError, "finetuned: encoder.layer.1.*infinity"),
    "NaN in the base": (lambda f, q, d: (f, q, changed(f, infinite)), qv.ArtifactError, "base: encoder.layer.1"),
    "another base": (lambda f, q, d: (f, q, unrelated()), qv.LineageError, "finetuned does not descend from base"),
    "one of another base": (lambda f, q, d: (f, unrelated(), f), qv.LineageError, "qat does not descend from base"),
    "other heads": (
        lambda f, q, d: (f, changed(q, lambda m: setattr(m.config, "num_attention_heads", 4))),
        qv.MisfitError,
        "num_attention_heads 2, that of qat 4",
    ),
    "an empty folder": (lambda f, q, d: (f, d["empty"]), qv.ArtifactError, "empty: no transformers model config"),
    "pickles alone": (lambda f, q, d: (f, d["bin"]), qv.ArtifactError, "bin: model.safetensors is missing"),
    "a file cut short": (lambda f, q, d: (f, d["damaged"]), qv.ArtifactError, "damaged: .*unreadable"),
    "a file": (lambda f, q, d: (f, d["qat"] / "model.safetensors"), qv.ArtifactError, "is a file"),
}  # fmt: skip


def unrelated():
    torch.manual_seed(77)
    return fine_tuned(ViTForImageClassification(tiny_config()), 0.1, seed=77)


@pytest.mark.parametrize("what", WRONG)
def test_what_makes_no_vector_is_refused_by_name(finetuned, qat, folders, what) -> None:
    make, error, message = WRONG[what]
    with pytest.raises(error, match=message):
        qv.QuantizationVector.extract(*make(finetuned, qat, folders))


@pytest.mark.parametrize("options", [{"donor": "me"}, {"recipe": "ste"}, {"recipe": [1]}, {"recipe": {"a": object()}}])
def test_descriptions_of_the_wrong_kind(finetuned, qat, options, tmp_path) -> None:
    with pytest.raises(qv.QVecError, match=r"expected"):
        qv.QuantizationVector.extract(finetuned, qat, **options).save_pretrained(tmp_path / "vector")


def test_two_precisions_are_told(finetuned, qat) -> None:
    with pytest.warns(UserWarning, match="finetuned in torch.bfloat16"):
        qv.QuantizationVector.extract(copy.deepcopy(finetuned).bfloat16(), qat)
