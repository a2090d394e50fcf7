"""Vectors from pairs of checkpoints, single and in the folders of the method's authors."""

import json
import re

import pytest
import torch
from datasets import ClassLabel, Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image
from safetensors.torch import save_file
from transformers import ViTForImageClassification, ViTImageProcessorPil

import qvec_hub as qv
from qvec_hub.backbone.names import canonical_names
from qvec_hub.grid.quantize import quantize
from qvec_hub.interop.pair import import_pair
from qvec_hub.interop.published_pairs import open_source, pairs_in
from qvec_hub.interop.translate import translate
from qvec_hub.layers.dequantize import named_packed_layers

from .helpers import filled, fixture, moved

OPTIM = "optim=adamw_lr=1e-05_wd=0.1_ls=0.0_wl=500_mgn=1.0_bs=128"
QAT = "qat=bits=3_gran=channel_skip=head"


def path_of(kind, task, backbone="vit_x", epoch=12, qat=QAT, optim=OPTIM, seed=2038):
    middle = f"{optim}/{qat}/" if kind == "qat" else f"{optim}/"
    return f"vision/ilharco_timm_supervised/{kind}/{backbone}/{task}/{middle}seed={seed}/classifier_epoch_{epoch}.pt"


def write_pair(root, task, name="timm_vit", seed=0, epochs=(5, 12)):
    """A pair in the authors' folders; the QAT model of the last epoch is returned with the plain one."""
    state, _, _ = fixture(name)
    plain, trained = moved(state, seed), moved(state, seed + 100)
    for kind, tensors in (("fp", plain), ("qat", trained)):
        for epoch in epochs:
            path = root / path_of(kind, task, epoch=epoch)
            path.parent.mkdir(parents=True, exist_ok=True)
            last = {f"model.{key}": t if epoch == epochs[-1] else t + 1 for key, t in tensors.items()}
            torch.save(last, path)
    return plain, trained


@pytest.fixture
def published(tmp_path):
    root = tmp_path / "published"
    pairs = {task: write_pair(root, task, seed=k) for k, task in enumerate(("EuroSAT", "MNIST"))}
    return root, pairs


def test_paths_are_sorted_into_pairs_and_the_last_epoch_is_taken():
    paths = [
        *(path_of(kind, "DTD", epoch=epoch) for kind in ("fp", "qat") for epoch in (9, 76, 10)),
        path_of("qat", "DTD", qat="qat=bits=4_gran=tensor_skip=head", epoch=76),
        path_of("fp", "SVHN"),
        path_of("qat", "Cars", seed=1),
        "README.md",
        "vision/fp/loose_epoch_1.pt",
    ]
    pairs = pairs_in(paths)
    assert [(pair.task, pair.grid and pair.grid.name, pair.missing) for pair in pairs] == [
        ("Cars", "int3-channel-absmax", "plain fine-tune"),
        ("DTD", "int3-channel-absmax", None),
        ("DTD", "int4-tensor-absmax", None),
        ("SVHN", None, "QAT fine-tune"),
    ]
    assert pairs[1].finetuned == path_of("fp", "DTD", epoch=76)
    assert pairs[1].recipe == {
        "optimizer": "adamw",
        "learning_rate": 1e-5,
        "weight_decay": 0.1,
        "label_smoothing": 0.0,
        "warmup_steps": 500,
        "max_grad_norm": 1.0,
        "batch_size": 128,
        "seed": 2038,
        "epochs": 76,
    }


def test_pairs_of_other_hyper_parameters_are_kept_apart():
    longer = [path_of(kind, "DTD", optim=f"{OPTIM}/mult=4") for kind in ("fp", "qat")]
    pairs = pairs_in([*longer, path_of("fp", "DTD"), path_of("qat", "DTD")])
    assert sorted(pair.recipe.get("epoch_multiplier", 1) for pair in pairs) == [1, 4]
    assert all(pair.missing is None for pair in pairs)


def test_a_vector_is_the_difference_of_the_translated_pair(published):
    root, pairs = published
    source = open_source(root)
    (pair,) = source.choose("vit_x", ["MNIST"])
    vector = source.open(pair, heads=2)
    plain, trained = (translate(state, "state", heads=2).tensors for state in pairs["MNIST"])
    assert all(torch.equal(vector[name], trained[name] - plain[name]) for name in plain)
    assert vector.config.donor.task == "MNIST"
    assert vector.config.grid.name == "int3-channel-absmax"
    assert vector.config.recipe["name"] == "ste"


