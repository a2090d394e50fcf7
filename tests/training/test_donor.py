"""train_donor: one start, one order, two models, and nothing half-written."""

import json

import pytest
import torch
from datasets import ClassLabel, DatasetDict, Value
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    TrainerCallback,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from qvec_hub import ArtifactError, DataError, GridError, QuantizationVector, QVecError, fake_quantize
from qvec_hub.grid.grid import Grid
from qvec_hub.training.donor import train_donor
from qvec_hub.training.recipes.training_recipe import TrainingRecipe
from qvec_hub.training.start import starting_model

from .conftest import CLASSES, TINY, images

QUICK = TrainingRecipe(epochs=2, learning_rate=1e-3, warmup_steps=2, batch_size=4)  # 6 steps an epoch


class Recorder(TrainerCallback):
    """The labels and pixel sums of all batches, by run, seen by the model; and the first weights."""

    def __init__(self):
        self.batches, self.first = {}, {}

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.first[args.run_name] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        seen = self.batches.setdefault(args.run_name, [])
        self.hook = model.register_forward_pre_hook(
            lambda module, args, kwargs: seen.append((kwargs["labels"].tolist(), float(kwargs["pixel_values"].sum()))),
            with_kwargs=True,
        )

    def on_train_end(self, args, state, control, **kwargs):
        self.hook.remove()


class Kill(TrainerCallback):
    def __init__(self, run, step):
        self.at = (run, step)

    def on_step_begin(self, args, state, control, **kwargs):
        if (args.run_name, state.global_step) == self.at:
            raise KeyboardInterrupt


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def whole(base, dataset, tmp_path_factory):
    """An undisturbed training to compare others with."""
    return train_donor(base, dataset, tmp_path_factory.mktemp("whole"), recipe=QUICK)


def test_what_a_donor_is(base, dataset, tmp_path, capsys):
    recorder = Recorder()
    donor = train_donor(base, dataset, tmp_path / "out", recipe=QUICK, grid="int2", task="lamps", callbacks=[recorder])
    # the same start, which is the base under a new head, and the same batches
    assert same(recorder.first["fp"], recorder.first["qat"])
    backbone = ViTModel.from_pretrained(base, add_pooling_layer=False).state_dict()
    assert all(torch.equal(recorder.first["fp"][f"vit.{name}"], tensor) for name, tensor in backbone.items())
    assert len(recorder.batches["fp"]) == 12
    assert recorder.batches["fp"] == recorder.batches["qat"]
    assert recorder.batches["fp"][:6] != recorder.batches["fp"][6:]  # another order in the second epoch
    # two plain models that differ
    for folder in (donor.fp, donor.qat):
        model = AutoModelForImageClassification.from_pretrained(folder)
        assert model.config.id2label == dict(enumerate(CLASSES))
        assert {type(module) for module in model.modules() if isinstance(module, nn.Linear)} == {nn.Linear}
        AutoImageProcessor.from_pretrained(folder, backend="pil")
    fp, qat = weights(donor.fp), weights(donor.qat)
    assert fp.keys() == qat.keys()
    assert not torch.equal(*(w["classifier.weight"] for w in (fp, qat)))
    assert {tensor.dtype for tensor in qat.values()} == {torch.float32}
    # the vector's config, the counts, and a tidy folder
    about = json.loads((donor.vector / "qvec_config.json").read_text())
    assert about["donor"]["task"] == "lamps"
    assert about["recipe"] == QUICK.to_dict()
    assert about["grid"]["bits"] == 2
    vector = QuantizationVector.from_pretrained(donor.vector)
    name = "encoder.layer.1.intermediate.dense.weight"  # the Hub's name, whatever the files call it
    fp_model, qat_model = (ViTForImageClassification.from_pretrained(folder) for folder in (donor.fp, donor.qat))
    expected = qat_model.vit.layers[1].mlp.fc1.weight - fp_model.vit.layers[1].mlp.fc1.weight
    assert torch.equal(vector[name], expected)
    assert set(donor.scores) == {"fp", "ptq", "own_qat"}
    assert {score.n for score in donor.scores.values()} == {9}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["fp", "qat", "training.json", "vector"]
    # progress on stderr only
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "qat: step 12 of 12, epoch 2.00, loss " in printed.err


