"""End a command in one line on stderr and an exit code, whatever went wrong."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from ..errors import QVecError, first_line
from ..util.untrusted import printable

__all__ = ["MAX_MESSAGE", "ending_in_one_line"]

MAX_MESSAGE = 20_000  # characters: enough for hundreds of tensor names, a limit for untrusted text
SHOW_TRACEBACK = "QVEC_TRACEBACK"  # if set, unexpected errors show their traceback


@contextmanager
def ending_in_one_line() -> Iterator[None]:
    """Exit with 1 after bad input, a system error or a bug, and with 143 after SIGTERM.

    Warnings take one line each, text that the terminal cannot show is escaped, and a closed stdout (``| head``) is not
    reported.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # a stream of the caller's own
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    with _warnings_in_one_line(), _ended_by_signals():
        try:
            yield
            sys.stdout.flush()
        except SystemExit:
            _flush()
            raise
        except BrokenPipeError:
            _close_stdout()
            sys.exit(1)
        except KeyboardInterrupt:
            _end("interrupted", 130)
        except QVecError as error:
            _end(str(error), 1)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            _end(f"{where}{error.strerror or first_line(error)} ({type(error).__name__})", 1)
        except MemoryError:
            _end("expected enough memory for this, found too little; take fewer or smaller inputs at once", 1)
        except Exception as error:
            if os.environ.get(SHOW_TRACEBACK):
                traceback.print_exc()
            kind = type(error).__name__
            _end(f"unexpected {kind}: {first_line(error)}; {SHOW_TRACEBACK}=1 shows where, please report it", 1)


def _end(message: str, code: int) -> None:
    with suppress(BrokenPipeError):
        print(f"qvec: {printable(' '.join(message.split()), MAX_MESSAGE)}", file=sys.stderr)
    sys.exit(code)


def _flush() -> None:
    """Flush stdout here: Python would report what is left for a closed pipe when it exits."""
    try:
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        _close_stdout()


def _close_stdout() -> None:
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    before = warnings.formatwarning
    warnings.formatwarning = _one_line
    try:
        yield
    finally:
        warnings.formatwarning = before


def _one_line(message: Any, category: type[Warning], *place: Any, **how: Any) -> str:
    return f"qvec: {printable(' '.join(str(message).split()), MAX_MESSAGE)} ({category.__name__})\n"


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Unwind when told to end (SIGTERM, SIGHUP), so that scratch folders, locks and workers go; only the first time."""

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        sys.exit(128 + number)

    wanted = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    taken = []
    if threading.current_thread() is threading.main_thread():
        taken = [number for number in wanted if signal.getsignal(number) == signal.SIG_DFL]
    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
