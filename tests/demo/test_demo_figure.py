"""The demo's figure: units, the number of images, and the default as a point at the scale that was chosen."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib import pyplot as plt

from qvec_hub.demo.report import draw
from qvec_hub.results.row import DonorUse, Row

from ..bench.synthetic import a_row

GRID = "int2-channel-absmax"
CHOSEN = {"digits": 0.25, "shapes": 0.0, "counting": 1.0}


def rows_of(task: str) -> list[Row]:
    others = [other for other in CHOSEN if other != task]
    parts = {"donors": tuple(DonorUse(other, None, 0.5) for other in others), "merge": "mean"}
    rows = [a_row(task, task, "fp", None, 0.9), a_row(task, task, "ptq", GRID, 0.5)]
    rows += [a_row(task, task, "own_qat", GRID, 0.88)]
    for other in others:
        use = (DonorUse(other),)
        rows.append(a_row(task, task, "qvec", GRID, 0.6, donors=use, scale=1.0, scale_policy="recommended"))
    for scale, policy in [(1.0, "unit"), (0.5, None)]:
        about = {**parts, "scale": scale, "scale_policy": policy}
        rows += [
            a_row(task, task, "qvec", GRID, 0.7, **about),
            a_row(task, task, "qvec", GRID, 0.5, **about, control="random"),
        ]
    rows.append(a_row(task, task, "proxy_fitted", GRID, 0.8, **parts, scale=CHOSEN[task], scale_policy="auto"))
    return rows


@pytest.mark.parametrize("tasks", [["digits", "shapes"], list(CHOSEN)])
def test_the_default_is_a_point_with_its_scale(tasks: list[str], tmp_path: Path, monkeypatch) -> None:
    with monkeypatch.context() as kept:
        kept.setattr(plt, "close", lambda *_: None)
        draw([row for task in tasks for row in rows_of(task)], tmp_path / "figure.png")
    figure = plt.gcf()
    try:
        for axis, task in zip(figure.axes, tasks, strict=True):
            (default,) = (line for line in axis.lines if str(line.get_label()).startswith("default"))
            assert default.get_xydata().tolist() == [[CHOSEN[task], pytest.approx(80.0)]]
            assert f"λ = {CHOSEN[task]:g}" in axis.texts[0].get_text()
            assert axis.get_title() == f"{task} (1,000 images)"
            assert "scale λ" in axis.get_xlabel()
            flat = {
                line.get_label()
                for line in axis.lines
                if len(set(line.get_ydata())) == 1 and len(line.get_xdata()) == 2
            }
            assert flat >= {"FP", "own QAT", "RTN"}
            assert not any("default" in label for label in flat)
        assert figure.axes[0].get_ylabel() == "top-1 accuracy on test images, %"
        figure.draw_without_rendering()
        box = figure.legends[0].get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(axis.get_tightbbox()) for axis in figure.axes)
    finally:
        plt.close(figure)
