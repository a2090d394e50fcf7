"""Routes that list models and datasets: filtered, sorted and in pages."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..context import Context, answer, context, flag, next_link, number, user_of
from ..describe import View
from ..errors import bad_request
from ..store import MAIN

SHORT = ("createdAt", "downloads", "library_name", "likes", "pipeline_tag", "private", "tags", "trendingScore")
FULL = (*SHORT, "author", "disabled", "gated", "lastModified", "sha", "siblings")
UNSUPPORTED = ("apps", "inference", "inference_provider", "num_parameters", "benchmark", "dataset_name")
SORTS = {
    "createdAt": lambda view: view.repo.created,
    "downloads": lambda view: view.repo.downloads,
    "lastModified": lambda view: view.commit.date,
    "likes": lambda view: view.repo.likes,
    "trendingScore": lambda view: 0,
}


async def listing(request: Request) -> Response:
    hub, query = context(request), request.query_params
    kind = "dataset" if request.scope["path"] == "/api/datasets" else "model"
    for name in UNSUPPORTED:
        if name in query:
            raise bad_request(f'"{name}" is not supported by this hub')
    sort = query.get("sort", "trendingScore")
    if sort not in SORTS:
        raise bad_request(f'"sort" must be one of {", ".join(SORTS)}, found {sort!r}')
    if query.get("direction", "-1") not in ("-1", "1"):
        raise bad_request(f'"direction" must be -1 or 1, found {query["direction"]!r}')
    sign = int(query.get("direction", "-1"))
    ranked = sorted(((sign * SORTS[sort](view), view.repo.id), view) for view in _matching(hub, request, kind))
    if "cursor" in query:
        after = _read_cursor(query["cursor"])
        ranked = [each for each in ranked if each[0] > after]
    size = min(number(request, "limit", hub.page_size), hub.page_size)
    page = ranked[:size]
    more = next_link(request, _cursor(page[-1][0])) if page and len(ranked) > size else {}
    names = _properties(request)
    return answer([view.properties(names) for _, view in page], headers=more)


def _matching(hub: Context, request: Request, kind: str) -> Iterator[View]:
    query, user = request.query_params, user_of(request)
    wanted = {tag for value in query.getlist("filter") for tag in value.split(",") if tag}
    wanted |= {query["pipeline_tag"]} if "pipeline_tag" in query else set()
    author, words = query.get("author", "").lower(), query.get("search", "").lower().split()
    for repo in list(hub.store.repos.values()):
        if repo.kind != kind or MAIN not in repo.refs or not repo.visible_to(user):
            continue
        if author and repo.id.split("/")[0].lower() != author:
            continue
        if not all(word in repo.id.lower() for word in words):
            continue
        if "gated" in query and bool(repo.gated) != flag(request, "gated"):
            continue
        view = hub.view(repo, hub.store.commit(repo, repo.refs[MAIN]))
        if wanted <= set(view.summary.tags):
            yield view


def _properties(request: Request) -> list[str]:
    if "expand" in request.query_params:
        return request.query_params.getlist("expand")
    names = list(FULL if flag(request, "full") else SHORT)
    return names + [name for name in ("cardData", "config") if flag(request, name)]


def _cursor(key: tuple[float, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _read_cursor(text: str) -> tuple[float, str]:
    try:
        value, repo_id = json.loads(base64.urlsafe_b64decode(text))
        return float(value), str(repo_id)
    except (ValueError, TypeError) as error:
        raise bad_request("invalid cursor") from error


GENERAL: list[Any] = [Route("/api/models", listing, methods=["GET"]), Route("/api/datasets", listing, methods=["GET"])]
