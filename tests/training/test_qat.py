"""prepare_qat_ and strip_qat_: what the forward sees, what the gradient does, and that names stay plain."""

import copy

import pytest
import torch
from torch import nn
from transformers import (
    BeitConfig,
    BeitForImageClassification,
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    Dinov2Config,
    Dinov2ForImageClassification,
    SwinConfig,
    SwinForImageClassification,
    ViTForImageClassification,
    ViTModel,
)

from qvec_hub import Grid, GridError, QVecError, fake_quantize, prepare_qat_, strip_qat_
from qvec_hub.training.qat import QATLinear, StraightThrough

GRIDS = [
    "int2",
    "int3",
    "int8",
    "int3-tensor",
    "int4-group5",
    "int2-channel-mse",
    "int3-channel-absmax-affine",
    "int4-channel-hqq-affine",
]
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
OTHERS = {
    "deit": lambda: DeiTForImageClassificationWithTeacher(DeiTConfig(image_size=16, patch_size=8, **SMALL)),
    "beit": lambda: BeitForImageClassification(BeitConfig(image_size=16, patch_size=8, **SMALL)),
    "dinov2": lambda: Dinov2ForImageClassification(Dinov2Config(image_size=16, patch_size=8, **SMALL)),
    "swin": lambda: SwinForImageClassification(
        SwinConfig(image_size=16, patch_size=2, window_size=2, embed_dim=8, depths=[1, 1], num_heads=[2, 2])
    ),
}


@pytest.fixture
def images():
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def rounded_by_hand(model, grid):
    """What PTQ on the grid gives: the backbone's linear weights replaced by their rounded values."""
    result = copy.deepcopy(model)
    with torch.no_grad():
        for layer in result.base_model.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.copy_(fake_quantize(layer.weight, Grid.parse(grid)))
    return result


@pytest.mark.parametrize("grid", GRIDS)
def test_straight_through_rounds_forward_and_passes_the_gradient(grid):
    grid = Grid.parse(grid)
    weight = torch.randn(7, 12, generator=torch.Generator().manual_seed(2), requires_grad=True)
    upstream = torch.randn(7, 12)
    result = StraightThrough.apply(weight, grid)
    result.backward(upstream)
    assert torch.equal(result, fake_quantize(weight, grid))
    assert torch.equal(weight.grad, upstream)


@pytest.mark.parametrize("grid", GRIDS)
def test_a_prepared_model_computes_exactly_what_ptq_computes(tiny_vit, images, grid):
    expected = rounded_by_hand(tiny_vit, grid)(images).logits
    assert torch.equal(prepare_qat_(tiny_vit, grid)(images).logits, expected)


def test_gradients_are_those_of_the_rounded_model(tiny_vit, images):
    by_hand = rounded_by_hand(tiny_vit, "int3")
    by_hand(images, labels=torch.tensor([0, 1])).loss.backward()
    prepare_qat_(tiny_vit, "int3")(images, labels=torch.tensor([0, 1])).loss.backward()
    for (name, ours), (_, theirs) in zip(tiny_vit.named_parameters(), by_hand.named_parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad), name


def test_every_backbone_linear_and_nothing_else(tiny_vit):
    prepare_qat_(tiny_vit, "int3")
    prepared = {name for name, module in tiny_vit.named_modules() if isinstance(module, QATLinear)}
    linear = {name for name, module in tiny_vit.named_modules() if isinstance(module, nn.Linear)}
    assert linear - prepared == {"classifier"}
    assert len(prepared) == 2 * 6


@pytest.mark.parametrize("kind", OTHERS)
def test_heads_of_other_classifiers_stay_plain(kind):
    model = prepare_qat_(OTHERS[kind](), "int3")
    plain = {name for name, module in model.named_modules() if type(module) is nn.Linear}
    assert plain
    assert all("classifier" in name for name in plain)


def test_the_pooler_of_a_bare_backbone_stays_plain(tiny_config):
    model = prepare_qat_(ViTModel(tiny_config), "int3")
    assert type(model.pooler.dense) is nn.Linear
    assert sum(isinstance(module, QATLinear) for module in model.modules()) == 2 * 6


