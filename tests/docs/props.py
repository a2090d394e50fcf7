"""What the pages name, made real and tiny: repositories of a loopback Hub, and files in the working folder."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import save
from transformers import ViTForImageClassification, ViTImageProcessorPil, ViTModel

import qvec_hub as qv
from qvec_hub.artifact.config import Revision
from qvec_hub.bench.model_store import Library
from qvec_hub.bench.runner import run_suite
from qvec_hub.results.row import DonorUse
from qvec_hub.results.rows import append_row

from ..bench.library import a_suite, fill
from ..bench.synthetic import a_row
from ..conftest import fine_tuned, tiny_config
from ..hub.community import lines, named, ptq
from ..interop.timm_names import timm_state

TIMM = "timm/vit_base_patch16_224.augreg_in21k_ft_in1k"
BASE = "google/vit-base-patch16-224-in21k"
CLASSES = ["dark", "green", "red"]
SIZE = 16
Files = Mapping[str, bytes]

DONORS = {  # repository -> task, grid, seed
    "you/vit-base-eurosat-int3-qvec": ("EuroSAT", "int3-channel-absmax", 1),
    "me/my-vector": ("toys", "int3-channel-absmax", 2),
    "you/donor-a": ("letters", "int2-channel-mse-affine", 3),
    "you/donor-b": ("textures", "int2-channel-mse-affine", 4),
    "lab/donor-c": ("clocks", "int2-channel-mse-affine", 5),
}


class Props:
    """Makes models of one tiny base; what lies in `scratch` is only made once.

    `scratch` is an empty folder.
    """

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        torch.manual_seed(0)
        self.base = ViTForImageClassification(
            tiny_config(
                num_labels=len(CLASSES),
                id2label=dict(enumerate(CLASSES)),
                label2id={name: label for label, name in enumerate(CLASSES)},
            )
        ).eval()
        self.models = self._models()
        self.datasets = self._datasets()
        self.folders: dict[str, Callable[[Path], None]] = {
            "runs/fp": lambda path: self._fine_tune(10, 0.003).save_pretrained(path),
            "runs/qat": lambda path: self._fine_tune(11, 0.006).save_pretrained(path),
            "rows.jsonl": write_rows,
            "results/": lambda path: write_rows(path / "rows.jsonl"),
            "runs/zoo-mini": self._small_run,
        }

    def _fine_tune(self, seed: int, amount: float) -> ViTForImageClassification:
        return fine_tuned(self.base, amount, seed)

    def _models(self) -> dict[str, Files]:
        processor = ViTImageProcessorPil(size={"height": SIZE, "width": SIZE})
        backbone = ViTModel(self.base.config, add_pooling_layer=False)
        backbone.load_state_dict(self.base.vit.state_dict())
        made = {BASE: self._saved(backbone, processor), "me/my-vit": self._saved(self._fine_tune(20, 0.004), processor)}
        for repo, (task, grid, seed) in DONORS.items():
            donor = self._fine_tune(10 * seed, 0.003), self._fine_tune(10 * seed + 1, 0.006)
            vector = qv.QuantizationVector.extract(*donor, self.base, donor={"task": task}, grid=grid)
            vector = vector.with_images(noise(16, seed)).with_config(base_model=Revision(BASE))
            made[repo] = self._saved(vector)
        return made | {"gladia/qat-transfer-timm": self._published_pairs(), TIMM: self._timm_model()}

    def _published_pairs(self) -> Files:
        """Two tasks in the folders of the method's authors, each a pair of state dicts in timm's names."""
        files = {}
        for number, task in enumerate(("EuroSAT", "MNIST")):
            for kind, qat in (("fp", ""), ("qat", "qat=bits=3_gran=channel_skip=head/")):
                state = timm_state(self._fine_tune(60 + 2 * number + (kind == "qat"), 0.003))
                folder = (
                    f"vision/ilharco_timm_supervised/{kind}/vit_base_patch16_224_orig_in21k/{task}/optim=adamw_lr=1e-05"
                )
                files[f"{folder}/{qat}seed=2038/classifier_epoch_12.pt"] = pickled(
                    {f"model.{name}": tensor for name, tensor in state.items()}
                )
        return files

    def _timm_model(self) -> Files:
        model = ViTForImageClassification(tiny_config(hidden_size=64, num_attention_heads=1)).eval()
        cfg = {"mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 0.9, "interpolation": "bicubic"}
        config = {
            "architecture": "vit_base_patch16_224",
            "num_classes": 5,
            "global_pool": "token",
            "pretrained_cfg": cfg,
        }
        return {"config.json": json.dumps(config).encode(), "model.safetensors": save(timm_state(model))}

    def _datasets(self) -> dict[str, Files]:
        usual, other = ("image", "label"), ("img", "species")
        return {
            "tanganke/eurosat": dataset(1, *usual),
            "me/my-images": dataset(2, *usual),
            "me/flowers": dataset(3, *usual),
            "me/birds": dataset(4, *other),
            "org/qvec-results": {
                "README.md": b"---\ntags: [qvec-hub-results]\n---\n# Results\n",
                named(merged := lines(ptq("gratings"))): merged,
            },
        }

    def _saved(self, *parts: Any) -> Files:
        folder = self.scratch / "saved"
        for part in parts:
            part.save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        shutil.rmtree(folder)
        return files

    def _small_run(self, path: Path) -> None:
        """A run on one of the zoo's tasks and models that were never trained, complete with these models."""
        kept = self.scratch / "zoo-mini"
        if not kept.exists():
            measure = [{"method": "fp"}, {"method": "ptq"}, {"method": "qvec", "donors": "each", "scales": ["unit"]}]
            images = {"train": 16, "validation": 10, "calibration": 16}
            about = {"name": "zoo-mini", "tasks": ["shapes", "counting"], "receivers": ["shapes"]}
            suite = a_suite(**about, images=images, measure=measure)
            library = Library(kept / "models")
            fill(library, suite)
            run_suite(suite, kept, library.root)
        shutil.copytree(kept, path)

    def publish(self, hub: Any) -> None:
        """Put every repository on a hub; ``me`` is a user who may write to ``me/…``."""
        hub.add_user("me")
        for repo, files in self.models.items():
            hub.seed(repo, files)
        for repo, files in self.datasets.items():
            hub.seed(repo, files, repo_type="dataset")
        hub.tag("me/flowers", "v1", repo_type="dataset")

    def lay_out(self, folder: Path, text: str) -> None:
        """Make the files and folders that a page names."""
        for name, make in self.folders.items():
            if name in text:
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                make(path)


