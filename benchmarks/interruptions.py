"""Stop every command that writes at random moments, and look at what is there afterwards.

python -m tests.hub_server --root /tmp/hub -- python benchmarks/interruptions.py --kills 20

Children are forked from one process that has imported everything, so that the moments fall into the work. Half of them
are drawn over a whole run, half around its saves. After each: the target holds what it held or what it was to hold, or
can be told from both and is mended by saying the command again; files of others are as they were; no scratch folder
stays but after SIGKILL, and then only until the next save there. `qvec push` goes to a Hub on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
import transformers
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

import qvec_hub as qv
from _machine import environment, write_result
from qvec_hub.bench import suite
from qvec_hub.cli.app import main as qvec
from qvec_hub.loading import from_pretrained as loading
from qvec_hub.results.rows import read_rows
from qvec_hub.util import atomic as folders

RESULT = Path(__file__).parent / "results" / "interruptions.json"
SIGNALS = {"SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM, "SIGKILL": signal.SIGKILL}
CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGKILL": -9}
FOREIGN = {"notes.txt": "mine", "model_notes.md": "mine", "deep/model_best.pt": "mine"}
SAVES = [(folders, "_put_in_place"), (folders, "_sync"), (torch.nn.Module, "state_dict"), (folders, "_give_modes")]


@dataclass
class Command:
    """What is run, what its target may hold, and how many kills it is worth.

    Args:
        line: arguments, with OUT for the target.
        read: raises QVecError when the target cannot be used; returns something that tells old from new.
        seeds: whether another value, put in for VALUE, makes another result, so that an old one can be told.
        again: what a second run needs besides.
    """

    line: list[str]
    read: Callable[[Path], object]
    kills: int
    changes: tuple[str, str] = ("", "")
    again: list[str] = field(default_factory=list)
    places: tuple[str, ...] = ("new", "existing", "existing with files of others", "through a link", "in .", "a mount")
    partly: bool = False  # what is written bit by bit: a new target may hold the first files of it


def vector_of(out: Path) -> object:
    return round(qv.QuantizationVector.from_pretrained(out).config.scale, 3)


def model_of(out: Path) -> object:
    return qv.from_pretrained(out).config.quantization_config.grid.bits


def donor_of(out: Path) -> object:
    for name in ("fp", "qat"):
        if (out / name).exists():
            ViTForImageClassification.from_pretrained(out / name)
    return "vector" if (out / "vector").exists() and qv.QuantizationVector.from_pretrained(out / "vector") else "begun"


def rows_of(out: Path) -> object:
    return len(read_rows(out / "rows.jsonl", torn_ok=True)) if (out / "rows.jsonl").exists() else 0


def library_of(out: Path) -> object:
    return len([donor_of(path.parent) for path in out.glob("*/seed-*/*/fp")])


def commands(kills: int, few: int) -> dict[str, Command]:
    zoo = ["--base", "base-xs", "--task", "shapes", "--grid", "int2-channel-absmax", "--out", "OUT"]
    train = ["train", "BASE", "IMAGES", "--epochs", "2", "--warmup-steps", "0", "--batch-size", "8", "--out", "OUT"]
    bench = ["bench", "run", "SUITE", "--models", "MODELS", "--out", "OUT"]
    grown = ("new", "through a link", "in .", "a mount")
    return {
        "extract": Command(
            ["extract", "FP", "QAT", "--base", "BASE", "--scale", "VALUE", "--out", "OUT"], vector_of, kills, ("1", "2")
        ),
        "merge": Command(["merge", "A", "B", "--scale", "VALUE", "--out", "OUT"], vector_of, kills, ("1", "2")),
        "apply": Command(
            ["apply", "FP", "--weights", "intVALUE", "--rounding", "nearest", "--out", "OUT"],
            model_of,
            kills,
            ("3", "4"),
        ),
        "train": Command(train, donor_of, few, again=["--resume"], places=grown, partly=True),
        "bench run": Command(bench, rows_of, few, places=grown, partly=True),
        "zoo build": Command(["zoo", "build", *zoo], library_of, few, places=grown, partly=True),
    }


def make_inputs(root: Path) -> dict[str, str]:
    """Two fine-tunes of a small base, two vectors, a zoo of two tasks and a suite of them."""
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=512,
        image_size=24,
        patch_size=6,
        num_labels=10,
    )
    model = ViTForImageClassification(config)
    for name in ("base", "fp", "qat"):
        model.save_pretrained(root / name)
        ViTImageProcessorPil(size={"height": 24, "width": 24}).save_pretrained(root / name)
        for parameter in model.parameters():
            parameter.data += 0.003 * torch.randn(parameter.shape)
    for name in ("a", "b"):
        fp, qat = (root / "fp", root / "qat") if name == "a" else (root / "base", root / "qat")
        qv.QuantizationVector.extract(fp, qat, root / "base").save_pretrained(root / name)
    names = {each.upper(): str(root / each) for each in ("base", "fp", "qat", "a", "b", "models", "images")}
    for scale in (1, 2):
        qv.QuantizationVector.from_pretrained(root / "a").with_config(scale=scale).save_pretrained(root / f"v{scale}")
    for number in range(32):
        image = root / "images" / "train" / f"class{number % 2}" / f"{number}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((24, 24), 20 + number).convert("RGB").save(image)
    (root / "suites").mkdir()
    (root / "suites" / "zoo-22.yaml").write_text(SUITE, encoding="utf-8")
    suite.SUITES = root / "suites"  # for `qvec zoo build`, which knows no other
    return {**names, "SUITE": str(root / "suites" / "zoo-22.yaml")}


SUITE = """\
name: tiny
version: "1"
about: Two tasks, hardly trained.
bases: [base-xs]
tasks: [shapes, textures]
seeds: [0]
images: {train: 200, calibration: 16}
recipe: {epochs: 1, learning_rate: 3.0e-4, weight_decay: 0.1, warmup_steps: 1, batch_size: 100, head: random}
grids: [int2-channel-absmax]
measure:
  - {method: fp}
  - {method: ptq}
  - {method: qvec, donors: each, scales: [unit]}
