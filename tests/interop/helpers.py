"""Small models of timm and open_clip, and transformers models filled with their tensors."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from qvec_hub.backbone.names import canonical_names

FOLDER = Path(__file__).parent / "fixtures"
VITS = ("timm_vit", "timm_vit_without_qkv_bias", "timm_deit3")


def fixture(name):
    """State dict, images and outputs of one of the files that ``make_fixtures.py`` wrote."""
    state = load_file(FOLDER / f"{name}.safetensors")
    return state, state.pop("__images"), state.pop("__outputs")


def filled(model, tensors):
    """The model with tensors by canonical name as its backbone's."""
    state = model.state_dict()
    state |= {name: tensors[canonical] for name, canonical in canonical_names(model).items()}
    model.load_state_dict(state)
    return model.eval()


def moved(state, seed, by=0.01):
    """Another fine-tune of the same model: every tensor moved a little."""
    generator = torch.Generator().manual_seed(seed)
    return {name: t + by * torch.randn(t.shape, generator=generator) for name, t in state.items()}
