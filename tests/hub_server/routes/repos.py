"""Routes about repositories as a whole, users, branches and tags."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..context import (
    answer,
    base_url,
    context,
    flag,
    json_body,
    logged_in,
    paged,
    parameter,
    readable,
    repo_kind,
    user_of,
    writable,
)
from ..describe import iso
from ..errors import HubError, bad_request, forbidden, gated, repo_not_found, revision_not_found
from ..metadata import REPO_ID, validate
from ..objects import regular_entry
from ..store import MAIN, Repo

GIT_ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n*.bin filter=lfs diff=lfs merge=lfs -text\n"
_DEFAULT_INFO = """
author cardData config createdAt disabled downloads gated lastModified library_name likes mask_token model-index
pipeline_tag private safetensors sha siblings spaces tags usedStorage
"""
DEFAULT_INFO = _DEFAULT_INFO.split()


async def whoami(request: Request) -> Response:
    user = logged_in(request)
    orgs = [{"type": "org", "name": org, "fullname": org, "roleInOrg": "admin"} for org in user.orgs]
    access = {"type": "access_token", "accessToken": {"displayName": "test", "role": "write"}}
    return answer(
        {"type": "user", "id": user.name, "name": user.name, "fullname": user.name, "orgs": orgs, "auth": access}
    )


async def create(request: Request) -> Response:
    user, body = logged_in(request), await json_body(request)
    kind, repo_id = _named(request, body)
    if not user.owns(repo_id):
        namespace = repo_id.split("/")[0]
        raise forbidden(f'You don\'t have the rights to create a {kind} under the namespace "{namespace}"')
    store = context(request).store
    repo = Repo(kind, repo_id, 0.0)
    url = {"name": repo_id, "url": f"{base_url(request)}/{repo.path}"}
    store.put(GIT_ATTRIBUTES)
    files = {".gitattributes": regular_entry(GIT_ATTRIBUTES)}
    private = body.get("visibility") == "private" or body.get("private") is True
    try:
        store.create(kind, repo_id, files, "initial commit", user.name, private=private)
    except HubError as error:
        error.body |= url
        raise
    return answer({**url, "id": repo_id})


async def delete(request: Request) -> Response:
    user, body = logged_in(request), await json_body(request)
    store = context(request).store
    repo = store.repos.get(_named(request, body))
    if repo is None or not repo.visible_to(user):
        raise repo_not_found()
    if not user.owns(repo.id):
        raise forbidden(f"you don't have the rights to delete {repo.id}")
    store.delete(repo)
    return answer({})


def _named(request: Request, body: dict[str, Any]) -> tuple[str, str]:
    """Kind and id of the repository that a body is about."""
    owner, kind = body.get("organization") or logged_in(request).name, body.get("type") or "model"
    repo_id = f"{owner}/{body.get('name')}"
    if kind not in ("model", "dataset"):
        raise bad_request(f"repositories of type {kind!r} are not served here")
    if not REPO_ID.fullmatch(repo_id) or "--" in repo_id or ".." in repo_id or repo_id.endswith((".git", ".ipynb")):
        raise bad_request(f"invalid repository name {repo_id!r}")
    return kind, repo_id


async def validate_yaml(request: Request) -> Response:
    body = await json_body(request)
    errors, warnings = validate(str(body.get("content", "")), str(body.get("repoType", "model")))
    found = {"errors": [{"message": each} for each in errors], "warnings": [{"message": each} for each in warnings]}
    return answer(found, 400 if errors else 200)


async def info(request: Request) -> Response:
    hub, repo = context(request), readable(request)
    revision = unquote(request.path_params.get("revision", "main"))
    view = hub.view(repo, hub.store.resolve(repo, revision), blobs=flag(request, "blobs"))
    names = request.query_params.getlist("expand") or DEFAULT_INFO
    return answer(view.properties(names), headers={"X-Repo-Commit": view.commit.oid})


async def auth_check(request: Request) -> Response:
    repo, user = readable(request), user_of(request)
    if not repo.open_to(user):
        raise gated(repo.id, user.name if user else None)
    return answer({})


async def settings(request: Request) -> Response:
    repo, body = writable(request), await json_body(request)
    changes: dict[str, Any] = {}
    if "visibility" in body or "private" in body:
        changes["private"] = body.get("visibility") == "private" or body.get("private") is True
    if "gated" in body:
        changes["gated"] = body["gated"]
    context(request).store.update(repo, **changes)
    return answer({})


async def grant(request: Request) -> Response:
    repo, body = writable(request), await json_body(request)
    context(request).store.update(repo, readers=sorted({*repo.readers, str(body.get("user"))}))
    return answer({})


async def refs(request: Request) -> Response:
    repo = readable(request)
    found: dict[str, list[dict[str, str]]] = {"branches": [], "converts": [], "tags": [], "pullRequests": []}
    groups = {"refs/heads/": "branches", "refs/tags/": "tags", "refs/pr/": "pullRequests"}
    for ref, oid in repo.refs.items():
        for prefix, group in groups.items():
            if ref.startswith(prefix):
                found[group].append({"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": oid})
    if not flag(request, "include_prs"):
        del found["pullRequests"]
    return answer(found)


async def commits(request: Request) -> Response:
    hub, repo = context(request), readable(request)
    head = hub.store.resolve(repo, parameter(request, "revision"))
    page, headers = paged(request, list(hub.store.history(repo, head)), hub.page_size)
    items = []
    for commit in page:
        item = {"id": commit.oid, "title": commit.title, "message": commit.message, "date": iso(commit.date)}
        items.append({**item, "authors": [{"user": commit.author}]})
        if "formatted" in request.query_params.getlist("expand[]"):
            items[-1]["formatted"] = {"title": commit.title, "message": commit.message}
    return answer(items, headers=headers)


async def create_ref(request: Request) -> Response:
    """A new branch (named in the path, from startingPoint) or tag (named in the body, at the path's revision)."""
    hub, repo, body = context(request).store, writable(request), await json_body(request)
    if "branch" in request.path_params:
        name = parameter(request, "branch")
        ref, revision = f"refs/heads/{name}", str(body.get("startingPoint", "main"))
    else:
        name = str(body.get("tag") or "")
        ref, revision = f"refs/tags/{name}", parameter(request, "tag")
    if not name or name.startswith(("refs/", "-", "/")) or ".." in name or not name.isprintable() or " " in name:
        raise bad_request(f"invalid reference name {name!r}")
    oid = hub.resolve(repo, revision).oid
    if ref in repo.refs:
        raise HubError(409, f"Reference already exists: {ref}")
    hub.update(repo, refs={**repo.refs, ref: oid})
    return answer({})


async def delete_ref(request: Request) -> Response:
    repo = writable(request)
    group, name = ("heads", "branch") if "branch" in request.path_params else ("tags", "tag")
    ref = f"refs/{group}/{parameter(request, name)}"
    if ref == MAIN:
        raise forbidden("the main branch cannot be deleted")
    if ref not in repo.refs:
        raise revision_not_found(ref)
    context(request).store.update(repo, refs={key: oid for key, oid in repo.refs.items() if key != ref})
    return answer({})


async def no_xet(request: Request) -> Response:
    readable(request)
    raise HubError(404, f"this hub has no Xet storage for a {repo_kind(request)}")


def routes(api: str) -> list[Route]:
    """`api` is the path of a repository below /api, with its parameters."""
    return [
        Route(api, info, methods=["GET"]),
        Route(f"{api}/revision/{{revision}}", info, methods=["GET"]),
        Route(f"{api}/auth-check", auth_check, methods=["GET"]),
        Route(f"{api}/settings", settings, methods=["PUT"]),
        Route(f"{api}/user-access-request/grant", grant, methods=["POST"]),
        Route(f"{api}/refs", refs, methods=["GET"]),
        Route(f"{api}/commits/{{revision}}", commits, methods=["GET"]),
        Route(f"{api}/branch/{{branch}}", create_ref, methods=["POST"]),
        Route(f"{api}/branch/{{branch}}", delete_ref, methods=["DELETE"]),
        Route(f"{api}/tag/{{tag}}", create_ref, methods=["POST"]),
        Route(f"{api}/tag/{{tag}}", delete_ref, methods=["DELETE"]),
        Route(f"{api}/xet-read-token/{{revision}}", no_xet, methods=["GET"]),
        Route(f"{api}/xet-write-token/{{revision}}", no_xet, methods=["GET"]),
    ]


GENERAL = [
    Route("/api/whoami-v2", whoami, methods=["GET"]),
    Route("/api/repos/create", create, methods=["POST"]),
    Route("/api/repos/delete", delete, methods=["DELETE"]),
    Route("/api/validate-yaml", validate_yaml, methods=["POST"]),
]
