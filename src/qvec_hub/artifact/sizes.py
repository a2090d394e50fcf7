"""The shapes of a backbone's tensors that follow from the sizes in its config."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

__all__ = ["contradictions", "differing_sizes"]

MOST_STAGES = 16  # a tensor's name may hold any number
Sizes = Mapping[str, Any]  # `VectorConfig.architecture`
Shape = tuple[int, ...]


class ShapeRule(NamedTuple):
    """Which tensors a rule is about (by canonical name), the sizes it needs, and the shape that follows from them."""

    name: re.Pattern[str]
    needs: tuple[str, ...]
    shape: Callable[..., Shape]


def _rule(name: str, needs: str, shape: Callable[..., Shape]) -> ShapeRule:
    return ShapeRule(re.compile(name), tuple(needs.split()), shape)


_LAYER = r"encoder\.layer\.\d+\."
_PATCHES = _rule(
    r"embeddings\.patch_embeddings\.projection\.weight",
    "hidden_size num_channels patch_size",
    lambda width, channels, patch: (width, channels, *_pair(patch)),
)
_PLAIN = [
    _rule(r"embeddings\.(cls_token|distillation_token)", "hidden_size", lambda width: (1, 1, width)),
    _rule(
        rf"({_LAYER}(layernorm_before|layernorm_after|norm1|norm2)|layernorm)\.(weight|bias)",
        "hidden_size",
        lambda width: (width,),
    ),
    _rule(
        rf"{_LAYER}attention\.(attention\.(query|key|value)|output\.dense)\.weight",
        "hidden_size",
        lambda width: (width, width),
    ),
    _PATCHES,
]
_DENSE = [
    _rule(rf"{_LAYER}intermediate\.dense\.weight", "intermediate_size hidden_size", lambda inner, w: (inner, w)),
    _rule(rf"{_LAYER}output\.dense\.weight", "intermediate_size hidden_size", lambda inner, w: (w, inner)),
]


def _positions(more: int) -> ShapeRule:
    """more: tokens that are not patches."""

    def shape(image: Any, patch: Any, width: int) -> Shape:
        rows, columns = (int(side // part) for side, part in zip(_pair(image), _pair(patch), strict=True))
        return 1, rows * columns + more, width

    return _rule(r"embeddings\.position_embeddings", "image_size patch_size hidden_size", shape)


_SWIN = [
    _rule(
        r"embeddings\.patch_embeddings\.projection\.weight",
        "embed_dim num_channels patch_size",
        lambda width, channels, patch: (width, channels, *_pair(patch)),
    ),
    _rule(
        r"encoder\.layers\.(\d+)\.blocks\.\d+\.attention\.(self\.(query|key|value)|output\.dense)\.weight",
        "embed_dim",
        lambda width, stage: (width * 2**stage, width * 2**stage) if stage < MOST_STAGES else (),
    ),
]
RULES: dict[str, list[ShapeRule]] = {
    "vit": [*_PLAIN, *_DENSE, _positions(1)],
    "deit": [*_PLAIN, *_DENSE, _positions(2)],
    "beit": [*_PLAIN, *_DENSE, _positions(1)],
    "dinov2": [*_PLAIN, _positions(1)],
    "swin": _SWIN,
}
# Sizes that a vector and its receiver must share. The image size may differ where no tensor depends on it.
_SAME = (
    "hidden_size", "embed_dim", "depths", "num_heads", "num_hidden_layers", "num_attention_heads", "patch_size",
    "num_channels", "mlp_ratio",
)  # fmt: skip


def contradictions(model_type: str, sizes: Sizes, shapes: Mapping[str, Shape]) -> list[str]:
    """List each tensor whose shape contradicts the sizes, and a wrong depth; empty for unknown architectures.

    Tensors without a rule, and rules whose sizes are not given, are not checked.
    """
    problems = []
    for name, found in shapes.items():
        for rule in RULES.get(model_type, ()):
            match = rule.name.fullmatch(name)
            if match is None or not all(key in sizes for key in rule.needs):
                continue
            stage = [int(match[1])] if model_type == "swin" and rule.name.groups else []
            expected = _shape(rule, sizes, stage)
            if expected != tuple(found):
                said = ", ".join(f"{key} {sizes[key]}" for key in rule.needs)
                shown = "no shape at all" if expected is None else str(expected)
                problems.append(f"{name} has shape {tuple(found)}, {said} ask for {shown}")
    return problems + (_depth(sizes, shapes) if model_type in RULES else [])


def differing_sizes(theirs: Sizes, ours: Sizes) -> list[str]:
    """List the sizes that differ, of those that a vector and its receiver must share and that both configs state."""
    common = [key for key in _SAME if key in theirs and key in ours]
    return [f"{key} {theirs[key]} ≠ {ours[key]}" for key in common if _plain(theirs[key]) != _plain(ours[key])]


def _shape(rule: ShapeRule, sizes: Sizes, more: list[int]) -> Shape | None:
    try:
        return rule.shape(*(sizes[key] for key in rule.needs), *more)
    except (TypeError, ValueError, ArithmeticError):  # a list where a number belongs, a patch of 0 pixels
        return None


def _depth(sizes: Sizes, shapes: Mapping[str, Shape]) -> list[str]:
    if "depths" in sizes:  # of stages, as in Swin
        blocks = _numbered(r"encoder\.layers\.(\d+)\.blocks\.(\d+)\.", shapes)
        depths = [
            sum(1 for stage, _ in blocks if stage == str(number)) for number in range(len({s for s, _ in blocks}))
        ]
        wrong = bool(blocks) and depths != sizes["depths"]
        return [f"depths {sizes['depths']} ask for as many blocks, found {depths}"] if wrong else []
    layers = _numbered(r"encoder\.layer\.(\d+)\.", shapes)
    said = sizes.get("num_hidden_layers", len(layers))
    wrong = bool(layers) and said != len(layers)
    return [f"num_hidden_layers {said} asks for as many layers, found {len(layers)}"] if wrong else []


def _numbered(pattern: str, names: Iterable[str]) -> set[tuple[str, ...]]:
    return {found.groups() for name in names if (found := re.match(pattern, name))}


def _pair(size: Any) -> tuple[Any, Any]:
    if not isinstance(size, (list, tuple)):
        return size, size
    height, width = size
    return height, width


def _plain(size: Any) -> Any:
    """Reduce a list of equal numbers to one: ``[16, 16]`` to 16."""
    values = list(size) if isinstance(size, (list, tuple)) else [size]
    return values[0] if len(set(values)) == 1 else values
