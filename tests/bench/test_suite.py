"""Suites: what they may say, and which cells they make."""

from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from qvec_hub import zoo
from qvec_hub.bench.cells import cells
from qvec_hub.bench.suite import SUITES, load_suite
from qvec_hub.errors import DataError

from .library import MEASURE, TASKS, a_suite


@pytest.mark.parametrize("name", sorted(path.stem for path in SUITES.glob("*.yaml")))
def test_the_shipped_suites_load_by_name(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    keys = [cell.key for cell in cells(suite)]
    assert len(keys) == len(set(keys)) > 90


def test_zoo_22_is_the_whole_zoo_at_every_scale() -> None:
    suite = load_suite("zoo-22")
    assert [task.name for task in suite.tasks] == list(zoo.tasks())
    assert len(suite.tasks) == 22
    assert suite.bases == tuple(zoo.BASES)
    pairs = [c for c in cells(suite) if len(c.donors) == 1 and c.scale == "unit" and c.control is None]
    assert len(pairs) == 22 * 22 * 4 * 2


def test_vision_22_is_the_paper_s_protocol() -> None:
    suite = load_suite("vision-22")
    recipe = suite.recipe
    assert (recipe.learning_rate, recipe.weight_decay, recipe.warmup_steps) == (1e-5, 0.1, 500)
    assert (recipe.batch_size, recipe.clip_norm, recipe.seed) == (128, 1.0, 2038)
    assert [grid.name for grid in suite.grids] == ["int3-channel-absmax"]
    assert len(suite.tasks) == 22
    assert suite.task("Flowers102").epochs == 147
    assert suite.task("CIFAR100").label_column == "fine_label"
    assert suite.task("ImageNet").test_split == "validation"
    transfers = [
        c
        for c in cells(suite)
        if c.scale == "unit" and len(c.donors) == 1 and not c.control and c.donors != (c.receiver,)
    ]
    assert len(transfers) == 462


def test_cells_by_hand() -> None:
    """fp, 2 ptq, own_qat, gptq, awq; 3 donors at 2 scales, 2 of them with 3 controls; the mean at 2 scales with one."""
    assert len(cells(a_suite())) == 3 * (1 + 2 + 1 + 1 + 1 + 3 * 2 + 2 * 2 * 3 + 2 * 2)


def test_a_scale_of_one_is_unit() -> None:
    measure = [{"method": "qvec", "donors": "each", "scales": [1, 1.0, "unit"]}]
    assert {cell.scale for cell in cells(a_suite(measure=measure))} == {"unit"}


def test_cells_of_a_receiver_are_neighbours() -> None:
    receivers = [cell.receiver for cell in cells(a_suite())]
    changes = sum(one != two for one, two in pairwise(receivers))
    assert changes == len(TASKS) - 1


def test_narrowed() -> None:
    suite = a_suite().narrowed(receivers=["counting"], donors=["shapes", "textures"])
    found = cells(suite)
    assert {cell.receiver for cell in found} == {"counting"}
    assert {donor for cell in found for donor in cell.donors} == {"shapes", "textures"}
    assert set(found) < set(cells(a_suite())), "a part of the whole, with the same keys"
    with pytest.raises(DataError, match="expected donors among shapes, counting, textures, found 'dogs'"):
        a_suite().narrowed(donors=["dogs"])


BROKEN = [
    ({"bases": []}, "bases"),
    ({"grids": ["int9"]}, "grids.0: grid: bits must be"),
    ({"tasks": ["shapes", "shapes"]}, "'shapes' is named twice"),
    ({"receivers": ["dogs"]}, "receivers: 'dogs' is none of the tasks"),
    ({"recipe": {"epochs": -1}}, "recipe: epochs must be a number above 0"),
    ({"recipe": {"epoch": 1}}, "recipe: .*epoch"),
    ({"seeds": ["x"]}, "seeds.0"),
    ({"colour": "red"}, "colour: Extra inputs"),
    ({"images": {"test": 0}}, "images.test"),
    ({"measure": [{"method": "magic"}]}, "measure.0.method"),
    ({"measure": [{"method": "qvec"}]}, "needs donors"),
    ({"measure": [{"method": "ptq", "scales": [1]}]}, "go with method 'qvec'"),
    ({"measure": [{"method": "fp", "grids": ["int2"]}]}, "no grids"),
    ({"measure": [{"method": "own_qat", "grids": ["int5"]}]}, "no vectors are trained for int5-channel-absmax"),
    ({"measure": [{"method": "qvec", "donors": "others", "scales": [1]}]}, "merge goes with"),
    ({"measure": [{"method": "qvec", "donors": "each", "scales": ["best"]}]}, "measure.0.scales"),
    ({"measure": [{"method": "qvec", "donors": "each", "scales": [float("nan")]}]}, "measure.0.scales.*finite"),
    (
        {"measure": [{"method": "qvec", "donors": "others", "scales": [1], "merge": "magic"}]},
        "merge: expected one of 'mean'",
    ),
    ({"measure": [{"method": "proxy_gptq", "donors": "each", "scales": [1], "grids": ["int5"]}]}, "trained for int5"),
    ({"bases": ["base-xxl"]}, "bases: expected base-xs.*found 'base-xxl'"),
    ({"bases": ["../../etc"]}, "bases: expected base-xs"),
    ({"bases": ["a/vit", "b/vit"]}, "names that differ behind the slash"),
    ({"tasks": ["dogs"]}, "tasks.0: zoo: no task named 'dogs'"),
    ({"tasks": [{"name": "shapes", "dataset": "zoo:shapes", "epochs": -1}]}, "epochs: .*greater than 0"),
    ({"receivers": []}, "receivers: "),
    ({"seeds": [-1]}, "seeds.0"),
    ({"seeds": [True]}, "seeds.0"),
    ({"images": {"test": True}}, "images.test"),
    ({"recipe": "ste"}, "recipe: expected hyper-parameters by name"),
    ({"validation_scales": []}, "validation_scales"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN, ids=[message for _, message in BROKEN])
def test_a_broken_suite_is_refused_by_place(change: dict, message: str, tmp_path: Path) -> None:
    values = yaml.safe_load((SUITES / "zoo-mini.yaml").read_text())
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(values | change))
    with pytest.raises(DataError, match=message) as found:
        load_suite(path)
    assert str(path) in str(found.value)


NO_SUITES = [
    "",
    "[1, 2]",
    "a: [",
    "\x00",
    "!!python/object:os.system {}",
    "[" * 3000,
    "a: 2020-13-45",
    "a: 1\nb: 2\na: 3",
]


@pytest.mark.parametrize("text", [*NO_SUITES, "a: " + "9" * 5000], ids=lambda text: text[:12])
def test_what_is_no_suite_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=r"mine\.yaml: expected a suite"):
        load_suite(path)


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    for name in ("zoo-23", "../zoo-22", str(tmp_path / "none.yaml"), "\0", "a" * 5000, None, 5):
        with pytest.raises(DataError, match=r"vision-22, zoo-22, zoo-22-best, zoo-6-int3, zoo-mini|cannot|No such"):
            load_suite(name)


def test_the_measures_of_these_tests_cover_every_method() -> None:
    assert {each["method"] for each in MEASURE} == {"fp", "ptq", "own_qat", "gptq", "awq", "qvec"}


def test_the_suite_in_the_documents_is_one(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "suites.md").read_text()
    path = tmp_path / "flowers.yaml"
    path.write_text(text.partition("```yaml\n")[2].partition("```")[0])
    suite = load_suite(path)
    assert suite.name == "flowers"
    assert suite.task("birds").label_column == "species"
    assert {cell.receiver for cell in cells(suite)} == {"flowers", "birds"}
