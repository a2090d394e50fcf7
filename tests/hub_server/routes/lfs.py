"""Routes of Git LFS: asking where to put large files, putting them there, and getting them from there."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import AsyncIterator, Iterable
from math import ceil
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from ..context import Context, Upload, answer, base_url, context, json_body, logged_in, parameter, readable
from ..errors import HubError, bad_request, forbidden
from ..store import Repo
from .commits import may_write

SHA256 = re.compile(r"[0-9a-f]{64}")
LFS_JSON = {"Content-Type": "application/vnd.git-lfs+json"}


async def batch(request: Request) -> Response:
    hub, repo, user, body = context(request), readable(request), logged_in(request), await json_body(request)
    if body.get("operation") != "upload":
        raise HubError(422, "only uploads go through this route")
    if body.get("ref"):  # without one the upload is for a pull request still to be opened, which anybody may
        may_write(repo, user, str(body["ref"].get("name")), create_pr=False)
    multipart = "multipart" in body.get("transfers", [])
    verify = f"{base_url(request)}/{repo.path}.git/info/lfs/objects/verify"
    objects = [_actions(hub, repo, each, multipart, verify) for each in body.get("objects", [])]
    return Response(json.dumps({"transfer": "basic", "objects": objects}), headers=LFS_JSON)


def _actions(hub: Context, repo: Repo, wanted: dict[str, Any], multipart: bool, verify: str) -> dict[str, Any]:
    sha256, size = str(wanted.get("oid")), wanted.get("size")
    if not SHA256.fullmatch(sha256) or not isinstance(size, int) or size < 1:
        return {"oid": sha256, "size": size, "error": {"code": 422, "message": "expected a sha256 and a size"}}
    found: dict[str, Any] = {"oid": sha256, "size": size}
    if hub.store.blob(sha256).exists():
        return found
    token = secrets.token_hex(16)
    hub.uploads[token] = Upload(repo, sha256, size)
    address = f"{hub.storage_url}/lfs-upload/{token}"
    upload: dict[str, Any] = {"href": address}
    if multipart and size > hub.part_size:
        parts = {str(i + 1): f"{address}/{i + 1}" for i in range(ceil(size / hub.part_size))}
        upload["header"] = {"chunk_size": str(hub.part_size), **parts}
    return {**found, "authenticated": True, "actions": {"upload": upload, "verify": {"href": verify}}}


def _upload(request: Request) -> Upload:
    upload = context(request).uploads.get(parameter(request, "token"))
    if upload is None:
        raise forbidden("this upload address is not, or no longer, valid")
    return upload


async def put(request: Request) -> Response:
    """The whole content, or one part of it, under a signed address."""
    hub, upload = context(request), _upload(request)
    scratch = hub.store.scratch()
    try:
        if "part" in request.path_params:
            sha256, _ = await _receive(request.stream(), scratch)
            number = request.path_params["part"]
            upload.parts[number] = scratch.replace(scratch.with_name(f"{parameter(request, 'token')}-{number}"))
            return Response(headers={"ETag": f'"{sha256}"'})
        _adopt(hub, upload, scratch, *await _receive(request.stream(), scratch))
    finally:
        scratch.unlink(missing_ok=True)
    return Response(headers={"ETag": f'"{upload.sha256}"'})


async def complete(request: Request) -> Response:
    """All parts are there: put them together."""
    hub, upload, body = context(request), _upload(request), await json_body(request)
    numbers = [int(part["partNumber"]) for part in body.get("parts", [])]
    if numbers != list(range(1, len(numbers) + 1)) or set(numbers) != upload.parts.keys():
        raise bad_request(f"expected parts {sorted(upload.parts)}, found {numbers}")
    scratch = hub.store.scratch()
    try:
        _adopt(hub, upload, scratch, *await _receive(_contents(upload.parts[i] for i in numbers), scratch))
    finally:
        scratch.unlink(missing_ok=True)
    for part in upload.parts.values():
        part.unlink()
    return answer({})


async def _contents(paths: Iterable[Path]) -> AsyncIterator[bytes]:
    for path in paths:
        yield path.read_bytes()


async def _receive(chunks: AsyncIterator[bytes], path: Path) -> tuple[str, int]:
    """Write a stream to a file; the hash and the number of bytes."""
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        async for chunk in chunks:
            digest.update(chunk)
            size += file.write(chunk)
    return digest.hexdigest(), size


def _adopt(hub: Context, upload: Upload, scratch: Path, sha256: str, size: int) -> None:
    if (sha256, size) != (upload.sha256, upload.size):
        raise bad_request(f"expected {upload.size} bytes with sha256 {upload.sha256}, found {size} with {sha256}")
    hub.store.adopt(scratch, sha256)


async def verify(request: Request) -> Response:
    hub, _, body = context(request), readable(request), await json_body(request)
    blob = hub.store.blob(str(body.get("oid")))
    if not SHA256.fullmatch(str(body.get("oid"))) or not blob.is_file() or blob.stat().st_size != body.get("size"):
        raise HubError(404, "the object was not uploaded")
    return answer({})


def storage_address(hub: Context, repo: Repo, sha256: str, path: str) -> str:
    """Where a large file's content is served: signed, so it takes no token."""
    name = path.rsplit("/", 1)[-1]
    return f"{hub.storage_url}/cdn/{repo.path}/{sha256}/{name}?signature={hub.signature(sha256)}"


async def content(request: Request) -> Response:
    hub, sha256 = context(request), parameter(request, "sha256")
    if request.query_params.get("signature") != hub.signature(sha256):
        raise forbidden("the signature is missing or wrong")
    return FileResponse(hub.store.blob(sha256), headers={"ETag": f'"{sha256}"'})


def routes(page: str) -> list[Route]:
    """`page` is the path of a repository's pages, with its parameters."""
    return [
        Route(f"{page}.git/info/lfs/objects/batch", batch, methods=["POST"]),
        Route(f"{page}.git/info/lfs/objects/verify", verify, methods=["POST"]),
        Route(f"/cdn{page}/{{sha256}}/{{file}}", content, methods=["GET"]),
    ]


GENERAL = [
    Route("/lfs-upload/{token}", put, methods=["PUT"]),
    Route("/lfs-upload/{token}", complete, methods=["POST"]),
    Route("/lfs-upload/{token}/{part:int}", put, methods=["PUT"]),
]
