"""The model card of the zoo's base."""

from __future__ import annotations

from .base import BASES, WIDEST

__all__ = ["base_card"]

_CARD = """\
---
license: apache-2.0
library_name: transformers
pipeline_tag: image-classification
tags: [vit, qvec-hub]
---
# {name}: a small ViT of the zoo

A Vision Transformer of {parameters:.2f} M parameters ({layers} layers, width {width}, {heads} heads, 24×24 RGB images
in 6×6 patches), the common base of the models fine-tuned on the tasks of `qvec_hub.zoo`. It has no classification
head. It is meant for trying out quantization vectors (arXiv 2604.03420) on a laptop, and for nothing else.

**Data.** {images:,} images drawn by `qvec_hub.zoo.mixture`: Armenian, Georgian and Hebrew letters (DejaVu fonts),
drawn figures (outlines, broken lines, patterns of dots, pointers), surfaces (grain, plaids, cells, fields of colour)
and scenes (bundles of strokes, pairs, hues); {classes} classes in one label space. No image, letter, figure or
photograph of the zoo's tasks is among them.

**Training.** Supervised, {steps:,} steps of {batch} images, AdamW, weights clipped to {widest} root mean squares of
their row, seed {seed}.
Accuracy on held-out images of the mixture: {accuracy:.3f}. To repeat it:

    python -m qvec_hub.zoo.pretrain --base {name} --out {name} --steps {steps} --seed {seed}

**Use.**

    from transformers import ViTForImageClassification, ViTImageProcessor
    from qvec_hub import zoo

    model = ViTForImageClassification.from_pretrained(zoo.base_path("{name}"), num_labels=10)
    processor = ViTImageProcessor.from_pretrained(zoo.base_path("{name}"))
"""


def base_card(name: str, *, steps: int, batch: int, images: int, classes: int, seed: int, accuracy: float) -> str:
    """README.md of a base made by `make_base`."""
    scale = BASES[name]
    return _CARD.format(
        name=name,
        parameters=scale.parameters / 1e6,
        layers=scale.layers,
        width=scale.width,
        heads=scale.heads,
        widest=WIDEST,
        steps=steps,
        batch=batch,
        images=images,
        classes=classes,
        seed=seed,
        accuracy=accuracy,
    )
