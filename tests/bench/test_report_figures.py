"""What a report's figures show: even colours, readable numbers, units, and what was counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot as plt
from skimage.color import deltaE_ciede2000, rgb2lab

from qvec_hub.bench.context import Context
from qvec_hub.bench.report.bars import draw_bars
from qvec_hub.bench.report.curves import draw_bits, draw_scales
from qvec_hub.bench.report.heatmap import _number, draw_heatmap
from qvec_hub.bench.report.style import diverging, on_background
from qvec_hub.bench.report.text import sample
from qvec_hub.bench.report.treatments import measured
from qvec_hub.bench.stats.transfer import Transfer
from qvec_hub.results.row import DonorUse, Row

from .synthetic import a_row, synthetic

GRID = "int2-channel-mse"
TASKS = ("digits", "shapes", "counting", "textures")


@pytest.fixture(scope="module")
def rows_and_context() -> tuple[list[Row], Context]:
    return synthetic(("base-xs",), TASKS, (GRID, "int3-channel-mse"))


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def is_outlier(row: Row) -> bool:
    return row.receiver == "zoo-xs-shapes" and [use.repo for use in row.donors] == [f"zoo-xs-digits-{GRID}-qvec"]


def colours() -> np.ndarray:
    return diverging()(np.linspace(0, 1, 101))[:, :3]


def test_colours_are_even_to_the_eye_and_dark_at_both_ends() -> None:
    lab = rgb2lab(colours())
    steps = deltaE_ciede2000(lab[:-1], lab[1:])
    assert steps.max() / steps.min() < 2.5
    lightness = lab[:, 0]
    assert lightness[50] > 94
    assert np.allclose(lightness, lightness[::-1], atol=3)
    assert (np.diff(lightness[:51]) > 0).all()
    assert (np.diff(lightness[50:]) < 0).all()


def test_the_colour_blind_tell_gains_from_losses() -> None:
    """Deuteranopia, protanopia and tritanopia as in Machado, Oliveira and Fernandes, 2009."""
    seen = {
        "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                         [-0.01182, 0.04294, 0.968881]],
        "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                       [-0.003882, -0.048116, 1.051998]],
        "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                       [0.004733, 0.691367, 0.3039]],
    }  # fmt: skip
    scale = colours()
    linear = np.where(scale <= 0.04045, scale / 12.92, ((scale + 0.055) / 1.055) ** 2.4)
    for matrix in seen.values():
        shown = np.clip(linear @ np.array(matrix).T, 0, 1)
        lab = rgb2lab(np.where(shown <= 0.0031308, 12.92 * shown, 1.055 * shown ** (1 / 2.4) - 0.055))
        assert deltaE_ciede2000(lab[:41], lab[100:59:-1]).min() > 8  # from a fifth of the scale on
        assert deltaE_ciede2000(lab[0], lab[100]) > 25


def test_numbers_are_readable_on_every_colour() -> None:
    scale = diverging()
    for place in [-1.0, *np.linspace(0, 1, 101), 2.0]:  # below and above the range, too
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in scale(float(place))[:3]]
        luminance = float(np.dot([0.2126, 0.7152, 0.0722], linear))
        ink = {"black": 0.0, "white": 1.0}[on_background(scale(float(place)))]
        assert (max(luminance, ink) + 0.05) / (min(luminance, ink) + 0.05) >= 4.5
    assert scale(-1.0) != scale(0.0)
    assert scale(2.0) != scale(1.0)


@pytest.mark.parametrize(
    ("gain", "text"),
    [(4.4, "+4"), (4.5, "+5"), (-4.5, "−5"), (-12.3, "−12"), (0.2, "0"), (-0.49, "0"), (-0.5, "−1"), (100, "+100")],
)
def test_every_number_has_one_format(gain: float, text: str) -> None:
    assert _number(gain) == text


def changed(rows_and_context: tuple[list[Row], Context], correct: int | None) -> Any:
    rows, context = rows_and_context
    rows = [replace(row, correct=correct) if correct is not None and is_outlier(row) else row for row in rows]
    return draw_heatmap(measured(rows, context), "base-xs", GRID)


@pytest.mark.parametrize(("correct", "extend"), [(1000, "max"), (0, "min")])
def test_values_out_of_range_are_marked(correct: int, extend: str, rows_and_context) -> None:
    axis, bar = changed(rows_and_context, correct).axes
    (shown,) = axis.images
    assert shown.norm.vmin == -shown.norm.vmax
    assert bar._colorbar.extend == extend
    outlier = shown.get_array()[2, 1]  # shapes, with the vector of digits
    assert abs(outlier) > shown.norm.vmax
    assert tuple(shown.to_rgba(outlier)) == tuple(shown.cmap.get_over() if outlier > 0 else shown.cmap.get_under())


def test_a_heatmap_says_its_units_and_what_was_counted(rows_and_context) -> None:
    axis, bar = changed(rows_and_context, None).axes
    assert "percentage points" in bar.get_ylabel()
    assert axis.get_xlabel().startswith("donor's task")
    assert axis.get_ylabel() == "receiver"
    title = axis.get_title(loc="left")
    assert "4 receivers, 4 donors, 1,000 images per receiver" in title
    assert "base-xs, int2-channel-mse" in title


def test_nothing_overlaps_for_22_tasks() -> None:
    rows, context = synthetic(("base-s",), [f"some-long-task-{i:02}" for i in range(22)], (GRID,), gain=-0.2)
    rows = [row for row in rows if row.method == "ptq" or (row.scale == 1 and row.merge is None and not row.control)]
    figure = draw_heatmap(measured(rows, context), "base-s", GRID)
    figure.draw_without_rendering()
    axis = figure.axes[0]
    cell = axis.get_window_extent().width / 22, axis.get_window_extent().height / 22
    assert len(axis.texts) == 22 * 22
    for text in axis.texts:
        box = text.get_window_extent()
        assert box.width < cell[0]
        assert box.height < cell[1]
    labels = [label.get_window_extent() for label in axis.get_yticklabels()]
    assert not any(a.overlaps(b) for a, b in combinations(labels, 2))
    ends = [label.get_window_extent().x1 for label in axis.get_xticklabels()]
    apart = axis.get_xticklabels()[0].get_fontsize() * figure.dpi / 72
    assert all(b - a > apart for a, b in pairwise(ends))  # slanted lines of text beside each other


def test_bars_and_curves_say_their_units_and_what_was_counted(rows_and_context) -> None:
    found = measured(*rows_and_context)
    bars, scales, bits = draw_bars(found, "base-xs"), draw_scales(found, "base-xs"), draw_bits(found)
    assert "top-1 accuracy, %" in bars.axes[-1].get_xlabel()
    assert "percentage points" in scales.axes[0].get_ylabel()
    assert all("scale λ" in axis.get_xlabel() for axis in scales.axes)
    assert "top-1 accuracy, %" in bits.axes[0].get_ylabel()
    assert bits.axes[-1].get_xlabel() == "bits per weight"
    for axis in bars.axes:
        assert "4 receivers, 4 donors, 1,000 images per receiver" in axis.get_title(loc="left")
    assert [axis.texts[0].get_text() for axis in scales.axes] == [
        "4 receivers, 4 donors, 1,000 images per receiver"
    ] * 2
    assert bits.axes[0].texts[0].get_text().startswith("4 receivers, 8 donors")  # those of both grids
    for figure in (bars, scales, bits):
        figure.draw_without_rendering()
        (legend,) = figure.legends
        box = legend.get_window_extent()
        assert not any(box.overlaps(axis.get_tightbbox()) for axis in figure.axes)


def test_what_was_counted_in_words() -> None:
    def transfer(receiver: str, n: int, *donors: str, seed: int = 0) -> Transfer:
        row = a_row(receiver, "x", "gptq", GRID, 0.5, n=n, seed=seed, donors=tuple(map(DonorUse, donors)))
        return Transfer(row, row, "base", "x")

    assert sample([transfer("a", 1000)]) == "1 receiver, 1,000 images per receiver"
    several = [transfer("a", 600, seed=1), transfer("b", 1000, seed=2)]
    assert sample(several) == "2 receivers, 600 to 1,000 images per receiver, 2 seeds"
