"""Give the tensors of another library's checkpoint their canonical names, one by one as they are used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..artifact.folder import Computed
from ..backbone.names import canonical_names
from ..errors import MisfitError
from ..util.untrusted import printable
from .layouts.registry import Layout, Row, detect, matching

__all__ = ["Translated", "translate"]


@dataclass(frozen=True)
class Translated:
    """A checkpoint under canonical names.

    Attributes:
        layout: what it was.
        config: the transformers config of the backbone.
        tensors: canonical name -> float tensor, computed when it is used.
        head: the head's tensors, under their own names without the prefix.
    """

    layout: Layout
    config: Any
    tensors: Computed
    head: dict[str, Tensor]


def translate(
    state: Mapping[str, Tensor], said: str, *, heads: int | None = None, head: tuple[str, ...] = ()
) -> Translated:
    """Translate a checkpoint, and compare names and shapes with the model that transformers builds for it.

    Args:
        state: tensors by the other library's names, under any common prefix.
        said: what messages call it.
        heads: number of attention heads; by default the usual one of this width.
        head: more names or beginnings of names to leave out.

    Raises:
        MisfitError: when it is of an unknown architecture, has tensors that the model has no place for, lacks some, or
            has some of another shape.
    """
    layout, prefix = detect(state.keys(), said)
    inside = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    beside = {name: tensor for name, tensor in state.items() if not name.startswith(prefix)}
    heads_found = {
        name: tensor
        for name, tensor in (inside | beside).items()
        if _is_any(name, layout.head) or any(name.startswith(beginning) for beginning in head)
    }
    body = {name: tensor for name, tensor in inside.items() if name not in heads_found}
    _refuse_homeless(body, layout, said)
    parts: dict[str, Part] = {}
    used = set()
    for name, tensor in body.items():
        found = _row(name, layout)
        if found is not None:
            row, ours, gain = found
            parts |= zip(ours, _parts(name, tensor, row, len(ours), body.get(gain or ""), said), strict=True)
            used |= {name, gain}
    strange = [name for name in body if name not in used and not _is_any(name, layout.ignored)]
    strange += [name for name in beside if name not in heads_found and not _is_head(name)]
    if strange:
        raise MisfitError(
            f"{said}: {len(strange)} tensors have no translation from {layout.name} ({_listed(sorted(strange))}); if "
            "they are of a head, name them by head (--head)"
        )
    shapes = {name: shape for name, (shape, _) in parts.items()}
    config = layout.config(shapes, heads)
    _refuse_incomplete(layout, config, shapes, said)
    return Translated(layout, config, Computed(shapes, lambda name: parts[name][1]()), heads_found)


def _row(name: str, layout: Layout) -> tuple[Row, list[str], str | None] | None:
    """The row that translates a name, its canonical names, and its LayerScale's name."""
    for row in layout.rows:
        found = matching(row.theirs).fullmatch(name)
        if found is not None:
            values = found.groupdict()
            values["before_i"] = str(int(values.get("i", 0)) - 1)
            gain = None if row.gain is None else row.gain.format(**values)
            return row, [ours.format(**values) for ours in row.ours], gain
    return None


Part = tuple[tuple[int, ...], Callable[[], Tensor]]


def _parts(name: str, tensor: Tensor, row: Row, count: int, gain: Tensor | None, said: str) -> list[Part]:
    """Shape of each of the `count` canonical tensors of one of theirs, and what computes it."""
    rows, rest = tensor.shape[0] if tensor.ndim else 0, tuple(tensor.shape[1:])
    if count > 1 and (not rows or rows % count):
        raise MisfitError(
            f"{said}: {name} has shape {tuple(tensor.shape)}; expected the rows of {count} tensors of one size"
        )
    if gain is not None and tuple(gain.shape) != (rows,):
        raise MisfitError(f"{said}: the LayerScale of {name} has shape {tuple(gain.shape)}, expected ({rows},)")
    if row.adjust is not None:
        adjusted = row.adjust(tensor.new_empty(tensor.shape, device="meta"))
        return [(tuple(adjusted.shape), lambda: row.adjust(tensor.float()))]
    if count == 1:
        return [(tuple(tensor.shape), partial(_scaled, tensor, gain))]
    return [((rows // count, *rest), partial(_scaled, part, None)) for part in tensor.chunk(count)]


def _scaled(tensor: Tensor, gain: Tensor | None) -> Tensor:
    if gain is None:
        return tensor.float()
    return tensor.float() * gain.float().view(-1, *[1] * (tensor.ndim - 1))


def _refuse_incomplete(layout: Layout, config: Any, shapes: Mapping[str, tuple[int, ...]], said: str) -> None:
    """Raise unless names and shapes are those of transformers' own model."""
    from transformers import AutoModel

    with torch.device("meta"):
        model = AutoModel.from_config(config)
    state = model.state_dict()
    wanted = {ours: tuple(state[name].shape) for name, ours in canonical_names(model).items()}
    missing, extra = sorted(wanted.keys() - shapes.keys()), sorted(shapes.keys() - wanted.keys())
    if missing or extra:
        told = [f"{kind} {_listed(names)}" for kind, names in (("lacks", missing), ("has beside them", extra)) if names]
        raise MisfitError(
            f"{said}: expected the {len(wanted)} tensors of transformers' {layout.model_type!r}, but it "
            f"{' and '.join(told)}"
        )
    for name, shape in wanted.items():
        if shapes[name] != shape:
            raise MisfitError(
                f"{said}: {name} has shape {shapes[name]}, expected {shape} by the other tensors; the checkpoint's "
                "tensors do not belong together"
            )


def _refuse_homeless(body: Mapping[str, Tensor], layout: Layout, said: str) -> None:
    for placeholder, why in layout.homeless.items():
        name = next((name for name in body if matching(placeholder).fullmatch(name)), None)
        if name is not None:
            raise MisfitError(
                f"{said}: {name} belongs to {why}, for which transformers' {layout.model_type!r} has no place; such a "
                "model cannot be translated"
            )


def _is_any(name: str, placeholders: tuple[str, ...]) -> bool:
    return any(matching(placeholder).fullmatch(name) for placeholder in placeholders)


# Of a whole CLIP and of the authors' classifiers: what stands beside the visual tower.
_BESIDE = (
    "head.",
    "classifier.",
    "classification_head.",
    "transformer.",
    "text.",
    "token_embedding.",
    "positional_embedding",
    "text_projection",
    "logit_scale",
    "logit_bias",
    "ln_final.",
)


def _is_head(name: str) -> bool:
    """Whether a tensor outside of the backbone's prefix is of a head or of CLIP's text side."""
    last = name.split(".")
    return any(".".join(last[k:]).startswith(_BESIDE) for k in range(min(len(last), 3)))


def _listed(names: list[str]) -> str:
    return printable(", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else ""), 300)
