"""Anchors: what is counted is what transformers' own model predicts, once a row, in tables of timm's columns."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil, ViTForImageClassification

from qvec_hub import DataError, Grid
from qvec_hub.bench.anchors.images import spread_over_classes
from qvec_hub.bench.anchors.run import AnchorRun, open_anchors, run_anchors
from qvec_hub.bench.anchors.suite import AnchorSuite, anchor_cells, load_anchors
from qvec_hub.bench.anchors.tables import COLUMNS, TIMM_COLUMNS, Sizes, published
from qvec_hub.bench.anchors.verify import verify_anchors
from qvec_hub.results.row import PROXY, ImagesUse

from .anchors import GRIDS, LABELS, SYNSETS, anchor_suite, image_folder, timm_folder

pytestmark = pytest.mark.usefixtures("quick_rounding")


def run(suite: AnchorSuite, out: Path, said: list[str] | None = None, **options: Any) -> AnchorRun:
    chosen = {key: options.pop(key) for key in ("models", "bits", "data_free") if key in options}
    cells = anchor_cells(suite, **chosen)
    return run_anchors(suite, out, cells, show=False, say=(said if said is not None else []).append, **options)


@pytest.fixture
def suite(tmp_path: Path) -> AnchorSuite:
    models = [timm_folder(tmp_path / "timm" / f"vit_{seed}.tiny", seed) for seed in (0, 1)]
    return anchor_suite(models, image_folder(tmp_path / "imagenet"))


def counted_by_transformers(folder: Path, images: Path, grid: Grid | None) -> int:
    """Right predictions of transformers' own classes; the linear layers rounded here, by absmax a row."""
    model = ViTForImageClassification.from_pretrained(folder).eval()
    if grid is not None:
        assert (grid.range, grid.granularity, grid.symmetric) == ("absmax", "channel", True)
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Linear) and name != "classifier":
                weight = module.weight.data
                scale = weight.abs().amax(dim=1, keepdim=True) / (2 ** (grid.bits - 1) - 1)
                codes = (weight / scale).round().clamp(-(2 ** (grid.bits - 1)), 2 ** (grid.bits - 1) - 1)
                module.weight.data = codes * scale
    processor = CLIPImageProcessorPil.from_pretrained(folder)
    right = 0
    for label, synset in zip(LABELS, SYNSETS, strict=True):
        for path in (images / "val" / synset).iterdir():
            pixels = processor(images=Image.open(path), return_tensors="pt")["pixel_values"]
            right += int(model(pixel_values=pixels).logits.argmax()) == label
    return right


def test_counts_are_those_of_transformers(suite: AnchorSuite, tmp_path: Path) -> None:
    assert run(suite, tmp_path / "run") == AnchorRun(tmp_path / "run", 14, 14, 14)
    rows, kept = open_anchors(tmp_path / "run")
    assert kept == suite
    found = {(row.receiver, row.method, row.grid and row.grid.name): row for row in rows}
    for source in suite.models:
        folder = tmp_path / "run" / "models" / Path(source).name / "model"
        for method, grid in (("fp", None), ("ptq", GRIDS[1])):
            row = found[source, method, grid]
            expected = counted_by_transformers(folder, tmp_path / "imagenet", grid and Grid.parse(grid))
            assert (row.correct, row.n) == (expected, 24)
            assert 0 < row.correct <= (row.correct_top5 or 0) <= 24
    shown = {row.method: row.calibration for row in rows}
    assert shown == {
        "fp": None,
        "ptq": None,
        "proxy_tuned": ImagesUse(PROXY, 64, 0),
        "gptq": ImagesUse("train", 7, 0),
        "tuned": ImagesUse("train", 7, 0),
    }
    checks = verify_anchors(rows, None, suite, tmp_path / "run" / "models")
    assert [check.why for check in checks] == [""] * 14
    assert all(check.reproduces for check in checks)


def test_a_second_run_counts_what_is_missing(suite: AnchorSuite, tmp_path: Path) -> None:
    out, said = tmp_path / "run", []
    first = run(suite, out, said, models=["vit_0.tiny"], bits=[3])
    assert (first.new, first.cells) == (2, 2)  # unquantized, and plain rounding
    assert any("vit_0.tiny: 2 rows of 24 images, about" in line for line in said)
    assert not (out / "models" / "vit_1.tiny").exists()
    before = (out / "rows.jsonl").read_bytes()
    second = run(suite, out, data_free=True)
    assert (second.new, second.total, second.cells) == (8, 10, 10)
    assert (out / "rows.jsonl").read_bytes().startswith(before)
    assert run(suite, out, data_free=True).new == 0
    assert run(suite, out, said, only_estimate=True).new == 0
    assert said[-1].startswith("in all 4 rows, about ")
    with pytest.raises(DataError, match="found another suite, version or images"):
        run(suite.on(test=3), out)


def test_without_training_images_nothing_but_the_counted_split_is_opened(tmp_path: Path) -> None:
    model = timm_folder(tmp_path / "vit.tiny")
    suite = anchor_suite([model], image_folder(tmp_path / "imagenet", splits=["val"]))
    with pytest.raises(DataError, match="expected a split 'train'"):
        run(suite, tmp_path / "run")
    assert run(suite, tmp_path / "run", data_free=True).new == 5
    with pytest.raises(DataError, match="calibration images from another split than 'validation'"):
        run(suite.on(train_split="validation"), tmp_path / "other")


