"""Talking to the Hub: how a place in it is spelled, and what its errors mean in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from huggingface_hub import HfApi, constants, parse_hf_uri
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HfUriError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from .errors import ArtifactError, HubError, first_line
from .schema import SUBFOLDER
from .version import __version__

__all__ = ["LIBRARY", "Place", "TransportError", "hub_api", "hub_errors", "parse_place", "split_revision"]

LIBRARY: dict[str, Any] = {"library_name": "qvec_hub", "library_version": __version__}  # who asks, for the Hub's logs

# Base of every error of the HTTP library that huggingface_hub happens to use (httpx in 1.x, httpx2 in 2.x).
TransportError: type[Exception] = HfHubHTTPError.__bases__[0]


@dataclass(frozen=True)
class Place:
    """Where an artifact lies in the Hub."""

    repo_id: str
    revision: str | None = None
    subfolder: str | None = None

    def inside(self, name: str) -> str:
        """The path in the repository of a file of the artifact."""
        return f"{self.subfolder}/{name}" if self.subfolder else name

    def __str__(self) -> str:
        at = f"@{self.revision}" if self.revision else ""
        return f"hf://{self.repo_id}{at}/{self.subfolder}" if self.subfolder else f"{self.repo_id}{at}"


def hub_api(token: str | bool | None = None) -> HfApi:
    """The real client; a token of None is the one that is logged in."""
    return HfApi(token=token, **LIBRARY)


def split_revision(source: str) -> tuple[str, str | None]:
    """``"org/name@revision"`` -> ``("org/name", "revision")``."""
    repo_id, _, revision = source.partition("@")
    return repo_id, revision or None


def parse_place(source: str, revision: str | None = None, subfolder: str | None = None) -> Place:
    """``"org/name"``, ``"org/name@revision"`` or ``"hf://org/name[@revision]/subfolder"`` as a `Place`.

    Raises:
        ArtifactError: when the spelling is none of these, or says twice where to look and differs.
    """
    if source.startswith("hf://"):
        try:
            uri = parse_hf_uri(source)
        except HfUriError as error:
            raise ArtifactError(f"{source}: not a place in the Hub ({first_line(error)})") from error
        if uri.type != "model":
            raise ArtifactError(f"{source}: is a {uri.type}; vectors live in model repositories")
        repo_id, pinned, inner = uri.id, uri.revision, uri.path_in_repo.rstrip("/") or None
    else:
        (repo_id, pinned), inner = split_revision(source), None
    for what, given, written in [("revision", revision, pinned), ("subfolder", subfolder, inner)]:
        if given and written and given != written:
            raise ArtifactError(f"{source}: names {what} {written!r}, but {what}={given!r} was asked for; give one")
    subfolder = (subfolder or inner or "").strip("/") or None
    if subfolder and not SUBFOLDER.accepts(subfolder):
        raise ArtifactError(f"{source}: subfolder {subfolder!r}: expected a relative path without '..'")
    return Place(repo_id, revision or pinned, subfolder)


@contextmanager
def hub_errors(what: object, doing: str, nothing_changed: str = "") -> Iterator[None]:
    """Turn whatever the client raises into a `HubError` that says what to do.

    Args:
        what: the repository or place.
        doing: ``"could not be fetched"``.
        nothing_changed: said after errors that leave the repository as it was.
    """
    try:
        yield
    except (TransportError, OSError, ValueError, RuntimeError) as error:
        advice = _advice(error)
        after = f"; {nothing_changed}" if nothing_changed else ""
        raise HubError(f"{what}: {doing}: {advice}{after}") from error


def _advice(error: BaseException) -> str:
    """What happened, and what the user can do about it."""
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, GatedRepoError):
        return "access must be granted first; ask for it on the repository's page, then log in with `hf auth login`"
    if isinstance(error, DisabledRepoError):
        return "the repository was disabled by the Hub; use another"
    if isinstance(error, RepositoryNotFoundError) and status != 401:
        return (
            f"no such repository on {constants.ENDPOINT}, or a private one your token may not see; check the name, "
            "log in with `hf auth login` or pass a token"
        )
    if isinstance(error, RevisionNotFoundError):
        return "the repository has no such revision; name one of its branches, tags or full commit hashes"
    if isinstance(error, LocalTokenNotFoundError):
        return "no token was found; log in with `hf auth login` or pass one"
    if isinstance(error, (OfflineModeIsEnabled, LocalEntryNotFoundError)):
        return (
            "the Hub was not asked or not reached, and the cache does not hold all of it "
            f"({first_line(_root(error))}); go online once (HF_HUB_OFFLINE=0, local_files_only=False) or pass a folder"
        )
    if isinstance(error, EntryNotFoundError):
        return f"a file is missing in the repository ({first_line(error)})"
    if isinstance(error, HFValidationError):
        return f"not a repo id ({first_line(error)}); expected 'org/name'"
    if status is not None:
        return f"{_meaning(status)} ({first_line(error)})"
    if isinstance(error, TransportError):
        return (
            f"the connection to {constants.ENDPOINT} failed or broke ({type(error).__name__}: {first_line(error)}); "
            "check the network and try again: what was transferred is not transferred twice"
        )
    return f"{first_line(error)}; try again, and check the network and the disk"


def _meaning(status: int) -> str:
    known = {
        400: "the Hub refused the content of the request; correct what it names",
        401: "the Hub does not accept your token; log in anew with `hf auth login` or pass a valid one",
        403: "your token may not do this; use one with write access, or ask the owner (or open a pull request)",
        409: "somebody else changed the repository at the same time; look at it and try again",
        412: "somebody else changed the repository at the same time; look at it and try again",
        413: "the Hub finds a file too large",
        429: "too many requests; wait a few minutes and try again",
    }
    return known.get(status, f"the Hub answered {status}; try again later" if status >= 500 else f"HTTP {status}")


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
