"""Two processes count what one process counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from qvec_hub.data.images import load_images
from qvec_hub.evaluation.images import preprocess
from qvec_hub.evaluation.runner import evaluate, predict

SCRIPT = """
import json, sys
import torch
from accelerate import PartialState
from qvec_hub.data.images import load_images
from qvec_hub.backbone.processor import load_processor
from qvec_hub.evaluation.images import preprocess
from qvec_hub.evaluation.runner import evaluate, predict
from qvec_hub import from_pretrained

checkpoint, photos, out = sys.argv[1:]
model = from_pretrained(checkpoint)
processor = load_processor(checkpoint)
dataset = load_images(photos)
images = preprocess(dataset, processor)
state = torch.random.get_rng_state()
predictions = predict(model, images, batch_size=4)
found = [
    evaluate(model, photos, processor=processor, batch_size=batch, limit=limit, reference=reference).to_dict()
    for batch, limit, reference in {cases}
]
assert torch.equal(torch.random.get_rng_state(), state)
state = PartialState()
assert state.num_processes == 2, state
record = [[each["n"], each["correct"], each["correct_top5"], each["agreed"]] for each in found]
with open(f"{out}/{state.process_index}.json", "w") as file:
    json.dump([record, predictions.tolist()], file)

from qvec_hub.cli import main

sys.argv = ["qvec", "eval", checkpoint, photos, "--json"]
main()
"""
# (batch size, limit): batches that do and do not divide evenly, fewer images than processes or than a batch
CASES = [(1, None), (4, None), (7, None), (26, None), (53, None), (64, None), (8, 16), (8, 17), (5, 1), (3, 2)]


@pytest.fixture(scope="module")
def launched(tmp_path_factory, checkpoint, photos):
    """What each of the two processes found, and all they printed."""
    out = tmp_path_factory.mktemp("processes")
    cases = ", ".join(f"({batch}, {limit}, {'None' if limit else 'predictions'})" for batch, limit in CASES)
    (out / "script.py").write_text(SCRIPT.replace("{cases}", f"[{cases}]"))
    printed = launch([str(out / "script.py"), str(checkpoint), str(photos), str(out)])
    return [json.loads((out / f"{index}.json").read_text()) for index in range(2)], printed


def launch(arguments: list[str]) -> str:
    """By torchrun: ``accelerate launch --cpu --num_processes 2`` starts a single process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true"}
    source = str(Path(__file__).parents[2] / "src")
    environment["PYTHONPATH"] = os.pathsep.join([source, *filter(None, [environment.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_two_processes_count_as_one(launched, vit, photos, processor):
    expected = []
    for batch, limit in CASES:
        reference = None if limit else vit
        found = evaluate(vit, photos, processor=processor, batch_size=batch, limit=limit, reference=reference)
        expected.append([found.n, found.correct, found.correct_top5, found.agreed])
    assert [record for record, _ in launched[0]] == [expected, expected]


def test_two_processes_predict_in_order(launched, vit, photos, processor):
    expected = predict(vit, preprocess(load_images(photos), processor))
    for _, predictions in launched[0]:
        assert torch.equal(torch.tensor(predictions), expected)


def test_only_the_main_process_prints(launched, vit, photos, processor):
    lines = launched[1].splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["correct"] == evaluate(vit, photos, processor=processor).correct