def test_an_imported_vector_quantizes_a_receiver_with_the_codes_of_the_original_layout(published, tmp_path):
    root, pairs = published
    state, _, _ = fixture("timm_vit")
    theirs = moved(state, 7)
    translated = translate(theirs, "receiver", heads=2)
    translated.config.num_labels = 5
    filled(ViTForImageClassification(translated.config), translated.tensors).save_pretrained(tmp_path / "receiver")
    source = open_source(root)
    source.open(source.choose("vit_x", ["EuroSAT"])[0], heads=2).save_pretrained(tmp_path / "vector")
    model = qv.from_pretrained(
        tmp_path / "receiver", vector=tmp_path / "vector", weights="int3", scale=1.0, rounding="nearest"
    )
    layers = named_packed_layers(model)
    names = {canonical: name for name, canonical in canonical_names(filled_like(model)).items()}
    plain, trained = pairs["EuroSAT"]
    grid, compared = model.config.quantization_config.grid, 0
    for key in (key for key in theirs if key.startswith("blocks.") and theirs[key].ndim == 2):
        _, block, layer, _ = re.split(r"blocks\.(\d+)\.(.+)\.(weight)$", key)[:4]
        expected = quantize(theirs[key] + (trained[key] - plain[key]), grid)
        found = [
            layers[names[f"encoder.layer.{block}.{ours}.weight"].removesuffix(".weight")] for ours in LINEARS[layer]
        ]
        assert torch.equal(torch.cat([each.weight_scale for each in found]), expected.scale)
        values = torch.cat([each.weight.dequantize() for each in found])
        assert torch.equal(values, (expected.codes.float() + grid.qmin) * expected.scale)
        compared += len(found)
    assert compared == len(layers) == 12
    images = Dataset.from_dict(
        {"image": [Image.new("RGB", (16, 16), (20 * k, 0, 0)) for k in range(6)], "label": [*range(5), 0]},
        features=Features({"image": ImageFeature(), "label": ClassLabel(5)}),
    )
    processor = ViTImageProcessorPil(size={"height": 16, "width": 16})
    assert qv.evaluate(model, images, processor=processor, progress=False).n == 6


LINEARS = {
    "attn.qkv": [f"attention.attention.{part}" for part in ("query", "key", "value")],
    "attn.proj": ["attention.output.dense"],
    "mlp.fc1": ["intermediate.dense"],
    "mlp.fc2": ["output.dense"],
}


def filled_like(model):
    """A float model of the same names."""
    return ViTForImageClassification(model.config)


