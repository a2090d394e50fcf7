"""Paths of artifacts in Hub repositories, and their spellings."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from huggingface_hub import parse_hf_uri
from huggingface_hub.errors import HfUriError, HFValidationError
from huggingface_hub.utils import validate_repo_id

from ...artifact.schema import REVISION, SUBFOLDER
from ...errors import ArtifactError, first_line
from ...util.untrusted import printable

__all__ = ["RepoPath", "find_source", "is_folder", "is_local", "parse_place", "split_revision"]


@dataclass(frozen=True)
class RepoPath:
    """The path of an artifact on the Hub: repository, revision and subfolder."""

    repo_id: str
    revision: str | None = None
    subfolder: str | None = None

    def inside(self, name: str) -> str:
        """The path in the repository of a file of the artifact."""
        return f"{self.subfolder}/{name}" if self.subfolder else name

    def __str__(self) -> str:
        if not self.subfolder:
            return f"{self.repo_id}@{self.revision}" if self.revision else self.repo_id
        # A slash in a branch's name would look like the beginning of the folder.
        revision = quote(self.revision or "", safe="/" if (self.revision or "").startswith("refs/") else "")
        return f"hf://{self.repo_id}{f'@{revision}' if revision else ''}/{self.subfolder}"


def find_source(
    source: str | os.PathLike[str], revision: str | None = None, subfolder: str | None = None
) -> Path | RepoPath:
    """Resolve the name of a vector or a model to a folder, as an absolute path, or to a path on the Hub.

    A folder is made absolute at once, because the working directory may change later.

    Args:
        source: a folder, ``"org/name"``, ``"org/name@revision"`` or ``"hf://org/name[@revision]/subfolder"``. A name
            that exists as a folder is a folder, even with an ``@`` in it.
        revision: of the repository; a folder has none.
        subfolder: of the repository or the folder.

    Raises:
        ArtifactError: when it is neither, see `is_folder` and `parse_place`.
    """
    if not is_folder(source):
        return parse_place(str(source), revision, subfolder)
    folder = Path(source).expanduser().absolute()  # not resolved: a link is what the user calls it
    return folder / subfolder if subfolder else folder


def is_folder(source: str | os.PathLike[str]) -> bool:
    """Whether `source` means a local folder: it is one, or it cannot be a repo id.

    Raises:
        ArtifactError: when it looks like a path but nothing is there, or is no name at all.
    """
    if not isinstance(source, (str, os.PathLike)) or isinstance(os.fspath(source), bytes):
        raise ArtifactError(
            f"{printable(repr(source), 80)}: expected a folder or a Hub repo id such as 'org/name', found "
            f"{type(source).__name__}"
        )
    text = str(source)
    if text.startswith("hf://"):
        return False
    if not text:  # Path("") would be the working directory
        raise ArtifactError("'': no such folder; expected a folder or a Hub repo id such as 'org/name'")
    try:
        path = Path(source).expanduser()
        if path.is_dir():
            return True
        exists = path.exists()
    except (OSError, ValueError, RuntimeError) as error:  # endless, with a NUL, or of a user who does not exist
        raise ArtifactError(f"{printable(source, 80)}: no such folder ({first_line(error)})") from error
    if exists:
        raise ArtifactError(f"{source}: is a file; expected a folder or a Hub repo id such as 'org/name'")
    slashes = text.partition("@")[0].count("/")  # a revision may hold more: org/name@refs/pr/1
    if not isinstance(source, str) or text.startswith((".", "/", "~")) or "\\" in text or slashes > 1:
        raise ArtifactError(f"{source!s}: no such folder")
    return False


def is_local(name: str) -> bool:
    """Whether a name is a path of this machine: it exists here, or cannot be a repo id."""
    if name.startswith(("/", ".", "~")) or "\\" in name or name[1:2] == ":":
        return True
    try:
        return "/" in name and Path(name).exists()
    except OSError:
        return False


def split_revision(source: str) -> tuple[str, str | None]:
    """``"org/name@revision"`` -> ``("org/name", "revision")``."""
    repo_id, _, revision = source.partition("@")
    return repo_id, revision or None


def parse_place(source: str, revision: str | None = None, subfolder: str | None = None) -> RepoPath:
    """``"org/name"``, ``"org/name@revision"`` or ``"hf://org/name[@revision]/subfolder"`` as a `RepoPath`.

    A slash in a branch's name is written ``%2F`` in the last form.

    Raises:
        ArtifactError: when the spelling is none of these, or contradicts `revision` or `subfolder`.
    """
    repo_id, pinned, inner = _parse_uri(source) if source.startswith("hf://") else (*split_revision(source), None)
    if source.endswith("@"):
        raise ArtifactError(f"{source}: names no revision after the '@'; name one, or leave the '@' out")
    for what, given, written in [("revision", revision, pinned), ("subfolder", subfolder, inner)]:
        if given and written and given != written:
            raise ArtifactError(f"{source}: names {what} {written!r}, but {what}={given!r} was asked for; give one")
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ArtifactError(f"{printable(source)}: not a repo id ({first_line(error)}); expected 'org/name'") from error
    revision = revision or pinned
    if revision and not REVISION.accepts(revision):
        raise ArtifactError(f"{source}: revision {printable(repr(revision))}: expected {REVISION.wanted}")
    subfolder = (subfolder or inner or "").strip("/") or None
    if subfolder and not SUBFOLDER.accepts(subfolder):
        raise ArtifactError(f"{source}: subfolder {printable(repr(subfolder))}: expected {SUBFOLDER.wanted}")
    return RepoPath(repo_id, revision, subfolder)


def _parse_uri(source: str) -> tuple[str, str | None, str | None]:
    try:
        uri = parse_hf_uri(source)
    except HfUriError as error:
        raise ArtifactError(f"{source}: not a place in the Hub ({first_line(error)})") from error
    if uri.type != "model":
        raise ArtifactError(f"{source}: is a {uri.type}; vectors and models live in model repositories")
    return uri.id, uri.revision, uri.path_in_repo.rstrip("/") or None
