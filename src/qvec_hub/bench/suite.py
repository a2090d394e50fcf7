"""A suite: the measurements to make, as a YAML file that anybody can write.

A suite names pretrained bases, tasks to fine-tune them on, grids to train vectors for, and the measurements on every
receiver. `cells` lists the single measurements.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    WrapSerializer,
    model_validator,
)

from ..artifact.schema import REPO_ID
from ..errors import DataError, QVecError
from ..grid.grid import Grid
from ..training.recipes.training_recipe import TrainingRecipe, read_recipe
from ..util.untrusted import printable
from ..util.validation import findings
from ..vector.merge import MERGE_METHODS
from ..zoo.base import BASES
from ..zoo.canvas import SIZE
from ..zoo.registry import ZOO, dataset_name, parse_dataset
from .bases import MADE
from .controls.registry import CONTROLS
from .methods import known_method, proxied
from .model_store import FINE_TUNE, ReceiverKind

__all__ = ["SUITES", "Images", "Measure", "Strict", "Suite", "TaskSpec", "load_suite", "suite_path", "validated_suite"]

SUITES = Path(__file__).parent / "suites"  # the suites of the package
S = TypeVar("S", bound=BaseModel)
Finite = Annotated[float, Field(allow_inf_nan=False)]
Scale = Finite | Literal["unit", "recommended", "auto", "validation"]
Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]
Limit = Annotated[int, Field(ge=1, strict=True)]
Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$", max_length=96)]


def _checked(parse: Any) -> BeforeValidator:
    """Run one of our parsers inside pydantic, which reports a ValueError with its place in the file."""

    def run(value: Any) -> Any:
        try:
            return parse(value)
        except QVecError as error:
            raise ValueError(str(error)) from error

    return BeforeValidator(run)


def _control(value: Any) -> str:
    return CONTROLS.get(value).name


def _merge(value: Any) -> str | None:
    return None if value is None else MERGE_METHODS.get(value).name


def _recipe(value: Any) -> TrainingRecipe:
    if isinstance(value, TrainingRecipe):
        return value
    if not isinstance(value, dict):
        raise QVecError(f"recipe: expected hyper-parameters by name, found {value!r}")
    return read_recipe(value)


def _values(recipe: TrainingRecipe, default: SerializerFunctionWrapHandler) -> dict[str, Any]:
    """The values of a recipe, with those that its own class adds."""
    return {**asdict(recipe), **default(recipe)}


GridName = Annotated[Grid, _checked(Grid.parse)]
Recipe = Annotated[TrainingRecipe, _checked(_recipe), WrapSerializer(_values)]
Method = Annotated[str, AfterValidator(known_method)]
Control = Annotated[str, _checked(_control)]
Merge = Annotated[str | None, _checked(_merge)]


class Strict(BaseModel):
    """A part of a suite: immutable, and without keys that nothing reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class TaskSpec(Strict):
    """A labeled dataset; a name alone, such as ``digits``, is the zoo's task of that name.

    Of the zoo's tasks, ``zoo:digits@70`` is one at 70 pixels.

    Attributes:
        epochs: training epochs for this task; None takes the recipe's.
        validation_split: None takes 10 % of the train split, at most 5,000 images, if the dataset has none.

    The other fields are as for `qvec_hub.data.images.load_images`.
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
        if self.dataset.startswith(ZOO):
            try:
                parse_dataset(self.dataset)
            except DataError as error:
                raise ValueError(str(error)) from error
        return self

    @model_validator(mode="before")
    @classmethod
    def _of_zoo(cls, value: Any) -> Any:
        return {"name": value, "dataset": dataset_name(value)} if isinstance(value, str) else value


class Images(Strict):
    """Number of images to use from each split, evenly spread; null is all. Calibration uses train images."""

    train: Limit | None = None
    validation: Limit | None = None
    test: Limit | None = None
    calibration: Limit = 256


class Measure(Strict):
    """One kind of measurement, made on every receiver and each grid.

    Attributes:
        method: a method of a row; a ``proxy_`` method works with donors or without.
        grids: grids to round receivers to; None takes the suite's.
        donors: ``each`` (one at a time, also the receiver's own as a ceiling) or ``others`` (all but the receiver's
            own, merged by `merge`).
        merge: a merge method, needed with ``others``.
        scales: numbers, ``unit``, ``recommended``, ``auto`` (see `qvec_hub.choose_scale`), or ``validation``: the best
            of the suite's `validation_scales` on the receiver's validation split.
        controls: controls to measure in the vector's place as well.
    """

    method: Method
    grids: tuple[GridName, ...] | None = Field(default=None, min_length=1)
    donors: Literal["each", "others"] | None = None
    merge: Merge = None
    scales: tuple[Scale, ...] = ()
    controls: tuple[Control, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Measure:
        about_vectors = bool(self.donors or self.merge or self.scales or self.controls)
        vector = self.method == "qvec" or bool(proxied(self.method) and about_vectors)
        if vector and (self.donors is None or not self.scales):
            raise ValueError(f"method {self.method!r} needs donors (each or others) and scales, such as [unit]")
        if not vector and about_vectors:
            raise ValueError(f"donors, merge, scales and controls go with method 'qvec', not with {self.method!r}")
        if proxied(self.method) and "validation" in self.scales:
            raise ValueError(f"the scale 'validation' goes with method 'qvec', not with {self.method!r}")
        if vector and (self.donors == "others") != (self.merge is not None):
            raise ValueError("merge goes with 'donors: others', and is needed there, such as mean")
        single = [name for name in self.controls if CONTROLS.get(name).single_donor]
        if self.donors == "others" and single:
            raise ValueError(f"the control {single[0]} is of one donor; expected donors: each")
        if self.method == "fp" and self.grids:
            raise ValueError("method 'fp' is not quantized, so it has no grids")
        return self


class Suite(Strict):
    """The measurements to make; see the files in `SUITES` for examples.

    Attributes:
        bases: zoo bases (``base-xs``), bases that the library makes (``dinov2-s``), or Hub ids.
        image_size: pixels at which the zoo's tasks are drawn, unless a task names another; None draws 24.
        kinds: of receivers: fine-tunes, and probes, which are the base itself with a head fitted to its features.
            Donors are fine-tunes.
        receivers, donors: names of tasks; None takes all.
        grids: grids to train vectors for and, unless a measure names others, to round receivers to.
    """

    name: Name
    version: str
    about: str
    bases: tuple[str, ...] = Field(min_length=1)
    tasks: tuple[TaskSpec, ...] = Field(min_length=1)
    image_size: Limit | None = None
    receivers: tuple[str, ...] | None = Field(default=None, min_length=1)
    kinds: tuple[ReceiverKind, ...] = Field(default=(FINE_TUNE,), min_length=1)
    donors: tuple[str, ...] | None = Field(default=None, min_length=1)
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1)
    images: Images = Images()
    recipe: Recipe = TrainingRecipe()
    grids: tuple[GridName, ...] = Field(min_length=1)
    validation_scales: tuple[Finite, ...] = Field((*(round(0.15 * k, 2) for k in range(1, 11)), 1.0), min_length=1)
    measure: tuple[Measure, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _drawn_at_its_size(cls, values: Any) -> Any:
        """Write the image size into the names of the zoo's datasets, so that rows tell it."""
        size = values.get("image_size") if isinstance(values, dict) else None
        if type(size) is not int or size == SIZE or not isinstance(values.get("tasks"), list | tuple):
            return values
        return {**values, "tasks": [_sized(task, size) for task in values["tasks"]]}

    @model_validator(mode="after")
    def _fits(self) -> Suite:
        names = [task.name for task in self.tasks]
        for role in ("tasks", "bases", "seeds", "grids", "kinds"):
            values = names if role == "tasks" else [str(value) for value in getattr(self, role)]
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"{role}: {twice[0]!r} is named twice")
        for base in self.bases:
            if base not in (*BASES, *MADE) and not REPO_ID.accepts(base):
                known = ", ".join((*BASES, *MADE))
                raise ValueError(f"bases: expected {known} or a Hub id such as org/name, found {base!r}")
            if base in MADE and self.image_size is None:
                raise ValueError(f"image_size: expected the size to make {base} for, such as 70, found none")
        short = [base.rpartition("/")[2] for base in self.bases]
        if len(set(short)) < len(short):  # models and rows are named by it
            raise ValueError("bases: expected names that differ behind the slash; measure these in suites of their own")
        for role in ("receivers", "donors"):
            unknown = set(getattr(self, role) or ()) - set(names)
            if unknown:
                raise ValueError(f"{role}: {min(unknown)!r} is none of the tasks ({', '.join(names)})")
        trained = (each for each in self.measure if each.method in ("qvec", "own_qat") or each.donors)
        for grid in (grid for each in trained for grid in each.grids or ()):
            if grid not in self.grids:
                raise ValueError(f"measure: no vectors are trained for {grid}; add it to the suite's grids")
        return self

    @property
    def needs_pairs(self) -> bool:
        """Whether fine-tunes and vectors are needed, or the base and its heads are all."""
        return FINE_TUNE in self.kinds or any(measure.donors for measure in self.measure)

    def task(self, name: str) -> TaskSpec:
        """The suite's task of that name, which must be there."""
        return next(task for task in self.tasks if task.name == name)

    def narrowed(self, **chosen: list[str] | None) -> Suite:
        """Return the suite with only some bases, tasks, receivers or donors: ``suite.narrowed(bases=["base-xs"])``.

        Raises:
            DataError: when the suite does not have one of them.
        """
        names = {task.name: task for task in self.tasks}
        changes: dict[str, Any] = {}
        for role, wanted in chosen.items():
            known = dict(zip(self.bases, self.bases, strict=True)) if role == "bases" else names
            unknown = [name for name in wanted or () if name not in known]
            if unknown:
                raise DataError(f"suite {self.name}: expected {role} among {', '.join(known)}, found {unknown[0]!r}")
            if wanted:
                kept = [name for name in known if name in wanted]
                changes[role] = tuple(names[name] for name in kept) if role == "tasks" else tuple(kept)
        return self.model_copy(update=changes)


