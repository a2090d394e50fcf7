"""A suite: what is to be measured, as a YAML file that anybody can write.

A suite names pretrained bases, tasks to fine-tune them on, grids to train vectors for, and what to measure on every
receiver. `cells` says which single measurements that makes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ..artifact.schema import REPO_ID
from ..errors import DataError, QVecError
from ..grid.grid import Grid
from ..training.recipe import TrainingRecipe
from ..util.untrusted import printable
from ..vector.merge import METHODS
from ..zoo.base import BASES
from ..zoo.registry import tasks

__all__ = ["CALIBRATED", "PROXIED", "SUITES", "Images", "Measure", "Suite", "TaskSpec", "load_suite"]

SUITES = Path(__file__).parent / "suites"  # those that come with the package
CALIBRATED = ("gptq", "awq", "fitted", "tuned")  # with images of the receiver's own task
Calibrated = Literal["gptq", "awq", "fitted", "tuned"]
# With proxy images -> the rounding that these serve.
PROXIED = {"proxy_gptq": "gptq", "proxy_fitted": "fitted", "proxy_tuned": "tuned"}
Proxied = Literal["proxy_gptq", "proxy_fitted", "proxy_tuned"]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Scale = Finite | Literal["unit", "recommended", "auto", "validation"]
Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]
Limit = Annotated[int, Field(ge=1, strict=True)]
Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$", max_length=96)]


def _checked(parse: Any) -> BeforeValidator:
    """Our own parsers inside pydantic: it takes a ValueError for a finding and shows where it was."""

    def run(value: Any) -> Any:
        try:
            return parse(value)
        except QVecError as error:
            raise ValueError(str(error)) from error

    return BeforeValidator(run)


def _recipe(value: Any) -> TrainingRecipe:
    if isinstance(value, TrainingRecipe):
        return value
    if not isinstance(value, dict):
        raise QVecError(f"recipe: expected hyper-parameters by name, found {value!r}")
    try:
        return TrainingRecipe(**value)
    except TypeError as error:
        raise QVecError(f"recipe: {error}") from error


GridName = Annotated[Grid, _checked(Grid.parse)]
Recipe = Annotated[TrainingRecipe, _checked(_recipe)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class TaskSpec(Strict):
    """A labeled dataset. ``digits`` alone stands for the zoo's task of that name.

    epochs: of this task, where the recipe's do not fit. The other fields are as for `qvec_hub.data.images.load_images`;
    `validation_split` is taken from the train split (10 %, at most 5,000 images) where there is none.
    """

    name: Name
    dataset: str
    config: str | None = None
    revision: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    train_split: str = "train"
    validation_split: str | None = None
    test_split: str = "test"
    epochs: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _in_the_zoo(self) -> TaskSpec:
        name = self.dataset.removeprefix("zoo:")
        if name != self.dataset and name not in tasks():
            raise ValueError(f"the zoo has no task {name!r}; it has {', '.join(tasks())}")
        return self

    @model_validator(mode="before")
    @classmethod
    def _of_zoo(cls, value: Any) -> Any:
        return {"name": value, "dataset": f"zoo:{value}"} if isinstance(value, str) else value


class Images(Strict):
    """How many images of a split are used, evenly spread; all where it is null. Calibration takes train images."""

    train: Limit | None = None
    validation: Limit | None = None
    test: Limit | None = None
    calibration: Limit = 256


class Measure(Strict):
    """One kind of measurement, done on every receiver and each of `grids` (the suite's, where left out).

    donors: ``each`` (one at a time, also the receiver's own as a ceiling) or ``others`` (all but the receiver's
    own, merged by `merge`). scales: numbers, ``unit``, ``recommended``, ``auto`` (see `qvec_hub.choose_scale`), or
    ``validation``: the best of the suite's `validation_scales` on the receiver's validation split. A ``proxy_`` method
    goes with donors or without. controls: what is measured beside the vector, in its
    place.
    """

    method: Literal["fp", "ptq", "own_qat", "qvec"] | Proxied | Calibrated
    grids: tuple[GridName, ...] | None = Field(default=None, min_length=1)
    donors: Literal["each", "others"] | None = None
    merge: str | None = None
    scales: tuple[Scale, ...] = ()
    controls: tuple[Literal["random", "shuffle", "task_vector"], ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Measure:
        about_vectors = bool(self.donors or self.merge or self.scales or self.controls)
        vector = self.method == "qvec" or (self.method in PROXIED and about_vectors)
        if vector and (self.donors is None or not self.scales):
            raise ValueError(f"method {self.method!r} needs donors (each or others) and scales, such as [unit]")
        if not vector and about_vectors:
            raise ValueError(f"donors, merge, scales and controls go with method 'qvec', not with {self.method!r}")
        if self.method in PROXIED and "validation" in self.scales:
            raise ValueError(f"the scale 'validation' goes with method 'qvec', not with {self.method!r}")
        if vector and (self.donors == "others") != (self.merge is not None):
            raise ValueError("merge goes with 'donors: others', and is needed there, such as mean")
        if self.merge is not None and self.merge not in METHODS:
            raise ValueError(f"merge: expected one of {', '.join(METHODS)}, found {self.merge!r}")
        if self.donors == "others" and "task_vector" in self.controls:
            raise ValueError("the control task_vector is of one donor; expected donors: each")
        if self.method == "fp" and self.grids:
            raise ValueError("method 'fp' is not quantized, so it has no grids")
        return self


class Suite(Strict):
    """What is measured: see the module's first lines and the files in `SUITES` for examples.

    bases: zoo bases (``base-xs``) or Hub ids. receivers, donors: names of tasks; all of them where left out.
    grids: what vectors are trained for and, unless a measure says otherwise, what receivers are rounded to.
    """

    name: Name
    version: str
    about: str
    bases: tuple[str, ...] = Field(min_length=1)
    tasks: tuple[TaskSpec, ...] = Field(min_length=1)
    receivers: tuple[str, ...] | None = Field(default=None, min_length=1)
    donors: tuple[str, ...] | None = Field(default=None, min_length=1)
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1)
    images: Images = Images()
    recipe: Recipe = TrainingRecipe()
    grids: tuple[GridName, ...] = Field(min_length=1)
    validation_scales: tuple[Finite, ...] = Field((*(round(0.15 * k, 2) for k in range(1, 11)), 1.0), min_length=1)
    measure: tuple[Measure, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> Suite:
        names = [task.name for task in self.tasks]
        for role in ("tasks", "bases", "seeds", "grids"):
            values = names if role == "tasks" else [str(value) for value in getattr(self, role)]
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"{role}: {twice[0]!r} is named twice")
        for base in self.bases:
            if base not in BASES and not REPO_ID.accepts(base):
                raise ValueError(f"bases: expected {', '.join(BASES)} or a Hub id such as org/name, found {base!r}")
        short = [base.rpartition("/")[2] for base in self.bases]
        if len(set(short)) < len(short):  # which is what their models and rows are called by
            raise ValueError("bases: expected names that differ behind the slash; measure these in suites of their own")
        for role in ("receivers", "donors"):
            strangers = set(getattr(self, role) or ()) - set(names)
            if strangers:
                raise ValueError(f"{role}: {min(strangers)!r} is none of the tasks ({', '.join(names)})")
        trained = (each for each in self.measure if each.method in ("qvec", "own_qat") or each.donors)
        for grid in (grid for each in trained for grid in each.grids or ()):
            if grid not in self.grids:
                raise ValueError(f"measure: no vectors are trained for {grid}; add it to the suite's grids")
        return self

    def task(self, name: str) -> TaskSpec:
        return next(task for task in self.tasks if task.name == name)

    def narrowed(self, **chosen: list[str] | None) -> Suite:
        """The suite with some bases, tasks, receivers or donors alone: ``suite.narrowed(bases=["base-xs"])``.

        Raises:
            DataError: on one that the suite does not have.
        """
        names = {task.name: task for task in self.tasks}
        changes: dict[str, Any] = {}
        for role, wanted in chosen.items():
            known = dict(zip(self.bases, self.bases, strict=True)) if role == "bases" else names
            strangers = [name for name in wanted or () if name not in known]
            if strangers:
                raise DataError(f"suite {self.name}: expected {role} among {', '.join(known)}, found {strangers[0]!r}")
            if wanted:
                kept = [name for name in known if name in wanted]
                changes[role] = tuple(names[name] for name in kept) if role == "tasks" else tuple(kept)
        return self.model_copy(update=changes)


class _NoKeyTwice(yaml.SafeLoader):
    """Plain YAML in which no key stands twice: the last one would count without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"line {node.start_mark.line + 1}: the key {twice[0]!r} stands there twice")
        return super().construct_mapping(node, deep)


