"""The same against timm itself, where it is installed: whole models of its registry, with random weights."""

import pytest
import torch
from transformers import SwinForImageClassification, ViTForImageClassification

from qvec_hub.interop.translate import translate

from .helpers import filled

timm = pytest.importorskip("timm", reason="timm is not installed; test_translate reads what it computed")

MODELS = {
    "vit_tiny_patch16_224": ViTForImageClassification,
    "vit_base_patch16_224.orig_in21k": ViTForImageClassification,
    "deit_tiny_patch16_224": ViTForImageClassification,
    "deit3_small_patch16_224": ViTForImageClassification,
    "vit_small_patch14_dinov2.lvd142m": ViTForImageClassification,
    "swin_tiny_patch4_window7_224": SwinForImageClassification,
}


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_timm(name):
    torch.manual_seed(0)
    theirs = timm.create_model(name, pretrained=False, num_classes=5).eval()
    for parameter in theirs.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    translated = translate({f"model.{key}": tensor for key, tensor in theirs.state_dict().items()}, name)
    translated.config.num_labels = 5
    ours = filled(MODELS[name](translated.config), translated.tensors)
    for part in ("weight", "bias"):
        getattr(ours.classifier, part).data = next(t for key, t in translated.head.items() if key.endswith(part))
    images = torch.randn(1, 3, translated.config.image_size, translated.config.image_size)
    with torch.no_grad():
        torch.testing.assert_close(ours(images).logits, theirs(images), atol=1e-4, rtol=1e-4)


def test_what_transformers_cannot_hold_is_refused():
    from qvec_hub import MisfitError

    for name in ("vit_small_patch14_reg4_dinov2.lvd142m", "vit_base_patch16_clip_224.openai", "resnet18"):
        with pytest.raises(MisfitError):
            translate(timm.create_model(name, pretrained=False).state_dict(), name)
