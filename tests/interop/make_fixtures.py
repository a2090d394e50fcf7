"""Make the fixtures of these tests: small models of timm and open_clip with random weights, and what they compute.

Run it in an environment of its own, where timm and open_clip_torch are installed, from the repository's root::

    python tests/interop/make_fixtures.py

Each file holds a state dict, images ``(3, 3, 16, 16)`` as ``__images`` and the model's outputs as ``__outputs``.
"""

from pathlib import Path

import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer

FOLDER = Path(__file__).parent / "fixtures"
SMALL = {"img_size": 16, "patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 5}
TINY = {**SMALL, "embed_dim": 8, "depth": 1, "num_heads": 1}  # of models that are only refused


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """The model with noise on all its parameters: timm starts norms at 1, biases at 0 and LayerScale at one number."""
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def main() -> None:
    torch.manual_seed(0)
    FOLDER.mkdir(exist_ok=True)
    images = torch.randn(3, 3, 16, 16)
    models = {
        "timm_vit": VisionTransformer(**SMALL),
        "timm_vit_without_qkv_bias": VisionTransformer(**SMALL, qkv_bias=False),
        "timm_deit3": VisionTransformer(**SMALL, no_embed_class=True, init_values=0.5),
        "timm_vit_registers": VisionTransformer(**TINY, reg_tokens=2),
        "timm_vit_pre_norm": VisionTransformer(**TINY, pre_norm=True),
        "timm_vit_average": VisionTransformer(**TINY, global_pool="avg"),
        "timm_swin": SwinTransformer(
            img_size=16, patch_size=2, embed_dim=16, depths=(2, 2), num_heads=(2, 4), window_size=4, num_classes=5
        ),
    }
    vision = CLIPVisionCfg(image_size=16, patch_size=4, width=32, layers=2, head_width=16)
    text = CLIPTextCfg(width=8, layers=1, heads=2, vocab_size=20, context_length=4)
    clip = shaken(CLIP(8, vision, text))
    with torch.no_grad():
        for name, model in models.items():
            write(name, shaken(model).state_dict(), images, model(images))
        write("open_clip", clip.state_dict(), images, clip.visual(images))
    write_transforms()


def write_transforms() -> None:
    """What timm's transforms for evaluation make of two images, by crop share and interpolation."""
    tensors = {}
    for number, size in enumerate(((68, 34), (32, 64))):
        image = torch.randint(0, 256, (*size, 3), dtype=torch.uint8)
        tensors[f"image{number}"] = image
        for crop, interpolation in ((0.9, "bicubic"), (0.875, "bilinear"), (1.0, "bicubic")):
            transform = create_transform(
                (3, 16, 16), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), crop_pct=crop, interpolation=interpolation
            )
            tensors[f"image{number} {crop} {interpolation}"] = transform(Image.fromarray(image.numpy()))
    save_file(tensors, FOLDER / "transforms.safetensors")


def write(name: str, state: dict[str, torch.Tensor], images: torch.Tensor, outputs: torch.Tensor) -> None:
    tensors = {**state, "__images": images, "__outputs": outputs}
    save_file({key: value.contiguous() for key, value in tensors.items()}, FOLDER / f"{name}.safetensors")


if __name__ == "__main__":
    main()
