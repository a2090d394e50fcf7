"""``qvec extract`` and ``qvec info``: making a vector and looking at one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from .app import app, emit, note, print_table

__all__ = ["extract", "info"]


@app.command(
    epilog="Example: qvec extract runs/eurosat/fp runs/eurosat/qat --base google/vit-base-patch16-224-in21k "
    "--task EuroSAT --grid int3 --out eurosat-int3-qvec"
)
def extract(
    finetuned: Annotated[str, typer.Argument(help="The plain fine-tune: a folder or a Hub repo id.")],
    qat: Annotated[str, typer.Argument(help="The quantization-aware fine-tune of the same base and task.")],
    out: Annotated[Path, typer.Option(help="Folder for the vector.")],
    base: Annotated[str | None, typer.Option(help="Their common base; lets the vector refuse strangers.")] = None,
    grid: Annotated[str, typer.Option(help="The grid the QAT model was trained on.")] = "int3",
    task: Annotated[str | None, typer.Option(help="Name of the donor's task.")] = None,
    dataset: Annotated[str | None, typer.Option(help="The donor's dataset.")] = None,
    scale: Annotated[float, typer.Option(help="The scale to recommend.")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make a vector: QAT fine-tune minus plain fine-tune, head excluded."""
    from ..vector import QuantizationVector

    note(f"reading {finetuned} and {qat}")
    vector = QuantizationVector.extract(
        finetuned, qat, base, donor={"task": task, "dataset": dataset}, grid=grid, scale=scale
    )
    vector.save_pretrained(out)
    summary = _summary(out, QuantizationVector.from_pretrained(out))
    emit(
        summary,
        f"{out}: {summary['tensors']} tensors, {summary['parameters']:,} parameters, norm {summary['norm']:.4g}",
        as_json,
    )


@app.command(epilog="Example: qvec info eurosat-int3-qvec --receiver me/vit-base-flowers")
def info(
    vector: Annotated[str, typer.Argument(help="A vector: a folder or a Hub repo id.")],
    receiver: Annotated[str | None, typer.Option(help="A model: does the vector fit it, and if not, why?")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what a vector is, tensor by tensor, and whether it fits a model."""
    from ..vector import QuantizationVector

    opened = QuantizationVector.from_pretrained(vector)
    summary = _summary(vector, opened)
    rows: list[dict[str, Any]] = [
        {"name": name, "shape": list(shape), "norm": float(opened[name].norm())}
        for name, shape in opened.shapes().items()
    ]
    verdict = None if receiver is None else _verdict(opened, receiver)
    if as_json:
        emit({**summary, "table": rows, "receiver": verdict}, "", True)
        return
    print_table(
        vector,
        ["", ""],
        [[key, _text(value)] for key, value in summary.items() if key != "vector"],
    )
    print_table(
        "tensors",
        ["name", "shape", "norm", "rms"],
        [[r["name"], "×".join(str(size) for size in r["shape"]), f"{r['norm']:.4g}", f"{_rms(r):.3g}"] for r in rows],
    )
    if verdict is not None:
        print(f"{receiver}: " + ("fits" if verdict["fits"] else f"does not fit: {verdict['reason']}"))


def _summary(where: object, vector: Any) -> dict[str, Any]:
    config = vector.config
    return {
        "vector": str(where),
        "task": config.donor.task,
        "dataset": config.donor.dataset,
        "base_model": config.base_model.repo_id,
        "base_revision": config.base_model.revision,
        "model_type": config.model_type,
        "architecture": config.architecture,
        "grid": config.grid.name,
        "recipe": config.recipe,
        "recommended_scale": config.scale,
        "encoding": config.encoding.name,
        "tensors": config.tensors.count,
        "parameters": config.tensors.parameters,
        "norm": config.tensors.norm,
        "sha256": config.tensors.sha256,
        "lineage_sketch": vector.lineage is not None,
        "sources": [source.to_dict() for source in config.sources],
    }


def _verdict(vector: Any, receiver: str) -> dict[str, Any]:
    from ..checkpoint import load_classifier
    from ..errors import QVecError
    from ..patch import refuse_unsuitable

    try:
        similarity = refuse_unsuitable(vector, load_classifier(receiver))
    except QVecError as error:
        return {"model": receiver, "fits": False, "reason": str(error)}
    return {"model": receiver, "fits": True, "reason": None, "similarity": similarity}


def _rms(row: dict[str, Any]) -> float:
    return row["norm"] / math.sqrt(max(1, math.prod(row["shape"])))


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items()) or "–"
    if isinstance(value, list):
        return ", ".join(f"{s['weight']:g} × {s['repo_id'] or 'a local vector'}" for s in value) or "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "–" if value is None else f"{value:,}" if type(value) is int else str(value)
