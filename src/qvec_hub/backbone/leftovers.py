"""Refuse a checkpoint whose backbone has tensors that the model does not have.

A config with fewer layers than the checkpoint, or without biases, gives a model that works but is another one. Heads
and tensors that only pretraining needs may be left over: classifiers are made from such checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from ..errors import ArtifactError

__all__ = ["LoadReport", "refuse_leftovers"]

# Of backbones, and yet not used by a classifier: a layer of the bare model, a token of pretraining, constants that
# older versions of transformers saved.
_UNUSED = re.compile(
    r"(^|\.)pooler\.|(^|\.)(mask_token|position_ids|relative_position_index|attn_mask|num_batches_tracked)$"
)


def refuse_leftovers(source: object, model: PreTrainedModel, unexpected: Iterable[str]) -> None:
    """Raise when weights of a checkpoint's backbone were left out of the model.

    Args:
        source: name of the checkpoint, for messages.
        unexpected: names that the model does not have, as transformers tells them (in its run-time naming).

    Raises:
        ArtifactError: when there are any; the message names some.
    """
    prefix = f"{model.base_model_prefix}."
    places = _places(model.base_model)
    left = sorted(name for name in unexpected if name.startswith((prefix, *places)) and not _UNUSED.search(name))
    if left:
        raise ArtifactError(
            f"{source}: {len(left)} weights of the checkpoint's backbone find no place in the "
            f"{type(model).__name__} that config.json describes ({', '.join(left[:4])}{', …' if left[4:] else ''}) and "
            "would be left out; expected a config.json and a checkpoint that belong together"
        )


def _places(backbone: nn.Module) -> tuple[str, ...]:
    """Where a checkpoint of a bare backbone has weights: its embeddings, and its lists of layers."""
    parts = [name.split(".") for name, _ in backbone.named_modules()]
    numbers = [next((place for place, part in enumerate(each) if part.isdigit()), 0) for each in parts]
    lists = {".".join(each[:place]) for each, place in zip(parts, numbers, strict=True) if place}
    return tuple(f"{name}." for name in ("embeddings", *sorted(lists)))


class LoadReport:
    """Names of the tensors that transformers found missing, unexpected or of another shape while it loaded a model.

    transformers returns this to callers of ``from_pretrained``, not to a quantizer, so it is read where transformers
    itself uses it last, on this one model.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.missing: set[str] = set()
        self.unexpected: set[str] = set()
        self.mismatched: set[tuple[str, Any, Any]] = set()
        adjust = model._adjust_missing_and_unexpected_keys

        def read(info: Any) -> None:
            adjust(info)
            self.missing, self.unexpected = set(info.missing_keys), set(info.unexpected_keys)
            self.mismatched = set(info.mismatched_keys)

        vars(model)[adjust.__name__] = read

    def close(self, model: PreTrainedModel) -> None:
        """Remove the hooks, so that the model is as it was."""
        vars(model).pop("_adjust_missing_and_unexpected_keys", None)
