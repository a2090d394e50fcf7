"""``qvec apply``: a receiver plus vectors, quantized and saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import app, emit, number_or_word
from .options import AsJson
from .variants import choices

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["apply"]

MOST_IMAGES = 512  # calibration images taken from a dataset
SHOWN = {None: "", "proxies": " on proxy images", "own_images": " on your images (not zero-shot)"}


@app.command(
    epilog="Example: qvec apply me/vit-base-flowers --vector you/vit-base-eurosat-int3-qvec "
    "--weights int3 --out flowers-int3"
)
def apply(
    receiver: Annotated[str, typer.Argument(help="The float model: a folder or a Hub repo id, id@revision allowed.")],
    out: Annotated[Path, typer.Option(help="Folder for the quantized model.")],
    vector: Annotated[
        list[str] | None,
        typer.Option(
            help="A vector: a folder or a Hub repo id. Repeat it for the mean of several; leave it out for none."
        ),
    ] = None,
    weights: Annotated[
        str, typer.Option(help="The grid: int2 … int8, ternary, or a full name such as int2-channel-mse.")
    ] = "int3",
    scale: Annotated[
        str | None,
        typer.Option(
            help="Factor of the vector: a number, 'recommended' (from the vector's config) or 'auto' (chosen on "
            "proxy images). Default: auto where the rounding uses images, else recommended.",
            show_default=False,
        ),
    ] = None,
    rounding: Annotated[
        str | None,
        typer.Option(
            help=f"One of {choices('rounding')}. All but nearest show images to the model, which takes minutes. "
            "Default: fitted at 2 and 3 bits where --scale is left out or auto, else nearest, the published method.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            help="A folder or dataset of calibration images instead of proxy images; the result is then not zero-shot."
        ),
    ] = None,
    check_lineage: Annotated[
        bool, typer.Option(help="Refuse a receiver that does not descend from the vector's base.")
    ] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also replace a model in --out that qvec_hub did not quantize.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add vectors to a model, quantize it and save it.

    At 2 and 3 bits scale and codes are found with proxy images, which takes minutes; --rounding nearest takes seconds.
    """
    from ..hub.cards.model_card import model_card
    from ..loading.config import open_vector
    from ..loading.from_pretrained import from_pretrained, save_model
    from ..loading.model_layout import check_model_folder

    check_model_folder(out, receiver, overwrite)
    opened = open_vector(vector[0] if vector and len(vector) == 1 else vector or None)
    how: dict[str, Any] = {"scale": None if scale is None else number_or_word(scale), "rounding": rounding}
    model = from_pretrained(
        receiver,
        vector=opened,
        weights=weights,
        check_lineage=check_lineage,
        images=None if images is None else _pixels(images, receiver),
        **how,
    )
    name = f"your-name/{out.resolve().name}"
    save_model(model, out, overwrite=overwrite, card=lambda existing: model_card(model.config, name, existing=existing))
    made = _facts(model, out)
    text = (
        f"{out}: {made['layers']} layers, {made['quantized_weights']:,} weights at {made['bits_per_weight']:.2f} bits, "
        f"{made['bytes'] / 1e6:.1f} MB on disk, scale {made['scale']:g}{_curve(made['scale_curve'])}, "
        f"rounding {made['rounding']}{SHOWN[made['watched']]}\n"
        f"Load it with: import qvec_hub; AutoModelForImageClassification.from_pretrained({str(out)!r})"
    )
    emit(made, text, as_json)


def _facts(model: Any, out: Path) -> dict[str, Any]:
    """What was done to a model that was saved, and its size."""
    from ..layers.packed_linear import packed_layers

    layers = packed_layers(model)
    quantized = sum(layer.in_features * layer.out_features for layer in layers)
    packed = sum(layer.weight_packed.numel() for layer in layers)
    record = model.config.quantization_config.to_dict()
    return {
        "out": str(out),
        **{key: record[key] for key in ("grid", "vector", "scale", "scale_curve", "rounding", "watched")},
        "layers": len(layers),
        "quantized_weights": quantized,
        "bits_per_weight": 8 * packed / quantized,
        "bytes": sum(path.stat().st_size for path in out.glob("*.safetensors")),
    }


def _curve(points: list[list[float]] | None) -> str:
    """The divergences that a scale was chosen by, as text."""
    if points is None:
        return ""
    return " (divergence " + ", ".join(f"{found:.3g} at {scale:g}" for scale, found in points) + ")"


def _pixels(images: str, receiver: str) -> Tensor:
    """Calibration images as the receiver's processor makes them, evenly spread over the dataset."""
    from ..backbone.processor import load_processor
    from ..evaluation.images import preprocess
    from .image_dataset import image_dataset

    return preprocess(image_dataset(images), load_processor(receiver), limit=MOST_IMAGES).pixel_values
