"""Kill `qvec bench run` at random moments, start it again each time, and compare the rows with an undisturbed run.

python benchmarks/bench_kills.py --models zoo-models --kills 20
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _machine import environment, write_result
from qvec_hub.bench.cells import key_of_row
from qvec_hub.results.rows import read_rows

COMMAND = ["qvec", "bench", "run", "zoo-22", "--base", "base-xs", "--receiver", "digits", "--receiver", "shapes"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="what `qvec zoo build` made")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--longest", type=float, default=25.0, help="seconds a run is left alone at most")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as scratch:
        quiet, killed = Path(scratch, "quiet"), Path(scratch, "killed")
        start(quiet, args.models).wait()
        moments = []
        while len(moments) < args.kills:
            process, after = start(killed, args.models), rng.uniform(0.5, args.longest)
            time.sleep(after)
            if process.poll() is not None:  # it came to its end: begin again, so that every kill hits a run
                (killed / "rows.jsonl").unlink()
                continue
            process.send_signal(signal.SIGKILL)
            process.wait()
            path = killed / "rows.jsonl"
            data = path.read_bytes() if path.exists() else b""
            moments.append({"after_s": round(after, 2), "rows": data.count(b"\n"), "torn": not data.endswith(b"\n")})
            print(f"kill {len(moments)}: after {after:.1f} s, {moments[-1]['rows']} rows on the disk")
        start(killed, args.models).wait()
        one, other = counted(quiet), counted(killed)
    identical = one == other
    print(f"{args.kills} kills: {len(other)} rows, {'identical to' if identical else 'NOT those of'} a quiet run")
    result = {"command": " ".join(COMMAND), "kills": moments, "rows": len(one), "identical": identical}
    write_result("bench_kills", {**result, **environment()})
    sys.exit(not identical)


def start(out: Path, models: Path) -> subprocess.Popen[bytes]:
    program = Path(sys.executable).with_name(COMMAND[0])
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([program, *COMMAND[1:], "--out", out, "--models", models], **silent)


def counted(out: Path) -> list[str]:
    """Every row, duplicates included, without its times."""
    rows = read_rows(out / "rows.jsonl")
    return sorted(json.dumps([*map(str, key_of_row(row)), row.scale, row.n, row.correct]) for row in rows)


if __name__ == "__main__":
    main()
