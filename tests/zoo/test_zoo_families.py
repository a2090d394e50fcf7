"""The images show what their labels say, told by other means than those that drew them."""

import math
import unicodedata

import numpy as np
import pytest
from fontTools.ttLib import TTFont

from qvec_hub import zoo
from qvec_hub.zoo import fonts
from qvec_hub.zoo.families import braille, curves, flags, pictograms, scripts, shading, tilings
from qvec_hub.zoo.mixture import parts

# North American Braille ASCII: the place of a character is its dots as bits, dot 1 the lowest.
BRAILLE_ASCII = " A1B'K2L@CIF/MSP\"E3H9O6R^DJG>NTQ,*5<-U8V.%[$+X!&;:4\\0Z7(_?W]#Y)="


def grey(name, n=400):
    """Grey images ``(n, 24, 24)`` and label names of a task's train split."""
    images, labels = zoo.arrays(name, "train", n)
    return images.mean(axis=-1), np.array(zoo.get_task(name).classes)[labels]


def centre(weights):
    """Centre of mass (x, y), in pixels from the middle of the image."""
    axis = np.arange(24) - 11.5
    return (weights.sum(axis=0) @ axis, weights.sum(axis=1) @ axis) / weights.sum()


def test_braille_letters_have_the_dots_of_the_standard():
    for letter, dots in braille.DOTS.items():
        assert BRAILLE_ASCII[sum(1 << (int(dot) - 1) for dot in dots)] == letter.upper()


