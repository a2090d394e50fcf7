"""Every command ends in an exit code and, where it fails, in one line on stderr."""

import errno
import os
import signal
import subprocess
import sys
import warnings

import pytest
import typer

import qvec_hub as qv
from qvec_hub.cli.app import app
from qvec_hub.cli.ending import ending_in_one_line

NOTHING = "no/such/place/at/all"
VALUES = ["nonsense", "-1", "", "\x1b[31m[é☃]\n"]


def commands(command=None, name=()):
    command = command or typer.main.get_command(app)
    if not hasattr(command, "commands"):
        yield name, command
        return
    for word, inner in command.commands.items():
        yield from commands(inner, (*name, word))


def calls():
    """Each option of each command with each value, the command's arguments being such as do not exist."""
    for name, command in commands():
        options = [parameter for parameter in command.params if parameter.opts[0].startswith("--")]
        arguments = [NOTHING for parameter in command.params if parameter not in options]
        needed = [f"--{option.name}={NOTHING}" for option in options if option.required]
        for option in options:
            if option.name == "help" or getattr(option, "is_flag", False):
                continue
            yield [*name, *arguments, *needed], option.opts[0]


@pytest.mark.parametrize(("call", "option"), calls(), ids=lambda value: value if isinstance(value, str) else value[0])
def test_nonsense_for_an_option(qvec, call, option, monkeypatch) -> None:
    monkeypatch.setattr("qvec_hub.bench.train_models.build_library", unwanted)
    monkeypatch.setattr("qvec_hub.demo.run.run_demo", unwanted)
    for value in VALUES:
        done = qvec(*call, f"{option}={value}")
        assert done.returncode in (1, 2), (value, done)
        assert done.stdout == "", value
        assert "Traceback" not in done.stderr
        assert "unexpected" not in done.stderr
        last = done.stderr.splitlines()[-1]
        assert done.returncode == 2 or last.startswith("qvec: "), done.stderr
        assert "\x1b" not in done.stderr


def unwanted(*arguments, **options):
    raise qv.QVecError("that would have begun")


def test_a_path_with_a_leading_dash(qvec, vector, tmp_path) -> None:
    vector.save_pretrained(tmp_path / "-v [a] é")
    assert qvec("info", "--json", "--", "-v [a] é").stdout.startswith('{"vector": "-v [a] ')
    assert qvec("info", "-v [a] é").returncode == 2


def test_a_file_in_the_place_of_a_folder(qvec, tmp_path) -> None:
    (tmp_path / "file").touch()
    for call in (["demo", "--out", "file"], ["bench", "run", "zoo-mini", "--out", "file"]):
        done = qvec(*call)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (qv.QVecError("two\nlines \x1b[31m"), 1, "qvec: two lines \\x1b[31m\n"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a b"),
            1,
            "qvec: a b: No such file or directory",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 1, "qvec: x: Permission denied"),
        (OSError("broken"), 1, "qvec: broken (OSError)"),
        (KeyError("depth"), 1, "qvec: unexpected KeyError: 'depth'"),
        (MemoryError(), 1, "qvec: expected enough memory"),
        (KeyboardInterrupt(), 130, "qvec: interrupted"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, ""),
        (SystemExit(2), 2, ""),
    ],
)
def test_how_errors_end(error, code, text, capsys, monkeypatch) -> None:
    monkeypatch.setattr(os, "dup2", lambda one, other: None)  # the pipe that is closed is not the test's
    with pytest.raises(SystemExit) as ended, ending_in_one_line():
        raise error
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (code, "")
    assert printed.err.startswith(text)
    assert printed.err.count("\n") == bool(text)


def test_a_warning_is_one_line_and_being_told_to_end_unwinds() -> None:
    unwound = []
    before = signal.getsignal(signal.SIGTERM), warnings.formatwarning

    def work() -> None:
        assert warnings.formatwarning("a\nb", UserWarning, "file", 1) == "qvec: a b (UserWarning)\n"
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            unwound.append(True)

    with pytest.raises(SystemExit) as ended, ending_in_one_line():
        work()
    assert ended.value.code == 128 + signal.SIGTERM
    assert unwound
    assert (signal.getsignal(signal.SIGTERM), warnings.formatwarning) == before


PROGRAM = """
import os
from qvec_hub.cli.ending import ending_in_one_line as ending
with ending():
    print("λ é")
reader, writer = os.pipe()
os.close(reader)
os.dup2(writer, 1)
with ending():
    print("x" * 100_000)
"""


def test_a_reader_that_has_seen_enough_and_a_terminal_of_ascii() -> None:
    """In a process of its own: what its interpreter says when it ends counts too."""
    environment = {key: value for key, value in os.environ.items() if key != "HOME"}
    environment |= {"PYTHONIOENCODING": "ascii", "LANG": "C"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=False, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"\\u03bb \\xe9\n", b"")