def test_names_and_weights_stay_plain_while_training(tiny_vit, tmp_path):
    before = {name: tensor.clone() for name, tensor in tiny_vit.state_dict().items()}
    prepare_qat_(tiny_vit, "int2")
    state = tiny_vit.state_dict()
    assert list(state) == list(before)
    assert all(torch.equal(state[name], before[name]) for name in before)
    tiny_vit.save_pretrained(tmp_path)
    loaded = ViTForImageClassification.from_pretrained(tmp_path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in loaded.state_dict().items())
    assert not any(isinstance(module, QATLinear) for module in loaded.modules())


def test_a_deep_copy_is_prepared_too_and_independent(tiny_vit, images):
    twin = copy.deepcopy(prepare_qat_(tiny_vit, "int3"))
    assert torch.equal(twin(images).logits, tiny_vit(images).logits)
    strip_qat_(twin)
    assert sum(isinstance(module, QATLinear) for module in tiny_vit.modules()) == 2 * 6


def test_strip_leaves_plain_layers_and_the_trained_float_weights(tiny_vit, images):
    expected = tiny_vit(images).logits
    stripped = strip_qat_(prepare_qat_(tiny_vit, "int2"))
    assert stripped is tiny_vit
    assert {type(module) for module in tiny_vit.modules() if isinstance(module, nn.Linear)} == {nn.Linear}
    assert not any("grid" in vars(module) for module in tiny_vit.modules())
    assert torch.equal(tiny_vit(images).logits, expected)


def test_bfloat16_autocast(tiny_vit, images):
    prepare_qat_(tiny_vit, "int3")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = tiny_vit(images, labels=torch.tensor([0, 1]))
    assert output.logits.dtype == torch.bfloat16
    output.loss.backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in tiny_vit.parameters())


def test_gradient_checkpointing_changes_nothing(tiny_vit, images):
    twin = copy.deepcopy(prepare_qat_(tiny_vit, "int3")).train()
    twin.gradient_checkpointing_enable()
    for model in (tiny_vit, twin):
        model(images, labels=torch.tensor([0, 1])).loss.backward()
    for ours, theirs in zip(tiny_vit.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_compiles(tiny_vit, images):
    prepare_qat_(tiny_vit, "int3")
    labels = torch.tensor([0, 1])
    tiny_vit(images, labels=labels).loss.backward()
    expected = {name: parameter.grad for name, parameter in tiny_vit.named_parameters()}
    tiny_vit.zero_grad(set_to_none=True)
    torch.compile(tiny_vit, backend="eager")(images, labels=labels).loss.backward()
    for name, parameter in tiny_vit.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name])


def test_distributed_data_parallel(tiny_vit, images, tmp_path):
    prepare_qat_(tiny_vit, "int3")
    expected = tiny_vit(images).logits
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        parallel = nn.parallel.DistributedDataParallel(tiny_vit)
        output = parallel(images, labels=torch.tensor([0, 1]))
        output.loss.backward()
    finally:
        torch.distributed.destroy_process_group()
    assert torch.equal(output.logits, expected)
    assert tiny_vit.vit.layers[0].mlp.fc1.weight.grad is not None


def test_preparing_twice_says_so(tiny_vit):
    prepare_qat_(tiny_vit, "int3")
    with pytest.raises(QVecError, match=r"prepared already \(grid int3-channel-absmax\); call strip_qat_"):
        prepare_qat_(tiny_vit, "int2")


def test_stripping_a_plain_model_says_so(tiny_vit):
    with pytest.raises(QVecError, match="call prepare_qat_"):
        strip_qat_(tiny_vit)


def test_a_bad_grid_leaves_the_model_alone(tiny_vit):
    with pytest.raises(GridError):
        prepare_qat_(tiny_vit, "int1")
    assert not any(isinstance(module, QATLinear) for module in tiny_vit.modules())


def test_a_model_that_is_not_of_transformers_is_refused():
    with pytest.raises(QVecError, match="Sequential"):
        prepare_qat_(nn.Sequential(nn.Conv2d(3, 3, 1)), "int3")


def test_a_foreign_linear_layer_is_refused_by_name(tiny_vit):
    class Adapted(nn.Linear):
        pass

    tiny_vit.vit.layers[1].mlp.fc1.__class__ = Adapted
    with pytest.raises(QVecError, match=r"vit\.layers\.1\.mlp\.fc1.*Adapted"):
        prepare_qat_(tiny_vit, "int3")
    assert not any(isinstance(module, QATLinear) for module in tiny_vit.modules())