def test_scores_are_those_of_the_saved_models(base, dataset, tmp_path):
    donor = train_donor(base, dataset, tmp_path / "out", recipe=QUICK, grid="int2")
    processor = AutoImageProcessor.from_pretrained(base, backend="pil")
    pixels = processor(list(dataset["validation"]["image"]), return_tensors="pt")["pixel_values"]
    labels = torch.tensor(dataset["validation"]["label"][:])
    for score, folder, rounded in (("fp", donor.fp, False), ("ptq", donor.fp, True), ("own_qat", donor.qat, True)):
        model = ViTForImageClassification.from_pretrained(folder)
        with torch.no_grad():
            for layer in model.vit.modules():
                if rounded and isinstance(layer, nn.Linear):
                    layer.weight.copy_(fake_quantize(layer.weight, Grid(bits=2)))
            correct = int((model(pixels).logits.argmax(1) == labels).sum())
        assert (donor.scores[score].n, donor.scores[score].correct) == (9, correct)


def test_the_same_seed_gives_the_same_bits(base, dataset, tmp_path, whole):
    again = train_donor(base, dataset, tmp_path / "out", recipe=QUICK)
    assert same(weights(again.fp), weights(whole.fp))
    assert same(weights(again.qat), weights(whole.qat))


@pytest.mark.parametrize("killed_in", ["fp", "qat"])
def test_a_resumed_run_equals_an_undisturbed_one(base, dataset, tmp_path, whole, killed_in):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        train_donor(base, dataset, out, recipe=QUICK, callbacks=[Kill(killed_in, 8)])
    assert (out / "fp").exists() == (killed_in == "qat")
    assert not (out / "qat").exists()
    recorder = Recorder()
    resumed = train_donor(base, dataset, out, recipe=QUICK, resume=True, callbacks=[recorder])
    assert len(recorder.batches[killed_in]) == 6  # the second epoch alone
    assert ("fp" in recorder.batches) == (killed_in == "fp")
    assert same(weights(resumed.fp), weights(whole.fp))
    assert same(weights(resumed.qat), weights(whole.qat))


def test_a_checkpoint_cut_short_is_passed_over(base, dataset, tmp_path, whole):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        train_donor(base, dataset, out, recipe=QUICK, callbacks=[Kill("fp", 8)])
    torn = out / "checkpoints" / "fp" / "checkpoint-7"
    torn.mkdir()
    (torn / "trainer_state.json").write_text('{"epoch": ')
    resumed = train_donor(base, dataset, out, recipe=QUICK, resume=True)
    assert same(weights(resumed.fp), weights(whole.fp))


def test_resuming_what_is_finished_changes_nothing(base, dataset, whole):
    before = (whole.fp / "model.safetensors").stat().st_mtime_ns
    again = train_donor(base, dataset, whole.fp.parent, recipe=QUICK, resume=True, callbacks=[Kill("fp", 0)])
    assert again == whole
    assert (whole.fp / "model.safetensors").stat().st_mtime_ns == before


