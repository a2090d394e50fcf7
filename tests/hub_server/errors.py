"""The Hub's refusals: a status, a message, and the code by which the client picks its exception."""

from __future__ import annotations

from typing import Any


class HubError(Exception):
    """An answer other than success. `code` goes into X-Error-Code, `message` into X-Error-Message and the body."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        headers: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.headers = {"X-Error-Message": " ".join(message.split()).encode("ascii", "replace").decode()}
        self.headers |= {"X-Error-Code": code} if code else {}
        self.headers |= headers or {}
        self.body = {"error": message} if body is None else body


def repo_not_found() -> HubError:
    return HubError(404, "Repository not found", "RepoNotFound")


def revision_not_found(revision: str) -> HubError:
    return HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")


def entry_not_found(path: str, commit: str) -> HubError:
    return HubError(404, f"{path} does not exist at {commit}", "EntryNotFound", {"X-Repo-Commit": commit})


def login_required() -> HubError:
    return HubError(401, "Invalid username or password.")


def forbidden(message: str) -> HubError:
    return HubError(403, message)


def gated(repo_id: str, user: str | None) -> HubError:
    status = 403 if user else 401
    return HubError(status, f"Access to {repo_id} is restricted and you are not in the authorized list.", "GatedRepo")


def bad_request(message: str) -> HubError:
    return HubError(400, message)
