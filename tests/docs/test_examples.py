"""Every example of README.md and docs/ runs, against a loopback Hub with tiny models; what cannot run says why."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.core import TyperCommand
from typer.main import get_command

from qvec_hub.bench.anchors.suite import load_anchors
from qvec_hub.bench.suite import load_suite
from qvec_hub.cli.app import app
from qvec_hub.grid.scale_rules.registry import SCALE_RULES
from qvec_hub.util.registry import Registry

from .page import NOT_RUN, PAGES, ROOT, SAVED_AS, Block, Command, Page
from .props import Props

KINDS = {"python", "bash", "yaml", ""}
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
LOOKS_RUNNABLE = re.compile(r"^ *(qvec|make|python|pip|hf|import|from|>>>) ", re.MULTILINE)

pages = pytest.mark.parametrize("page", [Page(path) for path in PAGES], ids=NAMES)
with_examples = pytest.mark.parametrize(
    "page",
    [pytest.param(Page(path), id=name) for path, name in zip(PAGES, NAMES, strict=True)
     if any(block.kind in ("python", "bash") for block in Page(path).blocks)],
)  # fmt: skip


@with_examples
@pytest.mark.usefixtures("quick_rounding")
@pytest.mark.filterwarnings("ignore:the run has .* optimizer steps")  # the datasets here are tiny
def test_examples_run(page: Page, published: Props, qvec, tmp_path) -> None:
    """Blocks run in order, in one folder and one namespace, as a reader would run them."""
    published.lay_out(tmp_path, page.text)
    namespace: dict[str, object] = {}
    for block in page.blocks:
        if block.saved_as:
            (tmp_path / block.saved_as).write_text(block.text, encoding="utf-8")
        if block.not_run:
            continue
        if block.kind == "python":
            with as_before(SCALE_RULES):
                run_python(block, namespace)
        elif block.kind == "bash":
            for command in block.commands():
                run_command(command, qvec)


@contextmanager
def as_before(registry: Registry) -> Iterator[None]:
    """What an example registers is gone after it."""
    before = registry.names()
    try:
        yield
    finally:
        for name in set(registry.names()) - set(before):
            registry.remove(name)


def run_python(block: Block, namespace: dict[str, object]) -> None:
    code = "\n" * (block.line - 1) + block.text  # so that a traceback shows the page's line
    exec(compile(code, block.page.path, "exec"), namespace)


def run_command(command: Command, qvec) -> None:
    program, *arguments = command.words
    if program == "make":  # what the targets do is the tests' and the demo's own business
        assert set(arguments) <= TARGETS, f"{command.where}: the Makefile has no {arguments}"
        return
    assert program == "qvec", f"{command.where}: expected qvec or make; say why {program} is not run in tests"
    done = qvec(*arguments)
    assert done.returncode == 0, f"{command.where}: exit code {done.returncode}\n{done.stderr}"
    assert done.stdout.strip(), f"{command.where}: expected a result on stdout, found none"
    if "--out" in arguments:
        out = Path(arguments[arguments.index("--out") + 1])
        assert any(out.iterdir()), f"{command.where}: {out} is empty"


@pages
def test_every_command_exists(page: Page, qvec, monkeypatch: pytest.MonkeyPatch) -> None:
    """All commands parse, also those that are not run; one within a sentence may leave out arguments."""
    monkeypatch.setattr(TyperCommand, "invoke", lambda self, ctx: None, raising=False)
    for command in page.commands():
        program, *arguments = command.words
        if program != "qvec":
            continue
        done = qvec(*arguments)
        incomplete = command.not_run == "named in a sentence" and (not arguments[1:] or "Missing" in done.stderr)
        assert done.returncode == 0 or incomplete, f"{command.where}: {done.stderr}"
        assert "No such command" not in done.stderr, f"{command.where}: {done.stderr}"


@pytest.fixture(scope="session")
def all_commands() -> dict[str, TyperCommand]:
    """Every command below ``qvec``, by its full name."""
    found, waiting = {}, [("", get_command(app))]
    while waiting:
        name, command = waiting.pop()
        children = getattr(command, "commands", {})
        waiting += [(f"{name} {child}".strip(), children[child]) for child in children]
        if not children:
            found[name] = command
    return found


@pages
def test_every_option_exists(page: Page, all_commands: dict[str, TyperCommand]) -> None:
    """Options named alone, such as `--json`, belong to some command."""
    parameters = [parameter for command in all_commands.values() for parameter in command.params]
    known = {name for each in parameters for name in [*each.opts, *each.secondary_opts]} | {"--help"}
    assert {text.split()[0] for text in page.code() if text.startswith("--")} <= known


def test_every_help_ends_in_an_example(
    all_commands: dict[str, TyperCommand], qvec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/command-line.md promises; and the examples parse."""
    monkeypatch.setattr(TyperCommand, "invoke", lambda self, ctx: None, raising=False)
    assert len(all_commands) > 10
    for name, command in all_commands.items():
        _, found, example = (command.epilog or command.help or "").partition("Example:")
        assert found, f"qvec {name}"
        words = shlex.split(example)
        assert words[: 1 + len(name.split())] == ["qvec", *name.split()]
        done = qvec(*words[1:])
        assert done.returncode == 0, f"qvec {name}: {done.stderr}"


@pages
def test_nothing_is_left_out_silently(page: Page) -> None:
    """Examples stand in blocks that are run, and a block that is not has a reason."""
    for block in page.blocks:
        assert block.kind in KINDS, f"{block.where}: expected one of {KINDS}, found {block.kind!r}"
        if block.kind == "":
            assert not LOOKS_RUNNABLE.search(block.text), f"{block.where}: name the language behind the fence"
        if block.not_run is not None:
            assert len(block.not_run.split()) >= 3, f"{block.where}: say why it is not run"
    notes = [each[0] for pattern in (NOT_RUN, SAVED_AS) for each in pattern.finditer(page.text)]
    assert sorted(notes) == sorted(block.note for block in page.blocks if block.note), "a comment without a block"
    assert page.text.count("<!--") == len(notes), "a comment that the tests do not know"


@pages
def test_suites_are_suites(page: Page, tmp_path) -> None:
    """A YAML block is a suite."""
    for block in page.blocks:
        if block.kind == "yaml":
            (tmp_path / "suite.yaml").write_text(block.text, encoding="utf-8")
            of_models = re.search("^models:", block.text, re.MULTILINE)
            (load_anchors if of_models else load_suite)(tmp_path / "suite.yaml")
