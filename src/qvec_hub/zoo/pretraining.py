"""Make a base of the zoo: supervised pretraining on the mixture, ten minutes on two CPU cores for the smallest.

python -m qvec_hub.zoo.pretrain --base base-s --out base-s
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from transformers import ViTForImageClassification

from ..artifact.config import CARD_FILE
from ..backbone.names import backbone_linears
from ..util.atomic import check_save, new_folder
from ..util.written import Layout
from .base import BASES, WIDEST, base_config, base_processor
from .card import base_card
from .mixture.parts import CLASSES, draw_mixture

__all__ = ["make_base", "save_base"]

FILES = ("config.json", "model.safetensors", "preprocessor_config.json", CARD_FILE)
LAYOUT = Layout(config=FILES[0])  # a base goes to a new folder, or beside files of other names


def make_base(
    out: str | Path,
    name: str = "base-s",
    steps: int | None = None,
    batch: int = 128,
    images: int = 128_000,
    seed: int = 0,
    progress: bool = True,
) -> float:
    """Pretrain a small ViT on `images` drawn images and save it as a transformers folder.

    The same arguments give the same weights on the same machine and thread count. 5 % warm-up, then cosine to
    zero. After each step the weights of linear layers are clipped to `WIDEST`: 2 bits (absmax) then round by
    steps of 1.6 times a row's root mean square, which is as coarse as 3 bits are where the largest weight of a row is
    4.8 root mean squares.

    Args:
        out: folder to write; made if absent. A model that it holds is not replaced.
        name: one of `BASES`, which says how large the model is and how long it is trained.
        steps: optimizer steps of `batch` images each; by default those of `BASES`.

    Returns:
        Accuracy on up to 4,000 held-out images of the mixture.
    """
    check_save(out, LAYOUT, FILES)
    rng = np.random.default_rng([seed, 0])
    pixels, labels = _tensors(*draw_mixture(images, rng))
    torch.manual_seed(seed)
    model = ViTForImageClassification(base_config(name, len(CLASSES))).train()
    steps = steps or BASES[name].steps
    _place_grid_(model)
    clipped = [linear.weight for _, linear in backbone_linears(model)]
    optimizer = AdamW(model.parameters(), lr=BASES[name].learning_rate, weight_decay=0.05)
    schedule = LambdaLR(optimizer, lambda step: _warm_cosine(step, steps))
    order = np.concatenate([rng.permutation(images) for _ in range(-(-steps * batch // images))])
    shown = progress and sys.stderr.isatty()
    for step in track(range(steps), "pretraining", disable=not shown):
        chosen = torch.from_numpy(order[step * batch : (step + 1) * batch])
        logits = model(_scaled(pixels[chosen])).logits
        loss = F.cross_entropy(logits, labels[chosen], label_smoothing=0.05)
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        _clip_(clipped)
        schedule.step()
        if progress and not shown and step % 100 == 99:
            print(f"step {step + 1}/{steps}: loss {loss.item():.3f}", file=sys.stderr)
    accuracy = _accuracy(model.eval(), *_tensors(*draw_mixture(min(4000, images), np.random.default_rng([seed, 1]))))
    card = base_card(name, steps=steps, batch=batch, images=images, classes=len(CLASSES), seed=seed, accuracy=accuracy)
    save_base(model, out, card)
    return accuracy


def save_base(model: ViTForImageClassification, out: str | Path, card: str | None = None) -> None:
    """Save the backbone and its image processor; the pretraining head stays behind, so any head can be put on.

    Raises:
        ArtifactError: when the folder cannot be written; it keeps what it held.
    """
    backbone = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("classifier.")}
    model.config.num_labels = 2  # back to the default, which config.json then leaves out
    with new_folder(out, LAYOUT) as folder:
        model.save_pretrained(folder, state_dict=backbone)
        base_processor().save_pretrained(folder)
        if card is not None:
            (folder / CARD_FILE).write_text(card, encoding="utf-8")


@torch.no_grad()
def _clip_(weights: list[Tensor]) -> None:
    """Keep each weight ``(out, in)`` within `WIDEST`."""
    for weight in weights:
        most = WIDEST * weight.square().mean(dim=1, keepdim=True).sqrt()
        weight.copy_(torch.maximum(torch.minimum(weight, most), -most))


@torch.no_grad()
def _place_grid_(model: ViTForImageClassification) -> None:
    """Start the position embeddings as sines and cosines of row and column: neighbours look alike from the start."""
    position = model.get_parameter("vit.embeddings.position_embeddings")  # (1, 1 + side², hidden)
    side, quarter = math.isqrt(position.shape[1] - 1), position.shape[2] // 4
    phase = torch.arange(side)[:, None] * 100 ** (-torch.arange(quarter) / quarter)  # (side, hidden / 4)
    waves = torch.cat([phase.sin(), phase.cos()], dim=1)  # (side, hidden / 2)
    rows, columns = waves.repeat_interleave(side, dim=0), waves.repeat(side, 1)
    position[0, 1:] = 0.5 * torch.cat([rows, columns], dim=1)


def _tensors(images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    """To uint8 ``(n, 3, SIZE, SIZE)`` and int64 ``(n,)``."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))), torch.from_numpy(labels)


def _scaled(pixels: Tensor) -> Tensor:
    """Bytes to -1 … 1, as the image processor does."""
    return pixels.float() / 127.5 - 1


def _warm_cosine(step: int, steps: int) -> float:
    warm = max(1, steps // 20)
    return (step + 1) / warm if step < warm else 0.5 + 0.5 * math.cos(math.pi * (step - warm) / max(1, steps - warm))


@torch.no_grad()
def _accuracy(model: ViTForImageClassification, pixels: Tensor, labels: Tensor) -> float:
    right = 0
    for start in range(0, len(labels), 500):
        logits = model(_scaled(pixels[start : start + 500])).logits
        right += int((logits.argmax(-1) == labels[start : start + 500]).sum())
    return right / len(labels)
