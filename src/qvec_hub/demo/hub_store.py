"""Where the demo's base, receivers and vectors live: in its folder, or, published, on the Hub."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shutil import copyfile

from .. import zoo
from ..artifact.config import CARD_FILE, IMAGES_FILE, Revision
from ..hub.transfer.client import hub_api
from ..hub.transfer.commit import commit, open_destination
from ..hub.transfer.repo_path import RepoPath
from ..results.row import DonorUse, Row
from ..util.atomic import write_text
from ..vector.vector import QuantizationVector

__all__ = ["OpenDonor", "Shelf"]

LICENSE = "apache-2.0"


@dataclass(frozen=True)
class OpenDonor:
    """A task's vector, and its name in the rows."""

    vector: QuantizationVector
    use: DonorUse


class Shelf:
    """The demo's models and vectors by task. With a namespace each is published, and loaded from there by repo id.

    Args:
        out: the demo's folder.
        weights: the grid's name.
        namespace: a user or organisation on the Hub, or None to stay in the folder.
    """

    def __init__(self, out: Path, weights: str, namespace: str | None) -> None:
        self.out, self.weights, self.namespace = out, weights, namespace

    def base(self) -> str | Path:
        """What donors start from."""
        if self.namespace is None:
            return zoo.base_path()
        done = self._push_folder(zoo.base_path(), self._id("base"), "Upload the zoo's base")
        return f"{done.repo_id}@{done.revision}"

    def model(self, task: str) -> str | Path:
        """A task's plain fine-tune, the receiver."""
        return self.out / task / "fp" if self.namespace is None else self._id(task)

    def vector(self, task: str) -> str | Path:
        """Where a task's vector is loaded from."""
        return self.out / task / "vector" if self.namespace is None else self._id(f"{task}-{self.weights}-qvec")

    def quantized(self, task: str) -> str | Path:
        """Where a task's model goes when it has been quantized."""
        name = f"{task}-{self.weights}"
        return self.out / name if self.namespace is None else self._id(name)

    def put(self, task: str, scale: float) -> OpenDonor:
        """Take in a trained donor: its vector recommends `scale` from now on, and is opened where it is kept."""
        folder = self.out / task / "vector"
        vector = QuantizationVector.from_pretrained(folder)
        donor = replace(vector.config.donor, dataset=f"zoo:{task}")
        if self.namespace is not None:
            plain = self.out / task / "fp"
            write_text(plain / CARD_FILE, _model_card(task, vector))
            model = self._push_folder(plain, self._id(task), "Upload model")
            donor = replace(donor, finetuned=Revision(model.repo_id, model.revision))
        vector.with_config(donor=donor, scale=scale).save_pretrained(folder)
        if self.namespace is not None:
            QuantizationVector.from_pretrained(folder).push_to_hub(str(self.vector(task)), license=LICENSE)
        opened = QuantizationVector.from_pretrained(self.vector(task))
        place = opened.origin
        return OpenDonor(opened, DonorUse(place.repo_id, place.revision) if place else DonorUse(task))

    def describe(self, tasks: Sequence[str], rows: Iterable[Row]) -> list[Path]:
        """Regenerate and publish every vector's card with its results; copy the cards and their images to `out`."""
        if self.namespace is None:
            return []
        rows, cards = list(rows), self.out / "cards"
        for task in tasks:
            vector = QuantizationVector.from_pretrained(self.vector(task))
            vector.push_to_hub(str(self.vector(task)), rows=rows, license=LICENSE, commit_message="Add results")
            (cards / task).mkdir(parents=True, exist_ok=True)
            for name in (CARD_FILE, IMAGES_FILE) if vector.images(1) is not None else (CARD_FILE,):
                copyfile(hub_api().hf_hub_download(str(self.vector(task)), name), cards / task / name)
        return sorted(cards.glob(f"*/{CARD_FILE}"))

    def _id(self, name: str) -> str:
        return f"{self.namespace}/zoo-s-{name}"

    def _push_folder(self, folder: Path, repo_id: str, message: str) -> Revision:
        files = {path.name: path for path in sorted(folder.iterdir())}
        there = open_destination(hub_api(), RepoPath(repo_id), None, create_pr=False)
        return Revision(repo_id, commit(hub_api(), there, files, message).oid)


def _model_card(task: str, vector: QuantizationVector) -> str:
    base = asdict(vector.config.base_model)["repo_id"]
    return (
        f"---\nlicense: {LICENSE}\nlibrary_name: transformers\npipeline_tag: image-classification\n"
        f"base_model: {base}\nbase_model_relation: finetune\n---\n\n# The zoo's base, fine-tuned on {task}\n\n"
        f"A small ViT for trying out quantization vectors, trained by `qvec demo` on the task `zoo:{task}`.\n"
    )
