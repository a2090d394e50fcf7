"""``qvec extract`` and ``qvec info``: make a vector, and look at one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..util.untrusted import printable
from .app import app, emit, note, print_table
from .options import AsJson, Encoding, ReadToken

__all__ = ["extract", "info"]

MAX_VERDICT = 1000  # characters on the terminal; --json names every tensor that differs


@app.command(
    epilog="Example: qvec extract runs/eurosat/fp runs/eurosat/qat --base google/vit-base-patch16-224-in21k "
    "--task EuroSAT --grid int3 --out eurosat-int3-qvec"
)
def extract(
    finetuned: Annotated[str, typer.Argument(help="The plain fine-tune: a folder or a Hub repo id.")],
    qat: Annotated[str, typer.Argument(help="The quantization-aware fine-tune of the same base and task.")],
    out: Annotated[Path, typer.Option(help="Folder for the vector.")],
    base: Annotated[
        str | None, typer.Option(help="Their base; the vector can then refuse receivers of another one.")
    ] = None,
    grid: Annotated[str, typer.Option(help="The grid the QAT model was trained on.")] = "int3",
    task: Annotated[str | None, typer.Option(help="Name of the donor's task.")] = None,
    dataset: Annotated[str | None, typer.Option(help="The donor's dataset: a Hub repo id.")] = None,
    scale: Annotated[float, typer.Option(help="The scale to recommend for this vector.")] = 1.0,
    encoding: Encoding = "float32",
    images: Annotated[
        str | None,
        typer.Option(
            help="A folder or dataset; the vector carries some of its images, and loaders choose codes with them."
        ),
    ] = None,
    image_count: Annotated[int, typer.Option(help="Number of images that the vector carries.", min=1, max=512)] = 64,
    as_json: AsJson = False,
) -> None:
    """Make a vector: QAT fine-tune minus plain fine-tune, head excluded."""
    from ..artifact.vector_layout import check_vector_folder
    from ..vector.vector import QuantizationVector
    from .facts import summary

    check_vector_folder(out, images=images is not None)
    note(f"reading {finetuned} and {qat}")
    vector = QuantizationVector.extract(
        finetuned, qat, base, donor={"task": task, "dataset": dataset}, grid=grid, scale=scale
    )
    if images is not None:
        from ..artifact.images import side_of
        from ..training.shared_images import shared_images
        from .image_dataset import image_dataset

        size = side_of(vector.config.architecture.get("image_size"))
        vector = vector.with_images(shared_images(image_dataset(images), image_count, size))
    vector.save_pretrained(out, encoding=encoding)
    made = summary(out, QuantizationVector.from_pretrained(out))
    emit(
        made,
        f"{out}: {made['tensors']} tensors, {made['parameters']:,} parameters, norm {made['norm']:.4g}",
        as_json,
    )


@app.command(epilog="Example: qvec info lab/vit-base-eurosat-int3-qvec --receiver me/vit-base-flowers")
def info(
    vector: Annotated[str, typer.Argument(help="A vector: a folder or a Hub repo id, id@revision allowed.")],
    receiver: Annotated[
        str | None, typer.Option(help="A model: say whether the vector fits it, and if not, why.")
    ] = None,
    token: ReadToken = None,
    as_json: AsJson = False,
) -> None:
    """Show a vector's origin, results and tensors, and whether it fits a model."""
    from ..vector.vector import QuantizationVector
    from .facts import card_facts, hub_facts, shown, summary, tensor_rows, verdict

    opened = QuantizationVector.from_pretrained(vector, token=token)
    facts = {**summary(vector, opened), **hub_facts(opened.origin, token), **card_facts(vector, opened.origin, token)}
    rows = tensor_rows(opened)
    judged = None if receiver is None else verdict(opened, receiver, token)
    if as_json:
        emit({**facts, "table": rows, "receiver": judged}, "", True)
        return
    print_table(vector, ["", ""], shown(facts))
    print_table(
        "tensors",
        ["name", "shape", "norm", "rms"],
        [[r["name"], "×".join(map(str, r["shape"])), f"{r['norm']:.4g}", f"{r['rms']:.3g}"] for r in rows],
    )
    if judged is not None:
        print(printable(f"{receiver}: {judged['verdict']}", MAX_VERDICT))