def test_tables_have_timms_columns_and_published_figures_apart(suite: AnchorSuite, tmp_path: Path) -> None:
    known = "deit_base_patch16_224.fb_in1k"
    (tmp_path / "timm" / "vit_0.tiny").rename(tmp_path / "timm" / known)
    suite = suite.model_copy(update={"models": (str(tmp_path / "timm" / known),)})
    run(suite, tmp_path / "run")
    with (tmp_path / "run" / "anchors.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == COLUMNS
    assert COLUMNS[:9] == TIMM_COLUMNS
    rows, _ = open_anchors(tmp_path / "run")
    for row, line in zip(rows, lines, strict=True):
        assert line["model"] == known
        assert (line["img_size"], line["crop_pct"], line["interpolation"]) == ("16", "0.900", "bicubic")
        assert float(line["top1"]) == pytest.approx(100 * row.correct / 24, abs=1e-3)
        assert float(line["top1"]) + float(line["top1_err"]) == pytest.approx(100, abs=2e-3)
        assert int(line["correct"]) == row.correct
    assert [line["method"] for line in lines] == ["fp", "rtn", "rtn", "hqq", "tuned", "gptq", "tuned"]
    assert [line["data"] for line in lines] == ["none"] * 4 + [PROXY, "train", "train"]
    assert [line["images_shown"] for line in lines] == ["0"] * 4 + ["64", "7", "7"]
    page = (tmp_path / "run" / "anchors.md").read_text()
    counted, others = page.split("Published, not counted here:")
    figures = [each for each in published() if each["model"] == known]
    assert len(figures) > 10
    assert all(f"| {each['method']} |" in others for each in figures)
    assert not any(each["source"] in counted for each in figures)
    assert (tmp_path / "run" / "published.csv").read_text().count("\n") == 1 + len(published())


def test_published_figures_name_their_source() -> None:
    models = {name.partition("/")[2] for name in load_anchors("imagenet-anchors").models}
    for line in published():
        assert line["model"] in models
        assert 0 < float(line["top1"]) < 100
        assert line["source"]
        assert line["images"]


def test_the_page_has_the_published_figures_as_the_file_does() -> None:
    page = (Path(__file__).parents[2] / "docs" / "imagenet-anchors.md").read_text(encoding="utf-8")
    wanted = [
        f"| `{each['model']}` | {each['weight_bits']} / {each['activation_bits']} | "
        + " | ".join(each[key] for key in ("method", "images", "top1", "source"))
        + " |"
        for each in published()
    ]
    assert [line for line in page.splitlines() if line.startswith("| `")] == wanted


def test_bits_a_weight_count_scales_and_shifts() -> None:
    sizes = Sizes(16, 1000, ((4, 64), (8, 64)))
    assert sizes.bits_per_weight(None) == 32
    assert sizes.bits_per_weight(Grid.parse("int3-channel-absmax")) == 3 + 32 / 64
    assert sizes.bits_per_weight(Grid.parse("int2-channel-mse-affine")) == 2 + 2 * 32 / 64
    assert sizes.bits_per_weight(Grid.parse("int4-group16-absmax")) == 4 + 32 / 16
    assert sizes.bits_per_weight(Grid.parse("int4-tensor-absmax")) == 4 + 32 * 2 / 768


def test_calibration_images_are_spread_over_classes() -> None:
    labels = np.repeat(np.arange(10), [3, 9, 9, 9, 9, 9, 9, 9, 9, 9])
    rows = spread_over_classes(labels, 42, seed=0)
    assert rows == sorted(set(rows))
    counts = np.bincount(labels[rows], minlength=10)
    assert counts[0] == 3
    assert set(counts[1:].tolist()) == {4, 5}
    assert rows == spread_over_classes(labels, 42, seed=0) != spread_over_classes(labels, 42, seed=1)
    assert spread_over_classes(labels, 1000, seed=0) == list(range(len(labels)))


def test_the_suite_of_the_package() -> None:
    suite = load_anchors("imagenet-anchors")
    cells = anchor_cells(suite)
    assert len(cells) == len(set(cells)) == 4 * 22
    assert len(anchor_cells(suite, data_free=True)) == 4 * 16
    local = suite.on(dataset="/data/imagenet", test=100)
    assert (local.images.files, local.images.dataset, local.images.calibration) == (None, "/data/imagenet", 1024)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ["a/vit", "b/vit"]}, "names that differ behind the last slash"),
        ({"measure": [{"method": "own_qat", "grids": ["int3"]}]}, "found method 'own_qat'"),
        ({"measure": [{"method": "ptq"}]}, "method 'ptq' needs grids"),
        ({"images": {"dataset": "a/b", "calibration": 0}}, "images.calibration"),
    ],
)
def test_what_is_no_suite_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    values = json.loads(anchor_suite(["a/vit"], "a/b").model_dump_json(exclude_none=True))
    (tmp_path / "mine.yaml").write_text(json.dumps(values | changes))
    with pytest.raises(DataError, match=message):
        load_anchors(tmp_path / "mine.yaml")