def test_the_command_lists_imports_and_merges(published, qvec):
    root, _ = published
    (root / path_of("fp", "SVHN")).parent.mkdir(parents=True)
    torch.save({"a": torch.ones(1)}, root / path_of("fp", "SVHN"))
    listed = qvec("import", root)
    assert listed.returncode == 0
    assert [line.split("\t")[1:] for line in listed.stdout.splitlines()[1:]] == [
        ["EuroSAT", "int3-channel-absmax", "12", "2038", "complete"],
        ["MNIST", "int3-channel-absmax", "12", "2038", "complete"],
        ["SVHN", "–", "12", "2038", "QAT fine-tune missing"],
    ]
    done = qvec("import", root, "--backbone", "vit_x", "--all", "--heads", 2, "--out", "all", "--json")
    assert done.returncode == 0, done.stderr
    assert [made["folder"] for made in json.loads(done.stdout)["vectors"]] == ["all/EuroSAT", "all/MNIST"]
    vectors = [qv.QuantizationVector.from_pretrained(f"all/{task}") for task in ("EuroSAT", "MNIST")]
    done = qvec("import", root, "--backbone", "vit_x", "--all", "--heads", 2, "--merge", "mean", "--out", "consensus")
    assert done.returncode == 0, done.stderr
    merged = qv.QuantizationVector.from_pretrained("consensus")
    expected = qv.merge(vectors)
    assert all(torch.equal(merged[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backbone", "vit_y", "--all"], "no backbone 'vit_y'; it has vit_x"),
        (["--backbone", "vit_x", "--task", "DTD"], "no pair of vit_x for task 'DTD'; it has EuroSAT, MNIST"),
        (["--task", "MNIST"], "--backbone: expected one of vit_x"),
    ],
)
def test_a_choice_that_is_not_there_is_named(published, qvec, arguments, message):
    done = qvec("import", published[0], *arguments, "--out", "out")
    assert done.returncode == 1
    assert message in done.stderr


def test_a_folder_without_pairs_is_refused(tmp_path):
    with pytest.raises(qv.ArtifactError, match="holds no pairs"):
        open_source(tmp_path)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_two_files_or_folders_make_a_vector(tmp_path, qvec, ending):
    state, _, _ = fixture("timm_deit3")
    plain, trained = moved(state, 1), moved(state, 2)
    for name, tensors in (("fp", plain), ("qat", trained)):
        (tmp_path / name).mkdir()
        write = save_file if ending == "safetensors" else torch.save
        write(tensors, tmp_path / name / f"model.{ending}")
    done = qvec("import", "--fp", tmp_path / "fp", "--qat", f"qat/model.{ending}", "--heads", 2, "--out", "vector")
    assert done.returncode == 0, done.stderr
    vector = qv.QuantizationVector.from_pretrained("vector")
    before, after = (translate(tensors, "state", heads=2).tensors for tensors in (plain, trained))
    assert all(torch.equal(vector[name], after[name] - before[name]) for name in before)


def test_a_base_adds_its_fingerprint_and_refuses_strangers(tmp_path):
    state, _, _ = fixture("timm_vit")
    translated = translate(state, "base", heads=2)
    filled(ViTForImageClassification(translated.config), translated.tensors).save_pretrained(tmp_path / "base")
    other = ViTForImageClassification(translated.config)
    other.save_pretrained(tmp_path / "other")
    for name, seed in (("fp", 1), ("qat", 2)):
        torch.save(moved(state, seed), tmp_path / f"{name}.pt")
    vector = import_pair(tmp_path / "fp.pt", tmp_path / "qat.pt", tmp_path / "base", heads=2)
    assert vector.lineage is not None
    with pytest.raises(qv.LineageError, match="does not descend from"):
        import_pair(tmp_path / "fp.pt", tmp_path / "qat.pt", tmp_path / "other", heads=2)


def test_pairs_that_do_not_belong_together_are_refused(tmp_path):
    state, _, _ = fixture("timm_vit")
    torch.save(state, tmp_path / "fp.pt")
    torch.save({key: torch.randn(t.shape) for key, t in state.items()}, tmp_path / "stranger.pt")
    torch.save({key: t for key, t in state.items() if key != "norm.bias"}, tmp_path / "short.pt")
    torch.save(state | {"head.weight": torch.zeros(9, 32)}, tmp_path / "head.pt")
    for other, kind, message in (
        ("stranger", qv.LineageError, "fine-tunes of different bases"),
        ("short", qv.MisfitError, "norm.bias in the first"),
        ("head", qv.MisfitError, r"head.weight has shape \(5, 32\) in the first and \(9, 32\)"),
        ("fp", qv.ArtifactError, "both hold the same numbers"),
    ):
        with pytest.raises(kind, match=message):
            import_pair(tmp_path / "fp.pt", tmp_path / f"{other}.pt", heads=2)


def test_nan_in_a_checkpoint_leaves_nothing_half_written(tmp_path):
    state, _, _ = fixture("timm_vit")
    torch.save(state, tmp_path / "fp.pt")
    broken = moved(state, 1)
    broken["norm.bias"][3] = float("nan")
    torch.save(broken, tmp_path / "qat.pt")
    with pytest.raises(qv.ArtifactError, match="NaN"):
        import_pair(tmp_path / "fp.pt", tmp_path / "qat.pt", heads=2).save_pretrained(tmp_path / "vector")
    assert not (tmp_path / "vector").exists() or not any((tmp_path / "vector").iterdir())


def test_vectors_are_pushed_under_names_of_their_own(published, qvec, hub, monkeypatch):
    root, _ = published
    hub.add_user("me")
    monkeypatch.setenv("HF_TOKEN", "hf_me")
    how = ["import", root, "--backbone", "vit_x", "--heads", 2, "--push", "me", "--json"]
    done = qvec(*how, "--all", "--out", "vit-x-int3")
    assert done.returncode == 0, done.stderr
    names = [made["pushed"] for made in json.loads(done.stdout)["vectors"]]
    assert names == ["me/vit-x-int3-eurosat", "me/vit-x-int3-mnist"]
    done = qvec(*how, "--task", "MNIST", "--out", "single")
    assert json.loads(done.stdout)["vectors"][0]["pushed"] == "me/single"
    for name, task in (*zip(names, ("EuroSAT", "MNIST"), strict=True), ("me/single", "MNIST")):
        assert qv.QuantizationVector.from_pretrained(name).config.donor.task == task


def test_a_scale_that_is_no_number_is_refused(tmp_path):
    state, _, _ = fixture("timm_vit")
    for name, seed in (("fp", 1), ("qat", 2)):
        torch.save(moved(state, seed), tmp_path / f"{name}.pt")
    with pytest.raises(qv.QVecError, match="scale: expected a finite number"):
        import_pair(tmp_path / "fp.pt", tmp_path / "qat.pt", heads=2, scale=float("nan"))