def pickled(state: Mapping[str, torch.Tensor]) -> bytes:
    out = io.BytesIO()
    torch.save(state, out)
    return out.getvalue()


def noise(count: int, seed: int) -> np.ndarray:
    """uint8 ``(count, SIZE, SIZE, 3)``."""
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.uint8)


def dataset(seed: int, image_column: str, label_column: str) -> Files:
    """Images whose class is the colour channel that is lit, as parquet files of two splits."""
    files = {}
    for split, count in {"train": 80, "test": 12}.items():
        pixels = noise(count, seed) // 2
        labels = [index % len(CLASSES) for index in range(count)]
        rows: dict[str, list[Any]] = {image_column: [], label_column: [CLASSES[label] for label in labels]}
        for image, label in zip(pixels, labels, strict=True):
            if label:
                image[..., 2 - label] += 120
            out = io.BytesIO()
            Image.fromarray(image).save(out, "png")
            rows[image_column].append({"bytes": out.getvalue(), "path": None})
        out = io.BytesIO()
        pq.write_table(pa.table(rows), out)
        files[f"data/{split}-00000-of-00001.parquet"] = out.getvalue()
    return files


def write_rows(path: Path) -> None:
    """Rows of the vectors that pages push, on two receivers of the zoo's tasks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for task in ("shapes", "counting"):
        receiver = f"me/{task}"
        plain = a_row(receiver, task, "ptq", "int3-channel-absmax", 0.5)
        append_row(path, replace(plain, receiver_revision="c" * 40))
        for donor in ("me/my-vector", "me/vit-base-eurosat-int3-qvec"):
            use = {"donors": (DonorUse(donor),), "scale": 1.0, "scale_policy": "unit"}
            row = a_row(receiver, task, "qvec", "int3-channel-absmax", 0.6, **use)
            append_row(path, replace(row, receiver_revision="c" * 40))
