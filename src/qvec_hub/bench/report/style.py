"""Colours and hatches: Okabe and Ito's palette, which people with a colour vision deficiency can tell apart."""

from __future__ import annotations

from math import cos, radians, sin
from typing import Any

from .treatments import Line

__all__ = ["CONTROLS", "HATCHES", "KIND_COLOURS", "MERGED", "MERGES", "SINGLE", "colour", "diverging", "on_background"]

SINGLE, MERGED = "#d55e00", "#0072b2"
MERGES = (MERGED, "#009e73", "#cc79a7", "#56b4e9")
CONTROLS = ("#9a9a9a", "#6f6f6f", "#b9b9b9", "#505050")
KIND_COLOURS = {
    "unquantized": "#222222",
    "plain rounding": "#6b6b6b",
    "proxy images": "#009e73",
    "vector": MERGED,
    "vector, chosen scale": "#56b4e9",
    "control": "#c4c4c4",
    "own training": "#e69f00",
    "calibrated": "#cc79a7",
}
HATCHES = {"none": "", "validation images": "....", "images": "////", "training set": "xxxx"}  # by receiver data


def colour(line: Line) -> str:
    """The colour of a line's kind, as ``#rrggbb``; single donors and merged vectors differ."""
    is_single = line.kind == "vector" and line.protocol.donors == "one"
    return SINGLE if is_single else KIND_COLOURS[line.kind]


def diverging() -> Any:
    """Make a matplotlib colour map from red over near-white to blue, perceptually even: straight lines in Oklab.

    Both ends are equally dark and equally far from the middle; values out of range are darker still.
    """
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap

    middle = np.array([0.97, 0.0, 0.0])
    below, above = (np.array([0.45, 0.14 * cos(radians(hue)), 0.14 * sin(radians(hue))]) for hue in (30, 255))
    steps = np.linspace(0, 1, 128)[:, None]
    colours = np.concatenate([below + steps * (middle - below), middle + steps[1:] * (above - middle)])
    scale = LinearSegmentedColormap.from_list("gains", [_srgb(each) for each in colours], N=len(colours))
    darker = np.array([0.68, 0.6, 0.6])
    return scale.with_extremes(under=_srgb(below * darker), over=_srgb(above * darker))


def on_background(rgba: Any) -> str:
    """``"black"`` or ``"white"``, whichever has the greater contrast to a background.

    Contrast is that of WCAG 2 (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio).

    Args:
        rgba: sRGB values from 0 to 1; only the first three count.
    """
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in rgba[:3]]
    luminance = sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "white" if luminance < 0.179 else "black"


def _srgb(oklab: Any) -> tuple[float, float, float]:
    """Convert an Oklab colour, (3,), to sRGB values from 0 to 1 (https://bottosson.github.io/posts/oklab/)."""
    import numpy as np

    to_cones = np.array([[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728],
                         [1, -0.0894841775, -1.2914855480]])  # fmt: skip
    to_linear = np.array([[4.0767416621, -3.3077115913, 0.2309699292], [-1.2684380046, 2.6097574011, -0.3413193965],
                          [-0.0041960863, -0.7034186147, 1.7076147010]])  # fmt: skip
    linear = np.clip(to_linear @ (to_cones @ oklab) ** 3, 0, 1)
    red, green, blue = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return float(red), float(green), float(blue)