def _sized(task: Any, size: int) -> Any:
    """A task of a suite as it stands in the file, one of the zoo with the size in its dataset's name."""
    spec = {"name": task, "dataset": dataset_name(task)} if isinstance(task, str) else task
    dataset = spec.get("dataset") if isinstance(spec, dict) else None
    if not isinstance(dataset, str) or not dataset.startswith(ZOO) or "@" in dataset:
        return task
    return {**spec, "dataset": dataset_name(dataset.removeprefix(ZOO), size)}


class _NoKeyTwice(yaml.SafeLoader):
    """YAML that refuses duplicate keys, of which YAML itself silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"line {node.start_mark.line + 1}: the key {twice[0]!r} stands there twice")
        return super().construct_mapping(node, deep)


def load_suite(source: str | Path) -> Suite:
    """Load a suite of the package by its name, or a suite from a YAML file.

    Raises:
        DataError: when there is none, or it is not valid; the message names each error with its place in the file.
    """
    return validated_suite(suite_path(source, SUITES), Suite)


def suite_path(source: str | Path, suites: Path) -> Path:
    """The file of a suite: a YAML file itself, or the one of that name in the folder `suites`.

    Raises:
        DataError: when there is no suite of that name.
    """
    path = Path(str(source))
    if path.suffix in (".yaml", ".yml"):
        return path
    known = {file.stem: file for file in suites.glob("*.yaml")}
    if str(source) not in known:
        names = ", ".join(sorted(known))
        raise DataError(f"suite {printable(repr(source))}: expected one of {names}, or a .yaml file of your own")
    return known[str(source)]


def validated_suite(path: Path, kind: type[S]) -> S:
    """Read a YAML file as a suite of some kind.

    Raises:
        DataError: when it cannot be read, or is not valid; the message names each error with its place in the file.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _NoKeyTwice)
    except (OSError, ValueError, RecursionError, TypeError, yaml.YAMLError) as error:
        found = " ".join(str(error).split())
        raise DataError(f"{path}: expected a suite in YAML, found none that can be read ({found})") from error
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        shown = [f"{'.'.join(map(str, loc)) or 'suite'}: {said}" for loc, said, _ in findings(error)[:5]]
        raise DataError(f"{path}: expected a suite, found: {'; '.join(shown)}") from error
