"""How long a search takes among thousands of vectors: a hub on loopback, the real client, one receiver.

    python benchmarks/search.py           # prints a table, writes benchmarks/results/search.json

The hub holds `--repositories` vectors, one in a hundred of them broken and one in a hundred with a card that says
nothing. ``command`` is ``qvec search --for RECEIVER --bits 3`` as a fresh process, interpreter and imports included;
``call`` is `qvec_hub.search` in this process. ``cold`` starts with an empty cache of the Hub's files, ``warm`` does
not. The receiver's base is named by its config, or, with ``weights``, found by comparing its weights. The hub runs
on the same cores, so its own time is in these figures; ``import`` is the time the imports alone take.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _machine import environment, write_result

ROOT = Path(__file__).resolve().parent.parent
BASE = "lab/tiny-vit"
QVEC = "from qvec_hub.cli import main; main()"  # what the console script does, of this checkout
SAY_NOTHING = b"---\ntags: [quantization-vector]\n---\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repositories", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.hub_server import HubServer
    from tests.hub_server.__main__ import environment as pointing_at

    with tempfile.TemporaryDirectory() as scratch, HubServer(Path(scratch) / "hub") as hub:
        folder = Path(scratch)
        user = hub.add_user("alice")
        # The libraries read these when they are imported, which is why nothing above imports them.
        os.environ.clear()
        os.environ.update(pointing_at(hub.url, user.token) | {"HF_HOME": str(folder / "home"), "COLUMNS": "120"})
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        fill(hub, folder, arguments.repositories)
        result = {
            **environment(),
            "repositories": arguments.repositories,
            "runs": arguments.runs,
            "load_average": round(os.getloadavg()[0], 1),
            "import_s": median([seconds(lambda: command("import qvec_hub.cli")) for _ in range(arguments.runs)]),
            **measure(hub, folder, arguments.runs),
        }
    print_result(result)
    write_result("search", result)


def fill(hub: Any, folder: Path, count: int) -> None:
    """Vectors of one tiny base, good and broken ones; and two receivers of it, one of which names its base."""
    import torch
    from tests.hub.library import Library
    from transformers import ViTConfig, ViTForImageClassification
    from transformers.utils import logging

    import qvec_hub as qv

    logging.disable_progress_bar()
    torch.manual_seed(0)
    base = ViTForImageClassification(ViTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                                               intermediate_size=64, image_size=16, patch_size=4))  # fmt: skip
    moved = ViTForImageClassification(base.config)
    with torch.no_grad():
        for mine, theirs in zip(moved.parameters(), base.parameters(), strict=True):
            mine.copy_(theirs + 1e-3 * torch.randn_like(theirs))
    qv.QuantizationVector.extract(base, moved, base).save_pretrained(folder / "vector")
    for name, said in {"names-its-base": BASE, "weights": ""}.items():
        moved.save_pretrained(folder / name)
        config = json.loads((folder / name / "config.json").read_text())
        (folder / name / "config.json").write_text(json.dumps({**config, "_name_or_path": said}))
    library = Library(hub, folder / "vector")
    good = [library.made("lab/v", BASE, [gain / 100] * 5, "EuroSAT", "int3") for gain in range(-5, 15)]
    silent = {**good[0], "README.md": SAY_NOTHING}
    broken = {**silent, "qvec_config.json": b"{"}
    for number in range(count):
        files = {0: broken, 1: silent}.get(number % 100, good[number % len(good)])
        hub.seed(f"lab{number % 97}/vector-{number}", files, downloads=number)


def measure(hub: Any, folder: Path, runs: int) -> dict[str, Any]:
    import qvec_hub as qv

    cases: dict[str, Callable[[], Any]] = {
        "command": lambda: command(QVEC, *search_arguments(folder / "names-its-base")),
        "command, weights": lambda: command(QVEC, *search_arguments(folder / "weights")),
        "call": lambda: qv.search(folder / "names-its-base", bits=3),
        "call, weights": lambda: qv.search(folder / "weights", bits=3),
    }
    found: dict[str, Any] = {}
    for name, run in cases.items():
        for state in ("cold", "warm"):
            taken, asked = [], []
            for _ in range(runs):
                if state == "cold":
                    shutil.rmtree(folder / "home", ignore_errors=True)
                hub.clear_requests()
                taken.append(seconds(run))
                asked.append(len(hub.requests))
            found[f"{name}, {state}"] = {
                "seconds": median(taken),
                "slowest": round(max(taken), 3),
                "requests": max(asked),
            }
    return {"searches": found}


def search_arguments(receiver: Path) -> list[str]:
    return ["search", "--for", str(receiver), "--bits", "3"]


def command(program: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def median(values: list[float]) -> float:
    return round(statistics.median(values), 3)


def print_result(result: dict[str, Any]) -> None:
    print(f"{result['repositories']} repositories, medians of {result['runs']} runs; {result['versions']}")
    print(f"{'imports alone':<28} {result['import_s']:7.2f} s")
    for name, found in result["searches"].items():
        print(f"{name:<28} {found['seconds']:7.2f} s   slowest {found['slowest']:.2f} s   {found['requests']} requests")


if __name__ == "__main__":
    main()
