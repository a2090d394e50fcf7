"""Counting rows of anchors again, where possible the way everybody loads models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...backbone.processor import load_processor
from ...errors import QVecError
from ...evaluation.runner import evaluate
from ...loading.from_pretrained import from_pretrained
from ...results.row import Row
from ...rounding.registry import PLAIN
from ..baselines.registry import BASELINES
from ..methods import proxied
from ..verify import Check, count_sample
from ..workers import processes
from .bench import BATCH, AnchorBench
from .classes import name_outputs_
from .images import AnchorData
from .models import open_models
from .suite import AnchorSuite, cell_of_row

__all__ = ["verify_anchors"]


def verify_anchors(
    rows: Sequence[Row],
    sample: int | None,
    suite: AnchorSuite,
    models: Path,
    *,
    seed: int = 0,
    token: str | None = None,
    done: Callable[[int], None] = lambda n: None,
) -> list[Check]:
    """Count a random sample of rows again; see `bench.verify.verify`.

    All but the calibrated baselines (GPTQ, AWQ) are counted with `qvec_hub.from_pretrained` and `qvec_hub.evaluate`.

    Args:
        models: folder of the converted models; missing ones are converted again.
        token: for gated or private models and images.
    """
    again = _Again(suite, models, token)
    return count_sample(rows, sample, seed, again.count, done)


class _Again:
    def __init__(self, suite: AnchorSuite, models: Path, token: str | None) -> None:
        self.suite, self.folder, self.token = suite, models, token
        self.bench = AnchorBench(suite, {}, AnchorData(suite.images, token), processes().device, show=False)

    def count(self, row: Row) -> int:
        model = open_models([row.receiver], self.folder, lambda line: None, self.token)[row.receiver]
        for name, wanted, found in (
            (row.receiver, row.receiver_revision, model.revision),
            (row.dataset, row.dataset_revision, self.bench.data.revision),
        ):
            if wanted != found:
                raise QVecError(f"{name}: expected the revision {wanted} that the row was counted with, found {found}")
        self.bench.models = {**self.bench.models, row.receiver: model}
        cell = cell_of_row(row)
        if cell.needs_data and cell.method in BASELINES:
            return self.bench.count(cell).correct
        images = self.bench.calibration(row.receiver) if cell.needs_data else None
        rounding = PLAIN if cell.method in ("fp", "ptq") else proxied(cell.method) or cell.method
        how: dict[str, Any] = {} if cell.grid is None else {"rounding": rounding, "images": images}
        loaded = from_pretrained(model.folder, weights=cell.grid, **how)
        name_outputs_(loaded.config, self.bench.data.test)
        counted = evaluate(
            loaded,
            self.bench.data.test,
            processor=load_processor(model.folder),
            batch_size=BATCH,
            device=self.bench.device,
            progress=False,
        )
        return counted.correct