"""


def run(arguments: list[str], cwd: Path, noted: Path | None = None) -> int:
    """Fork a child that runs `qvec`; with `noted`, it appends there when each save begins."""
    child = os.fork()
    if child:
        return child
    try:
        os.setpgid(0, 0)
        os.chdir(cwd)
        silent = os.open(os.devnull, os.O_RDWR)
        for descriptor in (1, 2):
            os.dup2(silent, descriptor)
        if noted is not None:
            note_saves(noted)
        os.cpu_count = lambda: 1  # type: ignore[assignment]  # no workers, whose start would be most of the time
        sys.argv = ["qvec", *arguments]
        code = 0
        try:
            qvec()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
    finally:
        os._exit(code if "code" in locals() else 99)


def note_saves(noted: Path) -> None:
    begun = time.monotonic()

    def note(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            with noted.open("a") as file:
                print(time.monotonic() - begun, file=file)
            return real(*args, **options)

        return call

    for owner, name in [(folders, "_give_modes"), (folders, "_put_in_place"), (loading, "save_model")]:
        setattr(owner, name, note(getattr(owner, name)))


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextmanager
def target(place: str, root: Path, first: Callable[[str], None]) -> Iterator[tuple[Path, str, Path, list[Path]]]:
    """A target of a kind: its folder, how it is called on the command line, from where, and where scratch may lie."""
    room = Path(tempfile.mkdtemp(dir=root))
    out, called, cwd = room / "out", "out", room
    mounted = False
    try:
        if place == "through a link":
            out = room / "disk" / "real"
            out.parent.mkdir()
            (room / "out").symlink_to(out)
        elif place == "in .":
            out.mkdir()
            called, cwd = ".", out
        elif place == "a mount":
            out.mkdir()
            mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(out)]
            mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
            if not mounted:
                raise PermissionError("mounting needs root")
        first(place)
        yield out, called, cwd, [room, out, out.parent]
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(out)], check=False, capture_output=True)
        shutil.rmtree(room, ignore_errors=True)


class Trial:
    """Kills of one command at one kind of target."""

    def __init__(self, command: Command, place: str, root: Path, names: dict[str, str], rng: random.Random) -> None:
        self.command, self.place, self.root, self.names, self.rng = command, place, root, names, rng
        self.counts: Counter[str] = Counter()

    def arguments(self, called: str, value: str) -> list[str]:
        names = {**self.names, "OUT": called}
        return [names.get(each, each.replace("VALUE", value)) for each in self.command.line]

    def old_content(self) -> Path:
        """What the command writes before anything is stopped; made once."""
        made = self.root / "old" / self.command.line[0]
        if not made.exists():
            made.parent.mkdir(exist_ok=True)
            assert ended(run(self.arguments(str(made), self.command.changes[0]), self.root)) == 0
        return made

    def once(self, name: str, moment: Callable[[], float]) -> None:
        new = self.command.changes[1]
        foreign = FOREIGN if self.place not in ("new", "existing") else {}
        with target(self.place, self.root, lambda place: None) as (out, called, cwd, around):
            existing = self.place != "new" and not self.command.partly
            if existing:
                shutil.copytree(self.old_content(), out, dirs_exist_ok=True)
            for path, text in foreign.items():
                (out / path).parent.mkdir(parents=True, exist_ok=True)
                (out / path).write_text(text)
            child = run(self.arguments(called, new), cwd)
            time.sleep(moment())
            gone, status = os.waitpid(child, os.WNOHANG)
            if gone:
                self.counts["over before the signal"] += 1
                assert os.waitstatus_to_exitcode(status) == 0, (name, self.place)
                return
            os.kill(child, SIGNALS[name])
            code = ended(child)
            self.counts["kills"] += 1
            self.counts[f"exit code {code}"] += 1
            if code not in (0, CODES[name]):
                self.fault(name, f"exit code {code}")
            self.look(name, out, existing)
            self.look_around(name, around, foreign, out)
            again = self.command.again if out.exists() and (out / "training.json").exists() else []
            if ended(run([*self.arguments(called, new), *again], cwd)) != 0:
                self.fault(name, "saying the command again does not mend it")
            self.command.read(out)
            left = scratch(around)
            if left:
                self.fault(name, f"scratch after the next run: {left}")

    def look(self, name: str, out: Path, existing: bool) -> None:
        old = self.command.changes[0]
        if not out.exists() or not any(out.iterdir()):
            self.counts["nothing there yet"] += 1
            if existing:
                self.fault(name, "the old content is gone")
            return
        try:
            found = self.command.read(out)
        except qv.QVecError as error:
            config = (out / "qvec_config.json").exists() or (out / "config.json").exists()
            half = existing and name == "SIGKILL" and not config
            nothing = not existing and not config
            self.counts["half, and recognizable" if half else "nothing there yet" if nothing else "broken"] += 1
            if not (half or nothing):
                self.fault(name, f"broken: {error}")
            return
        if self.command.partly:
            self.counts["whole as far as it got"] += 1
        else:
            self.counts["old" if existing and str(found) in (old, f"{old}.0") else "new"] += 1

    def look_around(self, name: str, around: list[Path], foreign: dict[str, str], out: Path) -> None:
        for path, text in foreign.items():
            if (out / path).read_text() != text:
                self.fault(name, f"{path} is gone")
        if self.place == "through a link" and not (around[0] / "out").is_symlink():
            self.fault(name, "the link is gone")
        if scratch(around):
            self.counts["scratch folders after the signal"] += 1
            if name != "SIGKILL":
                self.fault(name, f"scratch: {scratch(around)}")

    def fault(self, name: str, what: str) -> None:
        self.counts["faults"] += 1
        print(f"  FAULT {self.command.line[:2]} {self.place} {name}: {what}", flush=True)


def scratch(around: list[Path]) -> list[str]:
    return sorted({path.name for folder in around if folder.exists() for path in folder.rglob(".qvec-*.tmp")})


def moments(command: Command, trial: Trial, rng: random.Random) -> Callable[[], float]:
    """Half over a whole run, half around its saves, as an undisturbed run shows where they are."""
    noted = trial.root / f"noted-{rng.random()}"
    with target("new", trial.root, lambda place: None) as (_, called, cwd, _around):
        begun = time.monotonic()
        assert ended(run(trial.arguments(called, command.changes[1]), cwd, noted)) == 0, trial.command.line
        whole = time.monotonic() - begun
    saves = [float(line) for line in noted.read_text().split()] or [whole]

    def drawn() -> float:
        if rng.random() < 0.5:
            return rng.uniform(0, whole)
        return max(0.0, rng.choice(saves) + rng.uniform(-0.05, 0.03))

    return drawn


def total(found: dict[str, dict[str, dict[str, int]]], what: str) -> int:
    return sum(counts.get(what, 0) for places in found.values() for counts in places.values())


def push_trials(root: Path, kills: int, rng: random.Random) -> Counter[str]:
    """Kill pushes over a published vector: the repository has the old one or the new."""
    counts: Counter[str] = Counter()
    temporary = root / "temporary"
    temporary.mkdir()
    tempfile.tempdir = str(temporary)
    begun = time.monotonic()
    assert ended(run(["push", "v1", "alice/undisturbed"], root)) == 0
    whole = time.monotonic() - begun
    for name in SIGNALS:
        for number in range(kills):
            repo = f"alice/{name.lower()}-{number}"
            assert ended(run(["push", "v1", repo], root)) == 0
            child = run(["push", "v2", repo], root)
            time.sleep(rng.uniform(0, whole))
            gone, _ = os.waitpid(child, os.WNOHANG)
            if gone:
                counts["over before the signal"] += 1
            else:
                os.kill(child, SIGNALS[name])
                code = ended(child)
                counts["kills"] += 1
                counts[f"exit code {code}"] += 1
            left = sorted(path.name for path in temporary.iterdir())
            if left:
                counts["temporary folders after the signal"] += 1
                counts["faults"] += name != "SIGKILL"
                shutil.rmtree(temporary)
                temporary.mkdir()
            found = qv.QuantizationVector.from_pretrained(repo, cache_dir=root / f"cache-{repo[6:]}").config.scale
            counts["old" if found == 1 else "new" if found == 2 else "faults"] += 1
            counts["faults"] += ended(run(["push", "v2", repo], root)) != 0
    tempfile.tempdir = None
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="of extract, merge and apply: each signal, each target")
    parser.add_argument("--few", type=int, default=5, help="of train, bench run and zoo build")
    parser.add_argument("--only", action="append", help="only this command")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, found = random.Random(args.seed), {}
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)  # threads do not survive a fork
    with tempfile.TemporaryDirectory() as scratch_root:
        root = Path(scratch_root)
        names = make_inputs(root)
        for title, command in commands(args.kills, args.few).items():
            if args.only and title not in args.only:
                continue
            drawn = None
            for place in command.places:
                trial = Trial(command, place, root, names, rng)
                drawn = drawn or moments(command, trial, rng)
                begun = time.monotonic()
                try:
                    for name in SIGNALS:
                        for _ in range(command.kills):
                            trial.once(name, drawn)
                except PermissionError as error:
                    trial.counts[f"not run: {error}"] += 1
                found.setdefault(title, {})[place] = dict(sorted(trial.counts.items()))
                print(f"{title}, {place}: {found[title][place]} in {time.monotonic() - begun:.0f} s", flush=True)
        if "127.0.0.1" in os.environ.get("HF_ENDPOINT", "") and not (args.only and "push" not in args.only):
            found["push"] = {"a repository": dict(sorted(push_trials(root, args.kills, rng).items()))}
            print(f"push: {found['push']}", flush=True)
    before = RESULT.read_text(encoding="utf-8") if RESULT.exists() else "{}"
    found = {**json.loads(before).get("commands", {}), **found}  # what was not run now stays
    kills, faults = (total(found, what) for what in ("kills", "faults"))
    print(f"{kills} kills, {faults} faults")
    write_result("interruptions", {"kills": kills, "faults": faults, "commands": found, **environment()})
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
