"""The ASGI application: all routes, and how refusals become answers."""

from __future__ import annotations

import json
import re
import traceback
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from .context import Context
from .errors import HubError, repo_not_found
from .routes import commits, discussions, files, lfs, listing, repos

# A repository without an owner ("gpt2"): the real Hub has some, this one none.
_OWNERLESS = re.compile(r"(/api/(models|datasets)/[^/]+(/(revision|tree|refs)/.*)?|(/datasets)?/[^/]+/resolve/.*)")


def application(context: Context) -> Starlette:
    routes: list[Any] = [*repos.GENERAL, *listing.GENERAL, *lfs.GENERAL]
    for plural, prefix in (("datasets", "/datasets"), ("models", "")):
        api, page = f"/api/{plural}/{{owner}}/{{name}}", f"{prefix}/{{owner}}/{{name}}"
        routes += [*repos.routes(api), *commits.routes(api), *discussions.routes(api)]
        routes += [*files.routes(api, page), *lfs.routes(page)]
    handlers: Any = {HubError: _refuse, HTTPException: _no_route, Exception: _crash}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    app.state.context = context
    return app


async def _refuse(request: Request, error: HubError) -> Response:
    return Response(json.dumps(error.body), error.status, error.headers, media_type="application/json")


async def _no_route(request: Request, error: HTTPException) -> Response:
    if error.status_code == 404 and _OWNERLESS.fullmatch(request.scope["path"]):
        return await _refuse(request, repo_not_found())
    return await _refuse(
        request, HubError(error.status_code, f"{request.method} {request.scope['path']}: no such page")
    )


async def _crash(request: Request, error: Exception) -> Response:
    text = "".join(traceback.format_exception(error))
    return await _refuse(request, HubError(500, "the hub failed", body={"error": text}))
