"""What starting costs: imports and help texts, in seconds of CPU time, fresh processes in turn.

python benchmarks/startup.py          # a minute; writes benchmarks/results/startup.json
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys

from _machine import environment, write_result

QVEC = "import sys; sys.argv = ['qvec', *sys.argv[1:]]; from qvec_hub.cli import main; main()"
PROGRAMS = {
    "python": ["-c", "pass"],
    "import transformers": ["-c", "import transformers"],
    "import qvec_hub": ["-c", "import qvec_hub"],
    "import transformers, qvec_hub": ["-c", "import transformers, qvec_hub"],
    "qvec --help": ["-c", QVEC, "--help"],
    "qvec --version": ["-c", QVEC, "--version"],
    "qvec apply --help": ["-c", QVEC, "apply", "--help"],
    "qvec train --help": ["-c", QVEC, "train", "--help"],
    "qvec bench run --help": ["-c", QVEC, "bench", "run", "--help"],
    "a usage error": ["-c", QVEC, "no-such-command"],
    "transformers' ViT classifier": ["-c", "from transformers import ViTForImageClassification"],
    "qvec_hub.from_pretrained": ["-c", "from qvec_hub import from_pretrained"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    spent: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(runs):
        for name, arguments in PROGRAMS.items():
            spent[name].append(cpu_seconds(arguments))
    medians = {name: round(statistics.median(times), 3) for name, times in spent.items()}
    write_result("startup", {**environment(), "runs": runs, "load": os.getloadavg()[0], "cpu_s": medians})
    for name, seconds in medians.items():
        print(f"{seconds:6.2f} s  {name}")


def cpu_seconds(arguments: list[str]) -> float:
    """User and system time of a fresh interpreter."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
