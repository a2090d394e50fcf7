"""The tables of a run: a CSV in timm's columns, and a page that sets published figures beside what was counted."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageClassification

from ...backbone.names import backbone_linears
from ...grid.grid import Grid
from ...grid.quantize import scale_shape
from ...hub.cards.markdown import plain, table
from ...results.row import PROXY, Row
from ...util.atomic import write_text
from ..methods import proxied
from .models import AnchorModel
from .suite import short_name

__all__ = ["COLUMNS", "TIMM_COLUMNS", "Sizes", "csv_line", "published", "write_tables"]

CSV_FILE, PUBLISHED_FILE, PAGE_FILE = "anchors.csv", "published.csv", "anchors.md"
TIMM_COLUMNS = (
    "model", "img_size", "top1", "top1_err", "top5", "top5_err", "param_count", "crop_pct", "interpolation",
)  # fmt: skip
COLUMNS = (
    *TIMM_COLUMNS, "bits", "grid", "method", "data", "images_shown", "bits_per_weight", "n", "correct", "correct_top5",
    "revision", "dataset", "dataset_revision", "split", "suite", "suite_version", "device",
)  # fmt: skip
FLOAT_BITS, SCALE_BITS = 32, 32  # of an unquantized weight; of a scale, and of an affine grid's shift
PUBLISHED = Path(__file__).with_name("published.csv")


@dataclass(frozen=True)
class Sizes:
    """The sizes of a model that its tables tell.

    Attributes:
        image: pixels of a side.
        parameters: number of all parameters.
        linears: ``(out, in)`` of each linear layer that is rounded.
    """

    image: int
    parameters: int
    linears: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, model: AnchorModel) -> Sizes:
        """The sizes of a converted model, from its config alone."""
        with torch.device("meta"):
            empty = AutoModelForImageClassification.from_config(model.config())
        shapes = tuple((layer.out_features, layer.in_features) for _, layer in backbone_linears(empty))
        return cls(int(empty.config.image_size), sum(each.numel() for each in empty.parameters()), shapes)

    def bits_per_weight(self, grid: Grid | None) -> float:
        """Bits that a rounded weight takes with its share of scales and shifts, on average."""
        if grid is None:
            return FLOAT_BITS
        weights = sum(prod(shape) for shape in self.linears)
        units = sum(prod(scale_shape(torch.Size(shape), grid)) for shape in self.linears)
        return grid.bits + SCALE_BITS * (1 if grid.symmetric else 2) * units / weights


def write_tables(out: Path, rows: Iterable[Row], models: Mapping[str, AnchorModel]) -> None:
    """Write ``anchors.csv``, ``published.csv`` and ``anchors.md`` into a run's folder.

    What was counted and what was published stand in files, and on the page in tables, of their own.
    """
    rows = sorted(rows, key=lambda row: list(models).index(row.receiver))
    sizes = {name: Sizes.of(models[name]) for name in dict.fromkeys(row.receiver for row in rows)}
    lines = [csv_line(row, models[row.receiver], sizes[row.receiver]) for row in rows]
    write_text(out / CSV_FILE, _csv(lines))
    write_text(out / PUBLISHED_FILE, PUBLISHED.read_text(encoding="utf-8"))
    write_text(out / PAGE_FILE, _page(lines))


def csv_line(row: Row, model: AnchorModel, sizes: Sizes) -> dict[str, Any]:
    """A row by the names of `COLUMNS`; shares in percent, parameters in millions, as timm has them."""
    top5 = None if row.correct_top5 is None else row.correct_top5 / row.n
    used = row.calibration
    return {
        "model": short_name(row.receiver),
        "img_size": sizes.image,
        "top1": f"{100 * row.top1:.3f}",
        "top1_err": f"{100 - 100 * row.top1:.3f}",
        "top5": "" if top5 is None else f"{100 * top5:.3f}",
        "top5_err": "" if top5 is None else f"{100 - 100 * top5:.3f}",
        "param_count": f"{sizes.parameters / 1e6:,.2f}",
        "crop_pct": f"{model.origin.crop_pct:.3f}",
        "interpolation": model.origin.interpolation,
        "bits": row.grid.bits if row.grid else FLOAT_BITS,
        "grid": row.grid.name if row.grid else "",
        "method": _method(row),
        "data": "none" if used is None else used.split,
        "images_shown": 0 if used is None else used.n,
        "bits_per_weight": f"{sizes.bits_per_weight(row.grid):.3f}",
        "n": row.n,
        "correct": row.correct,
        "correct_top5": "" if row.correct_top5 is None else row.correct_top5,
        "revision": row.receiver_revision,
        "dataset": row.dataset,
        "dataset_revision": row.dataset_revision or "",
        "split": row.split,
        "suite": row.suite,
        "suite_version": row.suite_version,
        "device": row.device,
    }


@cache
def published() -> tuple[dict[str, str], ...]:
    """Figures that others published, in the columns of ``published.csv``; nothing in them was counted here."""
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def _method(row: Row) -> str:
    if row.method == "ptq":
        return "hqq" if row.grid and row.grid.range == "hqq" else "rtn"
    return proxied(row.method) or row.method


def _csv(lines: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _page(lines: Sequence[Mapping[str, Any]]) -> str:
    first = lines[0]
    parts = [
        f"# {plain(first['suite'])} {plain(first['suite_version'])}",
        f"Counted on {plain(first['dataset'])}, split {plain(first['split'])}. *Counted here* are rows of this folder; "
        "*published* are figures of others, which nobody counted here. Plain rounding (rtn) and HQQ look at weights "
        "alone, so there is no variant of them with images.",
    ]
    for model in dict.fromkeys(line["model"] for line in lines):
        parts += [f"## {plain(model)}", "Counted here:", _counted([each for each in lines if each["model"] == model])]
        others = [each for each in published() if each["model"] == model]
        if others:
            parts += ["Published, not counted here:", _published(others)]
    return "\n\n".join(parts) + "\n"


def _counted(lines: Sequence[Mapping[str, Any]]) -> str:
    header = ["bits", "method", "grid", "images shown", "top-1, %", "top-5, %", "right", "bits a weight"]
    shown = [
        [
            str(each["bits"]),
            str(each["method"]),
            str(each["grid"]) or "–",
            _images(each),
            str(each["top1"]),
            str(each["top5"]) or "–",
            f"{each['correct']} of {each['n']}",
            str(each["bits_per_weight"]),
        ]
        for each in sorted(lines, key=_place)
    ]
    return table(header, shown)


def _place(line: Mapping[str, Any]) -> tuple[Any, ...]:
    """Where a line stands on the page: by width, and what needs no data first."""
    return -int(line["bits"]), line["data"] != "none", line["data"] != PROXY


def _images(line: Mapping[str, Any]) -> str:
    if line["data"] == "none":
        return "none"
    kind = "proxy images" if line["data"] == PROXY else f"images of {plain(line['data'])}"
    return f"{line['images_shown']:,} {kind}"


def _published(lines: Sequence[Mapping[str, str]]) -> str:
    header = ["bits of weights / activations", "method", "images", "top-1, %", "source", "note"]
    shown = [
        [
            f"{each['weight_bits']} / {each['activation_bits']}",
            *(each[key] for key in ("method", "images", "top1", "source")),
            each["note"] or "–",
        ]
        for each in lines
    ]
    return table(header, shown)
