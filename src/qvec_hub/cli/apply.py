"""``qvec apply``: a receiver plus vectors, quantized and saved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import app, emit, number_or_word

__all__ = ["apply"]


@app.command(
    epilog="Example: qvec apply me/vit-base-flowers --vector you/vit-base-eurosat-int3-qvec "
    "--weights int3 --out flowers-int3"
)
def apply(
    receiver: Annotated[str, typer.Argument(help="The float model: a folder or a Hub repo id.")],
    out: Annotated[Path, typer.Option(help="Folder for the quantized model.")],
    vector: Annotated[
        list[str] | None, typer.Option(help="A vector; repeat for the mean of several; none: plain PTQ.")
    ] = None,
    weights: Annotated[str, typer.Option(help="int2 … int8, or a grid such as int2-channel-mse.")] = "int3",
    scale: Annotated[str, typer.Option(help="A number, or 'recommended'.")] = "recommended",
    check_lineage: Annotated[bool, typer.Option(help="Refuse receivers of another base.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Add vectors to a model, quantize it and save it."""
    from ..artifact import CARD_FILE
    from ..hub import model_card
    from ..loading import from_pretrained, save_model
    from ..plugin import open_vector
    from ..quanto import packed_layers

    opened = open_vector(vector[0] if vector and len(vector) == 1 else vector or None)
    model = from_pretrained(
        receiver, vector=opened, weights=weights, scale=number_or_word(scale), check_lineage=check_lineage
    )
    save_model(model, out, processor_from=receiver)
    card = out / CARD_FILE
    existing = card.read_text(encoding="utf-8", errors="replace") if card.exists() else ""
    card.write_text(model_card(model.config, f"your-name/{out.name}", existing=existing), encoding="utf-8")
    layers = packed_layers(model)
    quantized = sum(layer.in_features * layer.out_features for layer in layers)
    packed = sum(layer.weight_packed.numel() for layer in layers)
    size = sum(path.stat().st_size for path in out.glob("*.safetensors"))
    record = model.config.quantization_config.to_dict()
    result = {
        "out": str(out),
        "grid": record["grid"],
        "vector": record["vector"],
        "scale": record["scale"],
        "layers": len(layers),
        "quantized_weights": quantized,
        "bits_per_weight": 8 * packed / quantized,
        "bytes": size,
    }
    text = (
        f"{out}: {len(layers)} layers, {quantized:,} weights at {8 * packed / quantized:.2f} bits, "
        f"{size / 1e6:.1f} MB on disk, scale {record['scale']:g}\n"
        f"Load it with: import qvec_hub; AutoModelForImageClassification.from_pretrained({str(out)!r})"
    )
    emit(result, text, as_json)
