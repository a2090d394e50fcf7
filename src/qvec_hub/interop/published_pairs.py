"""Pairs of checkpoints in the folders of the method's authors: list them, and read how they were trained.

The authors (arXiv 2604.03420) name folders by hyper-parameters::

    …/{fp,qat}/BACKBONE/TASK/optim=adamw_lr=1e-05_wd=0.1_…/[qat=bits=3_gran=channel_skip=head/]seed=2038/
        classifier_epoch_12.pt
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import hf_hub_download
from transformers import PreTrainedModel

from ..artifact.config import Donor, Revision
from ..errors import ArtifactError, GridError, QVecError
from ..grid.grid import Grid
from ..hub.transfer.client import LIBRARY, hub_api, hub_errors
from ..hub.transfer.repo_path import RepoPath, find_source
from ..util.untrusted import printable
from ..vector.vector import QuantizationVector
from .pair import import_pair
from .state_dict import PICKLES

__all__ = ["Pair", "Source", "known_base", "open_source"]

# What the authors' short names mean in a recipe.
_MEANING: dict[str, tuple[str, type]] = {
    "optim": ("optimizer", str),
    "lr": ("learning_rate", float),
    "wd": ("weight_decay", float),
    "ls": ("label_smoothing", float),
    "wl": ("warmup_steps", int),
    "mgn": ("max_grad_norm", float),
    "bs": ("batch_size", int),
    "mult": ("epoch_multiplier", float),
    "seed": ("seed", int),
}
_FILE = re.compile(r"\w+_epoch_(\d+)")
_SETTING = re.compile(r"([a-z]+)=(.*?)(?=_[a-z]+=|$)")
# The bases that the authors fine-tuned, as timm's names in their folders -> the same weights in transformers' format.
_BASES = {
    "vit_base_patch16_224_orig_in21k": "google/vit-base-patch16-224-in21k",
    "vit_large_patch16_224_orig_in21k": "google/vit-large-patch16-224-in21k",
    "vit_huge_patch14_224_orig_in21k": "google/vit-huge-patch14-224-in21k",
}


@dataclass
class Pair:
    """A plain and a quantization-aware fine-tune; a path is None when the checkpoint is missing.

    Attributes:
        grid: of the QAT fine-tune; None when it is missing.
        recipe: hyper-parameters as the folders' names tell them.
        finetuned, qat: paths within the source, of the last epoch there is.
    """

    backbone: str
    task: str
    grid: Grid | None
    recipe: dict[str, Any] = field(default_factory=dict)
    finetuned: str | None = None
    qat: str | None = None

    @property
    def missing(self) -> str | None:
        """Which of the two is missing, in words."""
        return None if self.finetuned and self.qat else "plain fine-tune" if self.qat else "QAT fine-tune"


@dataclass(frozen=True)
class Source:
    """A folder or repository with published pairs.

    Attributes:
        said: the user's name for it.
        place: a folder, or a repository at a commit.
        pairs: all there are, complete or not.
    """

    said: str
    place: Path | RepoPath
    pairs: list[Pair]
    token: str | bool | None = None

    def choose(self, backbone: str, tasks: Iterable[str] | None = None, grid: str | None = None) -> list[Pair]:
        """The complete pairs of a backbone.

        Args:
            tasks: their names; None takes all that are complete.
            grid: the name of the grid, where pairs of several exist.

        Raises:
            QVecError: when there is no such backbone or task, a chosen pair is incomplete, or a task has several pairs.
        """
        of_backbone = [pair for pair in self.pairs if pair.backbone == backbone]
        if not of_backbone:
            raise QVecError(f"{self.said}: no backbone {backbone!r}; it has {_listed(p.backbone for p in self.pairs)}")
        wanted = None if grid is None else Grid.parse(grid)
        of_backbone = [pair for pair in of_backbone if wanted in (None, pair.grid)]
        chosen: list[Pair] = []
        for task in list(dict.fromkeys(pair.task for pair in of_backbone) if tasks is None else tasks):
            found = [pair for pair in of_backbone if pair.task == task]
            complete = [pair for pair in found if pair.missing is None]
            if not complete and tasks is not None:
                tasks_there = _listed(pair.task for pair in of_backbone)
                why = f"the {found[0].missing} is missing" if found else f"it has {tasks_there}"
                raise QVecError(f"{self.said}: no pair of {backbone} for task {task!r}; {why}")
            if len(complete) > 1:
                raise QVecError(
                    f"{self.said}: {len(complete)} pairs of {backbone} for {task!r} ({_listed(map(_told, complete))}); "
                    "choose one by --grid, or name its two files"
                )
            chosen.extend(complete)
        if not chosen:
            raise QVecError(f"{self.said}: no complete pair of {backbone}")
        return chosen

    def open(
        self, pair: Pair, base: str | Path | PreTrainedModel | None = None, heads: int | None = None
    ) -> QuantizationVector:
        """Make the vector of a pair; a repository's two files are fetched first.

        Raises:
            QVecError: as `import_pair`, or when the Hub refuses.
        """
        if pair.finetuned is None or pair.qat is None or pair.grid is None:
            raise QVecError(f"{self.said}: the {pair.missing} of {pair.backbone} for {pair.task!r} is missing")
        known = known_base(pair.backbone)
        return import_pair(
            self._file(pair.finetuned),
            self._file(pair.qat),
            base,
            donor=Donor(task=pair.task, finetuned=self._revision(pair.finetuned), qat=self._revision(pair.qat)),
            recipe={"name": "ste", **pair.recipe},
            grid=pair.grid,
            heads=heads,
            base_model=None if known is None else Revision(known),
        )

    def _file(self, path: str) -> Path:
        if isinstance(self.place, Path):
            return self.place / path
        with hub_errors(self.said, f"{path} could not be fetched from the Hub"):
            place = self.place
            return Path(hf_hub_download(place.repo_id, path, revision=place.revision, token=self.token, **LIBRARY))

    def _revision(self, path: str) -> Revision:
        if isinstance(self.place, Path):
            return Revision()
        return Revision(self.place.repo_id, self.place.revision, str(PurePosixPath(path).parent))


def open_source(source: str | Path, *, revision: str | None = None, token: str | bool | None = None) -> Source:
    """List the pairs that a folder or a Hub repository holds; no checkpoint is fetched.

    Raises:
        ArtifactError: when it holds none.
        HubError: when the Hub refuses or is not reached.
    """
    place: Path | RepoPath = find_source(source, revision, None)
    if isinstance(place, Path):
        paths = [path.relative_to(place).as_posix() for path in place.rglob("*") if path.suffix in PICKLES]
    else:
        with hub_errors(str(source), "could not be listed"):
            info = hub_api(token).model_info(place.repo_id, revision=place.revision)
            place = RepoPath(place.repo_id, info.sha, place.subfolder)
            paths = [entry.rfilename for entry in info.siblings or ()]
        paths = [path for path in paths if path.startswith(place.inside(""))]
    pairs = pairs_in(paths)
    if not pairs:
        raise ArtifactError(
            f"{source}: holds no pairs; expected paths such as qat/BACKBONE/TASK/optim=…/qat=bits=3_gran=channel_skip="
            "head/seed=…/classifier_epoch_N.pt and the same under fp/. Two single files are named by --fp and --qat"
        )
    return Source(str(source), place, pairs, token)


def pairs_in(paths: Iterable[str]) -> list[Pair]:
    """Sort paths into pairs; a QAT checkpoint belongs to the plain one of the same backbone, task and settings."""
    plain: dict[tuple[Any, ...], tuple[int, str]] = {}
    trained: dict[tuple[Any, ...], tuple[int, str]] = {}
    settings: dict[tuple[Any, ...], dict[str, Any]] = {}
    for path in paths:
        found = _parse(path)
        if found is None:
            continue
        kind, key, grid, epoch, recipe = found
        group, name = (plain, key) if kind == "fp" else (trained, (*key, grid))
        if name not in group or group[name][0] < epoch:
            group[name] = epoch, path
            settings[name] = {**recipe, "epochs": epoch}
    pairs = [
        Pair(key[0], key[1], key[-1], settings[key], plain.get(key[:-1], (0, None))[1], path)
        for key, (_, path) in sorted(trained.items(), key=str)
    ]
    lonely = [key for key in plain if not any(key == name[:-1] for name in trained)]
    return pairs + [Pair(key[0], key[1], None, settings[key], plain[key][1]) for key in lonely]


def known_base(backbone: str) -> str | None:
    """The Hub repository of a backbone's base in transformers' format; None if it is not known."""
    return _BASES.get(backbone.removeprefix("timm_").replace(".", "_"))


def _parse(path: str) -> tuple[str, tuple[Any, ...], Grid | None, int, dict[str, Any]] | None:
    """Kind, key of the pair, grid, epoch and recipe of a checkpoint's path; None for any other file."""
    parts = PurePosixPath(path).parts
    stem = _FILE.fullmatch(PurePosixPath(path).stem)
    at = next((k for k, part in enumerate(parts) if part in ("fp", "qat")), None)
    if stem is None or at is None or len(parts) < at + 4 or ".." in parts:
        return None
    kind, backbone, task, *middle = parts[at:-1]
    pairs = [part for part in middle if "=" in part]
    shown = [part for part in pairs if not part.startswith("qat=")]
    recipe: dict[str, Any] = {}
    for part in shown:
        for short, text in _SETTING.findall(part):
            name, kind_of = _MEANING.get(short, (short, str))
            recipe[name] = _value(text, kind_of)
    grid = next((_grid(part) for part in pairs if part.startswith("qat=")), None)
    if kind == "qat" and grid is None:
        return None
    return kind, (backbone, task, *parts[:at], *shown), grid, int(stem[1]), recipe


def _value(text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        return printable(text, 60)


def _grid(part: str) -> Grid | None:
    """``qat=bits=3_gran=channel_skip=head`` -> the grid; None if it names none."""
    said = dict(_SETTING.findall(part.removeprefix("qat=")))
    try:
        return Grid.parse(f"int{said['bits']}-{said['gran']}-absmax")
    except (KeyError, GridError):
        return None


def _told(pair: Pair) -> str:
    return f"{pair.grid.name if pair.grid else 'no grid'}, seed {pair.recipe.get('seed')}"


def _listed(names: Iterable[str]) -> str:
    unique = sorted(set(names))
    return printable(", ".join(unique[:12]) + (f" and {len(unique) - 12} more" if len(unique) > 12 else ""), 600)