def test_braille_dots_lie_where_they_are_numbered():
    """Dots 1, 2, 3 go down on the left, 4, 5, 6 on the right: a class's mean image is lightest there."""
    images, names = grey("braille", 2600)
    spots = {str(dot + 1): (6 * (dot // 3) + 9, 6 * (dot % 3) + 6) for dot in range(6)}  # x, y in pixels
    images = images - images.mean(axis=(1, 2), keepdims=True)
    overall = images.mean(axis=0)
    for letter, dots in braille.DOTS.items():
        mean = images[names == letter].mean(axis=0) - overall
        lightness = {dot: mean[y - 2 : y + 3, x - 2 : x + 3].mean() for dot, (x, y) in spots.items()}
        raised = [lightness[dot] for dot in dots]
        flat = [light for dot, light in lightness.items() if dot not in dots]
        assert np.mean(raised) > np.mean(flat)


def figures(image):
    """Weights of the light and of the dark figure; noise and clutter of the ground are mostly below the threshold."""
    away = image - np.median(image)
    return np.clip(away - 25, 0, 60), np.clip(-25 - away, 0, 60)


@pytest.mark.parametrize(("relation", "x", "y"), [("left", -1, 0), ("right", 1, 0), ("above", 0, -1), ("below", 0, 1)])
def test_the_light_disc_is_where_the_relation_says(relation, x, y):
    images, names = grey("relations")
    steps = [centre(disc) - centre(square) for disc, square in map(figures, images[names == relation])]
    assert np.mean([step @ (x, y) > abs(step @ (y, x)) for step in steps]) > 0.9


@pytest.mark.parametrize("relation", ["inside", "around"])
def test_what_lies_inside_is_in_the_middle_of_the_other(relation):
    images, names = grey("relations")
    right = []
    for disc, square in map(figures, images[names == relation]):
        inner, outer = (disc, square) if relation == "inside" else (square, disc)
        right.append(math.dist(centre(inner), centre(outer)) < 4 and (inner > 0).sum() < (outer > 0).sum())
    assert np.mean(right) > 0.85


def test_bumps_are_bright_towards_the_light_and_dark_away_from_it():
    images, names = grey("shading", 1600)
    for number, side in enumerate(shading.SIDES):
        steps = []
        for image in images[names == side]:
            low, high = np.quantile(image, (0.05, 0.95))
            steps.append(centre((image >= high).astype(float)) - centre((image <= low).astype(float)))
        x, y = np.mean(steps, axis=0)
        expected = 2 * math.pi * number / 8  # sides go clockwise from the right; y points down
        assert math.cos(math.atan2(y, x) - expected) > math.cos(math.radians(22))


def test_the_hour_hand_points_between_its_hour_and_the_next():
    """Near the centre only the thick hour hand and the minute hand are lit; over all minutes the latter evens out."""
    images, names = grey("clocks", 2400)
    axis = np.arange(24) - 11.5
    x, y = np.meshgrid(axis, axis)
    near = np.hypot(x, y) < 5.5
    images = images - images.mean(axis=(1, 2), keepdims=True)
    overall = images.mean(axis=0)
    for hour in range(12):
        mean = np.where(near, images[names == str(hour or 12)].mean(axis=0) - overall, 0)
        turn = math.atan2((mean * x).sum(), -(mean * y).sum())  # clockwise from twelve
        assert math.cos(turn - 2 * math.pi * (hour + 0.5) / 12) > math.cos(math.radians(15))


def test_the_strange_tile_differs_most_from_the_others():
    """Mean colours alone find it in more than half the images; by chance it would be one in nine."""
    images, labels = zoo.arrays("intruders", "train", 400)
    tiles = images.reshape(400, 3, 8, 3, 8, 3).mean(axis=(2, 4)).reshape(400, 9, 3)
    strange = np.linalg.norm(tiles - np.median(tiles, axis=1, keepdims=True), axis=-1).argmax(axis=1)
    assert (strange == labels).mean() > 0.5


def test_letters_are_of_the_script_they_are_filed_under():
    unicode = {"n'ko": "NKO", "syllabics": "CANADIAN SYLLABICS"}
    for script, letters in scripts.SCRIPTS.items():
        assert len(set(letters)) == len(letters)
        assert all(unicodedata.name(letter).startswith(unicode.get(script, script.upper())) for letter in letters)


def test_every_face_holds_the_new_characters():
    characters = {*"".join(scripts.SCRIPTS.values()), *pictograms.PICTOGRAMS.values()}
    for face in {*scripts.SCRIPT_FACES, *pictograms.PICTOGRAM_FACES}:
        assert characters <= {chr(code) for code in TTFont(fonts._folder() / f"{face}.ttf").getBestCmap()}


def test_no_character_is_one_of_the_pretraining_mixture():
    mixed = {*parts.ARMENIAN, *parts.GEORGIAN, *parts.HEBREW}
    assert not mixed & {*"".join(scripts.SCRIPTS.values()), *pictograms.PICTOGRAMS.values()}


@pytest.mark.parametrize(
    ("pattern", "step"),
    [
        ("squares", (1, 0)),
        ("diamonds", (1 / 1.4, 1 / 1.4)),
        ("bricks", (0.625, 0.625)),
        ("hexagons", (2 / 3, 2 / math.sqrt(3))),
        ("triangles", (1 / 0.9, math.sqrt(3) / 0.9)),
        ("scales", (1 / 1.4, 1 / 1.4)),
        ("weave", (1, 1)),
        ("checks", (1, 1)),
        ("dots", (0, 1)),
    ],
)
def test_a_tiling_repeats_itself(pattern, step):
    x, y = np.random.default_rng(0).uniform(-3, 3, (2, 5000))
    ink = tilings.TILINGS[pattern](x, y)
    assert 0.1 < ink.mean() < 0.9
    assert (ink == tilings.TILINGS[pattern](x + step[0], y + step[1])).mean() > 0.999


@pytest.mark.parametrize("pattern", ["hexagons", "triangles"])
def test_hexagons_and_triangles_look_the_same_after_a_sixth_of_a_turn(pattern):
    x, y = np.random.default_rng(0).uniform(-3, 3, (2, 5000))
    cos, sin = 0.5, math.sqrt(3) / 2
    turned = tilings.TILINGS[pattern](cos * x - sin * y, sin * x + cos * y)
    assert (tilings.TILINGS[pattern](x, y) == turned).mean() > 0.999


def test_flags_divide_their_field():
    x, y = np.meshgrid(*2 * [np.linspace(-0.99, 0.99, 50)])
    fields = {name: np.broadcast_to(layout(x, y), x.shape) for name, layout in flags.LAYOUTS.items()}
    for name, field in fields.items():
        assert 2 <= len(np.unique(field)) <= 3, name
        assert np.bincount(field.astype(int).ravel()).max() < 0.9 * field.size, name
    assert (fields["stripes across"] == fields["stripes down"].T).all()
    assert (fields["gyron"] != fields["gyron"].T).mean() > 0.95
    assert (fields["quarters"] != np.rot90(fields["quarters"])).all()


def test_lines_run_without_gaps_and_keep_to_the_frame():
    t, wound = np.linspace(-1, 1, curves.DOTS), np.linspace(0, 1, 11)[:, None]
    for name, curve in curves.CURVES.items():
        points = np.stack(np.broadcast_arrays(*curve(t, wound)), axis=-1)
        assert abs(points).max() < 1.4, name
        steps = np.linalg.norm(np.diff(points, axis=1), axis=-1)
        assert steps.max() * 0.85 < 2 * 0.07, name  # the longest line at the thinnest
