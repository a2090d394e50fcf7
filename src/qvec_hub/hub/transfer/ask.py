"""Questions to the Hub that its client has no suitable function for.

The client's own `model_info` and `list_models` parse whole cards, which are untrusted, and stop at a malformed one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from huggingface_hub import get_session
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, paginate

from .client import LIBRARY, TransportError, hub_api, hub_errors

__all__ = ["get_items", "get_json", "hub_status"]

SHORT_S = 10.0  # for one question whether the Hub is there


def get_json(what: object, path: str, params: Mapping[str, Any], token: str | bool | None = None) -> Any:
    """The Hub's answer at a path of its API, such as ``"models/org/name"``, as parsed JSON: anything.

    Args:
        what: the repository or place, for messages.

    Raises:
        HubError: when the Hub refuses or is not reached; its cause is the client's error.
    """
    with hub_errors(what, "could not be looked up on the Hub"):
        response = get_session().get(_url(path), params=dict(params), headers=_headers(token))
        hf_raise_for_status(response)
        return response.json()


def get_items(path: str, params: Mapping[str, Any], token: str | bool | None = None) -> Iterator[Any]:
    """Yield the items of a listing of the Hub, page by page, as parsed JSON; use it within `hub_errors`."""
    yield from paginate(_url(path), params=dict(params), headers=_headers(token))


def hub_status(
    repo_id: str, revision: str | None = None, token: str | bool | None = None, repo_type: str = "model"
) -> int | None:
    """The HTTP status with which the Hub answers for a repository; None when it does not, or has an error of its own.

    One short question, without the client's retries. What the Hub refuses now (a status of 400 to 499), it refuses
    again.

    Raises:
        HFValidationError: when `repo_id` is no repo id.
    """
    try:
        hub_api(token).repo_info(repo_id, revision=revision, repo_type=repo_type, timeout=SHORT_S)
    except HfHubHTTPError as error:
        status = None if error.response is None else error.response.status_code
        return status if status is not None and status < 500 else None
    except HFValidationError:
        raise
    except (OSError, ValueError, TransportError):
        return None
    return 200


def _url(path: str) -> str:
    return f"{hub_api().endpoint}/api/{path}"


def _headers(token: str | bool | None) -> dict[str, str]:
    headers: dict[str, str] = build_hf_headers(token=token, **LIBRARY)
    return headers
