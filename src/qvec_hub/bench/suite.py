"""A suite: what is to be measured, as a YAML file that anybody can write.

A suite names pretrained bases, tasks to fine-tune them on, grids to train vectors for, and what to measure on every
receiver. `cells` says which single measurements that makes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ..errors import DataError, QVecError
from ..grids import Grid
from ..training.recipe import TrainingRecipe

__all__ = ["CALIBRATED", "PROXIED", "SUITES", "Images", "Measure", "Suite", "TaskSpec", "load_suite"]

SUITES = Path(__file__).parent / "suites"  # those that come with the package
CALIBRATED = ("gptq", "awq", "fitted", "tuned")  # with images of the receiver's own task
Calibrated = Literal["gptq", "awq", "fitted", "tuned"]
# With proxy images -> the rounding that these serve.
PROXIED = {"proxy_gptq": "gptq", "proxy_fitted": "fitted", "proxy_tuned": "tuned"}
Proxied = Literal["proxy_gptq", "proxy_fitted", "proxy_tuned"]
Scale = float | Literal["unit", "recommended", "auto", "validation"]
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

    epochs: of this task, where the recipe's do not fit. The other fields are as for `qvec_hub.data.load_images`;
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
    epochs: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_zoo(cls, value: Any) -> Any:
        return {"name": value, "dataset": f"zoo:{value}"} if isinstance(value, str) else value


class Images(Strict):
    """How many images of a split are used, evenly spread; all where it is null. Calibration takes train images."""

    train: int | None = Field(default=None, ge=1)
    validation: int | None = Field(default=None, ge=1)
    test: int | None = Field(default=None, ge=1)
    calibration: int = Field(default=256, ge=1)


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
    receivers: tuple[str, ...] | None = None
    donors: tuple[str, ...] | None = None
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    images: Images = Images()
    recipe: Recipe = TrainingRecipe()
    grids: tuple[GridName, ...] = Field(min_length=1)
    validation_scales: tuple[float, ...] = (*(round(0.15 * k, 2) for k in range(1, 11)), 1.0)
    measure: tuple[Measure, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> Suite:
        names = [task.name for task in self.tasks]
        for role in ("tasks", "bases", "seeds", "grids"):
            values = names if role == "tasks" else [str(value) for value in getattr(self, role)]
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"{role}: {twice[0]!r} is named twice")
        for role in ("receivers", "donors"):
            strangers = set(getattr(self, role) or ()) - set(names)
            if strangers:
                raise ValueError(f"{role}: {min(strangers)!r} is none of the tasks ({', '.join(names)})")
        for grid in (grid for each in self.measure if each.method in ("qvec", "own_qat") for grid in each.grids or ()):
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


def load_suite(source: str | Path) -> Suite:
    """A suite that comes with the package, by its name, or the one in a YAML file.

    Raises:
        DataError: there is none, or it says something that makes no sense; each finding is named with its place.
    """
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        path = SUITES / f"{source}.yaml"
        if Path(source).name != str(source) or not path.is_file():
            known = ", ".join(sorted(file.stem for file in SUITES.glob("*.yaml")))
            raise DataError(f"suite {str(source)!r}: expected one of {known}, or a .yaml file of your own")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: expected a suite in YAML, found none that can be read ({error})") from error
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
