"""Routes about discussions and pull requests."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .. import discussions
from ..context import Context, answer, context, json_body, logged_in, number, parameter, readable, writable
from ..discussions import Discussion
from ..errors import HubError, bad_request, forbidden
from ..objects import Entry
from ..store import MAIN, Repo

PAGE = 10


async def index(request: Request) -> Response:
    repo, query = readable(request), request.query_params
    found = sorted(repo.discussions, key=lambda each: -int(each["num"]))
    if query.get("type", "all") != "all":
        found = [each for each in found if each["isPullRequest"] == (query["type"] == "pull_request")]
    if query.get("status", "all") != "all":
        open_ones = ("open", "draft")
        found = [each for each in found if (each["status"] in open_ones) == (query["status"] == "open")]
    if "author" in query:
        found = [each for each in found if each["author"]["name"] == query["author"]]
    start = PAGE * number(request, "p", 0)
    page = [discussions.outline(repo, each) for each in found[start : start + PAGE]]
    return answer({"discussions": page, "count": len(found), "start": start})


async def create(request: Request) -> Response:
    hub, user, repo, body = context(request), logged_in(request), readable(request), await json_body(request)
    title = str(body.get("title") or "")
    if len(title) < 3:
        raise bad_request('"title" must have at least 3 characters')
    time, pull_request = hub.store.now(), bool(body.get("pullRequest"))
    events = [discussions.comment(user.name, time, str(body.get("description") or ""))]
    status = "draft" if pull_request else "open"
    made = discussions.start(repo, title, user.name, time, events, pull_request, status)
    refs = dict(repo.refs)
    if pull_request:
        made["base"] = refs[f"refs/pr/{made['num']}"] = repo.refs[MAIN]
    hub.store.update(repo, refs=refs, discussions=discussions.replaced(repo, made))
    return answer({"num": made["num"], "pullRequest": pull_request})


def _discussion(request: Request, repo: Repo) -> Discussion:
    for each in repo.discussions:
        if str(each["num"]) == parameter(request, "num"):
            return each
    raise HubError(404, f"there is no discussion {parameter(request, 'num')}")


async def details(request: Request) -> Response:
    hub, repo = context(request), readable(request)
    found = _discussion(request, repo)
    detail = {**discussions.outline(repo, found), "events": found["events"]}
    if found["isPullRequest"]:
        detail["changes"] = {"base": "main"}
        if found["mergeCommitId"]:
            detail["changes"]["mergeCommitId"] = found["mergeCommitId"]
        base, theirs, main = _sides(hub, repo, found)
        detail["filesWithConflicts"] = [] if found["status"] == "merged" else _conflicts(base, theirs, main)
        if "diff" in request.query_params:
            detail["diff"] = discussions.diff(hub.store, base, theirs)
    return answer(detail)


def _sides(hub: Context, repo: Repo, request: Discussion) -> tuple[dict[str, Entry], ...]:
    """The files where a pull request started, in it, and on main."""
    oids = (request["base"], repo.refs[f"refs/pr/{request['num']}"], repo.refs[MAIN])
    return tuple(dict(hub.store.commit(repo, oid).files) for oid in oids)


def _conflicts(base: dict[str, Entry], theirs: dict[str, Entry], main: dict[str, Entry]) -> list[str]:
    both = discussions.changed_paths(base, theirs) & discussions.changed_paths(base, main)
    return sorted(path for path in both if theirs.get(path) != main.get(path))


async def comment(request: Request) -> Response:
    hub, user, repo, body = context(request), logged_in(request), readable(request), await json_body(request)
    event = discussions.comment(user.name, hub.store.now(), str(body.get("comment") or ""))
    _append(hub, repo, _discussion(request, repo), [event])
    return answer({"newMessage": event})


async def title(request: Request) -> Response:
    hub, user, repo, body = context(request), logged_in(request), readable(request), await json_body(request)
    found, new = _discussion(request, repo), str(body.get("title") or "")
    _may_change(user.name, user.owns(repo.id), found)
    event = discussions.event("title-change", user.name, hub.store.now(), {"from": found["title"], "to": new})
    _append(hub, repo, found, [event], title=new)
    return answer({"newTitle": event})


async def status(request: Request) -> Response:
    hub, user, repo, body = context(request), logged_in(request), readable(request), await json_body(request)
    found, new = _discussion(request, repo), body.get("status")
    _may_change(user.name, user.owns(repo.id), found)
    if new not in ("open", "closed") or found["status"] == "merged":
        raise bad_request(f"the status of discussion {found['num']} cannot become {new!r}")
    event = discussions.status_change(user.name, hub.store.now(), new)
    _append(hub, repo, found, [*_said(hub, user.name, body), event], status=new)
    return answer({"newStatus": event})


async def merge(request: Request) -> Response:
    hub, user = context(request), logged_in(request)
    body = await json_body(request) if await request.body() else {}
    with hub.store.lock:
        repo = writable(request)
        found = _discussion(request, repo)
        if not found["isPullRequest"] or found["status"] != "open":
            raise bad_request(f"only open pull requests can be merged, {found['num']} is {found['status']}")
        base, theirs, main = _sides(hub, repo, found)
        conflicts = _conflicts(base, theirs, main)
        if conflicts:
            raise HubError(409, f"This pull request conflicts with main in {', '.join(conflicts)}")
        for path in discussions.changed_paths(base, theirs):
            if path in theirs:
                main[path] = theirs[path]
            else:
                main.pop(path, None)
        parents = (repo.refs[MAIN], repo.refs[f"refs/pr/{found['num']}"])
        text = f"{found['title']} (#{found['num']})"
        made = hub.store.write_commit(repo, main, parents, text, "", user.name)
        events = [*_said(hub, user.name, body), discussions.status_change(user.name, made.date, "merged")]
        refs = {**repo.refs, MAIN: made.oid}
        _append(hub, repo, found, events, refs, status="merged", mergeCommitId=made.oid)
    return answer({})


def _may_change(name: str, owner: bool, discussion: Discussion) -> None:
    if not owner and discussion["author"]["name"] != name:
        raise forbidden("only its author and the repository's owners can change a discussion")


def _said(hub: Context, name: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    return [discussions.comment(name, hub.store.now(), str(body["comment"]))] if body.get("comment") else []


def _append(
    hub: Context,
    repo: Repo,
    discussion: Discussion,
    events: list[dict[str, Any]],
    refs: dict[str, str] | None = None,
    **changes: Any,
) -> None:
    changed = {**discussion, **changes, "events": [*discussion["events"], *events]}
    hub.store.update(repo, refs=repo.refs if refs is None else refs, discussions=discussions.replaced(repo, changed))


def routes(api: str) -> list[Route]:
    one = f"{api}/discussions/{{num}}"
    return [
        Route(f"{api}/discussions", index, methods=["GET"]),
        Route(f"{api}/discussions", create, methods=["POST"]),
        Route(one, details, methods=["GET"]),
        Route(f"{one}/comment", comment, methods=["POST"]),
        Route(f"{one}/title", title, methods=["POST"]),
        Route(f"{one}/status", status, methods=["POST"]),
        Route(f"{one}/merge", merge, methods=["POST"]),
    ]
