"""Values in a checkpoint's config.json that no model can have, found before anything is built from them."""

from __future__ import annotations

import json
import math
from typing import Any

from ..errors import ArtifactError
from ..util.untrusted import printable

__all__ = ["refuse_impossible"]

# The largest that are believed: far above any vision model, and small enough that nothing is built for hours.
LARGEST = {
    "hidden_size": 1 << 17,
    "intermediate_size": 1 << 20,
    "num_hidden_layers": 2048,
    "num_attention_heads": 1 << 17,
    "image_size": 1 << 16,
    "patch_size": 1 << 16,
    "num_channels": 1 << 16,
    "num_labels": 1 << 20,
    "embed_dim": 1 << 17,
    "depths": 2048,
    "num_heads": 1 << 17,
    "window_size": 1 << 16,
}
LARGEST_MLP_RATIO = 1024


def refuse_impossible(said: str, values: dict[str, Any]) -> None:
    """Raise when config.json names no model type, or sizes that cannot be.

    Args:
        said: the checkpoint, for messages.
        values: the parsed file.

    Raises:
        ArtifactError: naming the key, what was expected and what was found.
    """
    kind = values.get("model_type")
    if not isinstance(kind, str) or not kind:
        raise _wrong(said, "model_type", "the name of a transformers model, such as 'vit'", kind)
    for key, largest in LARGEST.items():
        found = values.get(key)
        if found is None:
            continue  # the model's own default, or none, which building it will tell
        least = 0 if key == "num_labels" else 1
        if not all(_is_count(one, least, largest) for one in (found if isinstance(found, list) and found else [found])):
            raise _wrong(said, key, f"a whole number from {least} to {largest:,}, or a list of such", found)
    ratio = values.get("mlp_ratio") or 1
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 < ratio <= LARGEST_MLP_RATIO:
        raise _wrong(said, "mlp_ratio", f"a number above 0, at most {LARGEST_MLP_RATIO}", ratio)
    width, heads = values.get("hidden_size"), values.get("num_attention_heads")
    if isinstance(width, int) and isinstance(heads, int) and width % heads:
        raise _wrong(said, "num_attention_heads", f"a divisor of hidden_size {width}", heads)
    image, patch = values.get("image_size"), values.get("patch_size")
    if isinstance(image, int) and isinstance(patch, int) and patch > image:
        raise _wrong(said, "patch_size", f"at most image_size {image}", patch)


def _is_count(value: Any, least: int, largest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= largest


def _wrong(said: str, key: str, expected: str, found: Any) -> ArtifactError:
    shown = str(found) if isinstance(found, float) and not math.isfinite(found) else json.dumps(found, default=str)
    return ArtifactError(
        f"{said}: config.json: {key}: expected {expected}, found {printable(shown, 60)}; correct the file, or use the "
        "one that belongs to the weights"
    )