def load_suite(source: str | Path) -> Suite:
    """A suite that comes with the package, by its name, or the one in a YAML file.

    Raises:
        DataError: there is none, or it says something that makes no sense; each finding is named with its place.
    """
    path = Path(str(source))
    if path.suffix not in (".yaml", ".yml"):
        known = {file.stem: file for file in SUITES.glob("*.yaml")}
        if str(source) not in known:
            names = ", ".join(sorted(known))
            raise DataError(f"suite {printable(repr(source))}: expected one of {names}, or a .yaml file of your own")
        path = known[str(source)]
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _NoKeyTwice)
    except (OSError, ValueError, RecursionError, TypeError, yaml.YAMLError) as error:
        found = " ".join(str(error).split())
        raise DataError(f"{path}: expected a suite in YAML, found none that can be read ({found})") from error
    try:
        return Suite.model_validate(values)
    except ValidationError as error:
        raise DataError(f"{path}: expected a suite, found: {_findings(error)}") from error


def _findings(error: ValidationError) -> str:
    shown = [
        f"{'.'.join(str(part) for part in found['loc']) or 'suite'}: {found['msg'].removeprefix('Value error, ')}"
        for found in error.errors()[:5]
    ]
    return "; ".join(shown)


assert get_args(Calibrated) == CALIBRATED
assert get_args(Proxied) == tuple(PROXIED)