def test_only_the_same_training_is_resumed(base, dataset, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_donor(base, dataset, tmp_path / "out", recipe=QUICK, callbacks=[Kill("fp", 1)])
    with pytest.raises(QVecError, match="expected the grid that the training began with"):
        train_donor(base, dataset, tmp_path / "out", recipe=QUICK, grid="int2", resume=True)


def test_a_folder_in_use_is_not_trained_over(base, dataset, whole):
    with pytest.raises(QVecError, match="found a donor there"):
        train_donor(base, dataset, whole.fp.parent, recipe=QUICK)


def test_accumulated_batches_train_the_same(base, dataset, tmp_path, whole):
    parts = TrainingRecipe(**{**QUICK.to_dict(), "grad_accumulation": 2})
    split = train_donor(base, dataset, tmp_path / "split", recipe=parts)
    for name, tensor in weights(split.fp).items():
        torch.testing.assert_close(tensor, weights(whole.fp)[name], atol=2e-4, rtol=0)


def test_bfloat16(base, dataset, tmp_path):
    donor = train_donor(
        base, dataset, tmp_path / "out", recipe=TrainingRecipe(**{**QUICK.to_dict(), "precision": "bf16"})
    )
    assert {tensor.dtype for tensor in weights(donor.qat).values()} == {torch.float32}


def test_a_model_object_is_left_alone_and_trains_as_its_folder_does(base, dataset, tmp_path, whole):
    model = ViTModel.from_pretrained(base, add_pooling_layer=False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.config._name_or_path, model.config._commit_hash = "org/base", "c0ffee"  # as loaded from the Hub
    processor = AutoImageProcessor.from_pretrained(base, backend="pil")
    one = train_donor(model, dataset, tmp_path / "out", recipe=QUICK, processor=processor)
    about = json.loads((one.vector / "qvec_config.json").read_text())
    assert about["base_model"] == {"repo_id": "org/base", "revision": "c0ffee"}
    assert same(model.state_dict(), before)
    ours, theirs = (ViTForImageClassification.from_pretrained(donor.qat).state_dict() for donor in (one, whole))
    assert same(ours, theirs)


def test_a_head_of_another_size_is_replaced_and_one_of_this_size_kept(tiny_vit):
    same_size = starting_model(tiny_vit, CLASSES, seed=1)
    assert torch.equal(same_size.classifier.weight, tiny_vit.classifier.weight)
    larger = starting_model(tiny_vit, ["a", "b", "c", "d", "e"], seed=1)
    assert larger.classifier.out_features == 5
    assert torch.equal(larger.vit.layers[1].mlp.fc1.weight, tiny_vit.vit.layers[1].mlp.fc1.weight)
    again = starting_model(tiny_vit, ["a", "b", "c", "d", "e"], seed=1)
    other = starting_model(tiny_vit, ["a", "b", "c", "d", "e"], seed=2)
    assert torch.equal(larger.classifier.weight, again.classifier.weight)
    assert not torch.equal(larger.classifier.weight, other.classifier.weight)


def test_a_head_of_another_size_in_a_folder_is_replaced(tiny_vit, processor, dataset, tmp_path):
    tiny_vit.config.num_labels = 3
    tiny_vit.save_pretrained(tmp_path / "base")
    processor.save_pretrained(tmp_path / "base")
    four = DatasetDict({"train": images(8, 0, [*CLASSES, "blue"])})
    donor = train_donor(
        tmp_path / "base", four, tmp_path / "out", recipe=TrainingRecipe(epochs=1, warmup_steps=0, batch_size=4)
    )
    assert weights(donor.fp)["classifier.weight"].shape == (4, 32)
    assert donor.scores == {}


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        ({"base": "no/such/folder"}, QVecError, "no/such/folder"),
        ({"base": nn.Linear(2, 2)}, QVecError, "expected a transformers model, .* found Linear"),
        ({"base": ViTModel(ViTConfig(**TINY))}, QVecError, "made in memory; pass processor="),
        ({"grid": "int9"}, GridError, "bits"),
        ({"train_split": "training"}, DataError, "split 'training' with labels, found train, validation"),
        ({"validation_split": "test"}, DataError, "split 'test'"),
        ({"recipe": TrainingRecipe(batch_size=5, grad_accumulation=2, warmup_steps=0)}, QVecError, "multiple of 2"),
        ({"arguments": {"learning_speed": 1}}, QVecError, "learning_speed"),
    ],
)
def test_bad_input_is_named(base, dataset, tmp_path, what, error, message):
    call = {"base": base, "dataset": dataset, "out": tmp_path / "out", "recipe": QUICK, **what}
    with pytest.raises(error, match=message):
        train_donor(**call)
    assert not (tmp_path / "out" / "fp").exists()


def test_a_base_without_an_image_processor_says_what_to_do(own_base, dataset, tmp_path):
    (own_base / "preprocessor_config.json").unlink()
    with pytest.raises(QVecError, match=r"expected an image processor .*pass processor="):
        train_donor(own_base, dataset, tmp_path / "out", recipe=QUICK)


def test_pixels_of_another_size_are_refused_before_training(base, dataset, tmp_path, processor):
    processor.size = {"height": 24, "width": 24}
    with pytest.raises(QVecError, match=r"\(3, 24, 24\).*preprocessor_config"):
        train_donor(base, dataset, tmp_path / "out", recipe=QUICK, processor=processor)


def test_a_base_with_a_weight_missing_is_refused(own_base, dataset, tmp_path):
    tensors = weights(own_base)
    lost = next(name for name in tensors if "query" in name or "q_proj" in name)
    del tensors[lost]
    save_file(tensors, own_base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match=r"found none of the right shape for 1, the first being 'vit\."):
        train_donor(own_base, dataset, tmp_path / "out", recipe=QUICK)


