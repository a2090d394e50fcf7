"""Talk to the Hub: limits on waiting, and errors that say what to do."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from huggingface_hub import HfApi, constants, get_session
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import parse_ratelimit_headers

from ...errors import HubError, QVecError, first_line
from ...util.durations import spoken
from ...util.untrusted import printable
from ...version import __version__

__all__ = ["LIBRARY", "Talk", "TransportError", "disk_advice", "http_status", "hub_api", "hub_errors"]

LIBRARY: dict[str, Any] = {"library_name": "qvec_hub", "library_version": __version__}  # who asks, for the Hub's logs

# Without a byte from the Hub, or without one taken by it. The client itself would wait for ever; the Hub takes its
# time over a commit of many large files.
PATIENCE_S = 120.0

# That the Hub may ask us to wait between attempts, all of them together. The client would wait for hours.
MAX_PAUSE_S = 60.0

# Base of every error of the HTTP library that huggingface_hub happens to use (httpx in 1.x, httpx2 in 2.x).
TransportError: type[Exception] = HfHubHTTPError.__bases__[0]


def hub_api(token: str | bool | None = None) -> HfApi:
    """The real client; a token of None is the one that is logged in."""
    return HfApi(token=token, **LIBRARY)


@dataclass
class Talk:
    """A conversation with the Hub. `state` is what to say of the repository when it ends in an error."""

    state: str = ""


@contextmanager
def hub_errors(what: object, doing: str, state: str = "", cache: object = None) -> Iterator[Talk]:
    """Talk to the Hub with limited waiting, and raise a `HubError` that says what to do when it fails.

    Every error of the client is turned into one: an invalid answer (a proxy's page, half a JSON object) makes the
    client raise a KeyError, an AssertionError or the like. Keep our own code out of the block.

    Args:
        what: the repository or place.
        doing: ``"could not be fetched"``.
        state: of the repository after an error, such as ``"nothing was uploaded"``.
        cache: the folder that is written to, by default the client's; some errors of a file system do not name it.

    Raises:
        HubError: with the client's error as its cause.
    """
    talk = Talk(state)
    try:
        with _bounded():
            yield talk
    except QVecError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None and not error.filename:
            error.filename = str(cache or constants.HF_HUB_CACHE)
        after = f"; {talk.state}" if talk.state else ""
        raise HubError(f"{what}: {doing}: {_advice(error)}{after}") from error


def http_status(error: BaseException) -> int | None:
    """The HTTP status of the answer that an error, or what caused it, is about."""
    found = _cause(error, HfHubHTTPError)
    return found.response.status_code if isinstance(found, HfHubHTTPError) else None


class _Expected(logging.Filter):
    """Leaves out what the client says of things that we do on purpose."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        return not text.startswith(("No files matched", "Uploading files as a binary IO buffer"))


_LOGGERS = [logging.getLogger(f"huggingface_hub.{name}") for name in ("_commit_api", "_snapshot_download")]
_expected = _Expected()
_lock = threading.Lock()
_talks = 0
_paused_since: float | None = None  # when the Hub first asked for a pause, in the talks now going on


@contextmanager
def _bounded() -> Iterator[None]:
    """For as long as anybody here talks to the Hub: no request or pause without a limit, and less noise."""
    global _talks, _paused_since
    with _lock:
        if not _talks:
            _paused_since = None
        _talks += 1
        _hooks(add=True)
    try:
        yield
    finally:
        with _lock:
            _talks -= 1
            if not _talks:
                _hooks(add=False)


def _hooks(add: bool) -> None:
    """Add our hooks to the client's session, or remove them; the caller's own hooks and factory stay.

    Not by `huggingface_hub.set_client_factory`: it closes the session, which other threads may be using, for every
    talk twice, and a caller's own factory could not be put back, because no function tells which one is set.
    """
    session = get_session()
    ours = {"request": _limit, "response": _refuse_long_pause}
    others = {kind: [hook for hook in session.event_hooks[kind] if hook is not mine] for kind, mine in ours.items()}
    session.event_hooks = {kind: [*others[kind], *([mine] if add else [])] for kind, mine in ours.items()}
    for logger in _LOGGERS:
        (logger.addFilter if add else logger.removeFilter)(_expected)


def _limit(request: Any) -> None:
    """Where the client would wait for ever, for an answer or to be rid of its own bytes: not longer than we do."""
    limits = request.extensions.get("timeout", {})
    patient = {kind: PATIENCE_S if limits.get(kind) is None else limits[kind] for kind in _WAITS}
    request.extensions = {**request.extensions, "timeout": patient}


class _TooLong(HfHubHTTPError):
    """The Hub asks to wait for longer than we do; `seconds` is how long."""

    seconds: int


def _refuse_long_pause(response: Any) -> None:
    """Raise where the client would now sleep past our limit. Shorter pauses are the client's, and it announces them."""
    global _paused_since
    seconds = _pause(response)
    if seconds is None:
        return
    now = time.monotonic()
    with _lock:
        _paused_since = now if _paused_since is None else _paused_since
        left = _paused_since + MAX_PAUSE_S - now
    if seconds > left:
        error = _TooLong(f"the Hub asks to wait {seconds} s", response=response)
        error.seconds = seconds
        raise error


def _pause(response: Any) -> int | None:
    """Seconds to wait before the next attempt, where the Hub names them: what the client would obey."""
    if response.status_code != 429 and response.status_code < 500:
        return None
    limit = parse_ratelimit_headers(response.headers) if response.status_code == 429 else None
    if limit is not None and limit.remaining == 0:
        return limit.reset_in_seconds
    named = response.headers.get("retry-after", "").strip()
    return int(named[:9]) if named.isascii() and named.isdigit() else None


_WAITS = ("connect", "read", "write", "pool")


def _advice(error: BaseException) -> str:
    """What happened, and what the user can do about it."""
    status = http_status(error)
    if isinstance(error, (OfflineModeIsEnabled, LocalEntryNotFoundError)):
        asked = _cause(error, HfHubHTTPError) or _cause(error, TransportError)
        if asked is not None:
            return f"{_advice(asked)}. The cache does not hold all of it either"
        return (
            f"the Hub was not asked, and the cache does not hold all of it ({first_line(_root(error))}); "
            "go online once (HF_HUB_OFFLINE=0, local_files_only=False) or pass a folder"
        )
    for kind, advice in _KNOWN.items():
        if isinstance(error, kind):
            return advice.format(endpoint=constants.ENDPOINT, detail=_detail(error))
    long = _cause(error, _TooLong)
    if isinstance(long, _TooLong):
        return (
            f"{'too many requests' if status == 429 else f'the Hub answered {status}'}, and the Hub asks to wait "
            f"{spoken(long.seconds)} before the next, more than the {MAX_PAUSE_S:.0f} s waited here; try again then"
            + ("; `hf auth login` raises the limit" if status == 429 else "")
        )
    if status is not None:
        return f"{_meaning(status)} ({_detail(error)})"
    broken = _cause(error, TransportError)
    if broken is not None:
        return (
            f"the connection to {constants.ENDPOINT} failed or broke ({type(broken).__name__}: {first_line(broken)}); "
            "check the network and try again: what was transferred is not transferred twice"
        )
    if isinstance(error, OSError) and error.errno is not None:
        return disk_advice(error)
    if isinstance(error, OSError) or type(error) in (ValueError, RuntimeError):  # the client's own words
        return f"{_detail(error)}; try again, and check the network and the disk"
    return (
        f"the answer of {constants.ENDPOINT} makes no sense ({type(error).__name__}: {_detail(error)}); "
        "check HF_ENDPOINT and any proxy, and try again"
    )


def disk_advice(error: OSError) -> str:
    """Which path failed, how, and what to do: for errors of the file system while something is fetched."""
    path = printable(error.filename)
    return f"{path}: {error.strerror or type(error).__name__}; {_DISK.get(error.errno or 0, _OTHER_CACHE)}"


_OTHER_CACHE = "choose a cache folder that you may write to, with cache_dir= or HF_HOME"
_DISK = {
    errno.ENOSPC: "free some space on that disk, or choose a cache on another, with cache_dir= or HF_HOME",
    errno.EDQUOT: "your quota is used up: free some space, or choose another cache, with cache_dir= or HF_HOME",
}


_KNOWN: dict[type[Exception], str] = {
    GatedRepoError: "access must be granted first; ask for it on the repository's page, then log in with "
    "`hf auth login` or pass a token",
    DisabledRepoError: "the repository was disabled by the Hub; use another",
    RepositoryNotFoundError: "no such repository on {endpoint}, or a private one your token may not see; check the "
    "name, log in with `hf auth login` or pass a token",
    RevisionNotFoundError: "the repository has no such revision; name one of its branches, tags or commits",
    LocalTokenNotFoundError: "no token was found; log in with `hf auth login` or pass one",
    EntryNotFoundError: "a file is missing in the repository ({detail})",
    HFValidationError: "not a repo id ({detail}); expected 'org/name'",
}


def _meaning(status: int) -> str:
    known = {
        400: "the Hub refused the content of the request; correct what it names",
        401: "the Hub does not accept your token; log in again with `hf auth login` or pass a valid one",
        403: "your token may not do this; use one with write access, or ask the owner (or open a pull request)",
        409: "somebody else changed the repository at the same time; look at it and try again",
        412: "somebody else changed the repository at the same time; look at it and try again",
        413: "the Hub finds a file too large",
        429: "too many requests; wait a few minutes and try again",
    }
    return known.get(status, f"the Hub answered {status}; try again later" if status >= 500 else f"HTTP {status}")


def _detail(error: BaseException) -> str:
    """What the Hub, or else the client, says about it: one line, and not a whole page of HTML."""
    refusal = _cause(error, HfHubHTTPError)
    said = getattr(refusal, "server_message", None)
    return printable(said.strip().splitlines()[0] if said and said.strip() else first_line(refusal or error))


def _cause(error: BaseException, kind: type[Exception]) -> BaseException | None:
    """The error itself, or the first of its causes, that is of this kind."""
    current: BaseException | None = error
    while current is not None and not isinstance(current, kind):
        current = current.__cause__
    return current


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