def test_a_warm_up_longer_than_the_run_warns(base, dataset, tmp_path):
    with pytest.warns(UserWarning, match="12 optimizer steps but warms up for 500"):
        train_donor(base, dataset, tmp_path / "out", recipe=TrainingRecipe(epochs=2, batch_size=4))


def test_a_diverged_run_is_reported_and_not_saved(base, dataset, tmp_path):
    recipe = TrainingRecipe(epochs=1, learning_rate=1e38, warmup_steps=0, batch_size=4, optimizer="sgd")
    with pytest.raises(QVecError, match="lower learning rate"):
        train_donor(base, dataset, tmp_path / "out", recipe=recipe)
    assert not (tmp_path / "out" / "fp").exists()


def test_checkpoints_of_others_are_left_alone(base, dataset, tmp_path):
    out = tmp_path / "out"
    mine = {"checkpoints/best.pt": b"mine", "checkpoints/epoch-3/model.pt": b"mine", "qat-notes.txt": b"mine"}
    for name, content in mine.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    with pytest.raises(KeyboardInterrupt):
        train_donor(base, dataset, out, recipe=QUICK, callbacks=[Kill("fp", 8)])
    recorder = Recorder()
    train_donor(base, dataset, out, recipe=QUICK, resume=True, callbacks=[recorder])
    assert len(recorder.batches["fp"]) == 6  # resumed
    (out / "checkpoints" / "fp").mkdir()  # somebody's, made when the training was over
    (out / "checkpoints" / "fp" / "weights.pt").write_bytes(b"mine")
    train_donor(base, dataset, out, recipe=QUICK, resume=True)
    mine["checkpoints/fp/weights.pt"] = b"mine"
    assert {name: (out / name).read_bytes() for name in mine} == mine
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["best.pt", "epoch-3", "fp"]


@pytest.mark.parametrize("taken", ["checkpoints/fp/weights.pt", "checkpoints/qat/x/y.pt", "checkpoints"])
def test_checkpoints_of_others_in_the_way_are_refused_before_anything(taken, dataset, tmp_path):
    (tmp_path / taken).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / taken).write_bytes(b"mine")
    with pytest.raises(QVecError, match=r"no training of qvec_hub made; nothing was changed"):
        train_donor("no/such/base", dataset, tmp_path, recipe=QUICK)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / taken]


def test_a_folder_that_cannot_be_written_to_is_refused_before_anything(dataset, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="cannot be written"):
        train_donor("no/such/base", dataset, tmp_path / "file" / "out", recipe=QUICK)


def test_validation_labels_go_by_name(base, dataset, tmp_path):
    turned = dataset["validation"].cast_column("label", Value("int64"))
    turned = turned.map(lambda row: {"label": (row["label"] + 1) % 3}, keep_in_memory=True)
    turned = turned.cast_column("label", ClassLabel(names=[CLASSES[2].upper(), CLASSES[0], CLASSES[1]]))
    recipe = TrainingRecipe(epochs=1, learning_rate=1e-3, warmup_steps=0, batch_size=8)
    splits = {"train": dataset["train"], "validation": dataset["validation"]}
    straight = train_donor(base, DatasetDict(splits), tmp_path / "straight", recipe=recipe)
    other = train_donor(base, DatasetDict({**splits, "validation": turned}), tmp_path / "turned", recipe=recipe)
    assert other.scores == straight.scores
    more = dataset["validation"].cast_column("label", ClassLabel(names=["yak", *CLASSES[:2]]))
    with pytest.raises(DataError, match=r"validation.*found 'yak', which cannot be matched"):
        train_donor(base, DatasetDict({**splits, "validation": more}), tmp_path / "more", recipe=recipe)
    assert not (tmp_path / "more").exists()


def test_labels_with_a_wide_hole(base, dataset, tmp_path):
    wide = dataset["train"].cast_column("label", Value("int64"))
    wide = wide.map(lambda row: {"label": 1000 * row["label"]}, keep_in_memory=True)
    with pytest.raises(DataError, match="found 3 labels up to 2000; number the classes without holes"):
        train_donor(base, wide, tmp_path / "out")
