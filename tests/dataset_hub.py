"""A dataset repository on loopback: as much of the Hub's interface as reading a dataset takes."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote

COMMIT = "a" * 40


class DatasetHub:
    """Serves a folder as dataset `repo`, at the revisions main, v1 and `COMMIT`, until `stop`."""

    def __init__(self, repo: str, root: Path) -> None:
        self.repo, self.root = repo, root
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def entry(self, path: Path) -> dict[str, Any]:
        name = str(path.relative_to(self.root))
        if path.is_dir():
            return {"type": "directory", "path": name, "oid": "0" * 40, "size": 0}
        data = path.read_bytes()
        return {"type": "file", "path": name, "oid": hashlib.sha1(data).hexdigest(), "size": len(data)}


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: DatasetHub

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        path, repo, root = unquote(self.path.split("?")[0]), self.hub.repo, self.hub.root
        if found := re.fullmatch(f"/api/datasets/{repo}(?:/revision/(.+))?", path):
            if found[1] not in (None, "main", "v1", COMMIT):
                return self.missing("RevisionNotFound")
            return self.answer({"id": repo, "sha": COMMIT, "siblings": [], "tags": [], "private": False})
        if found := re.fullmatch(f"/api/datasets/{repo}/tree/[^/]+/?(.*)", path):
            return self.answer([self.hub.entry(each) for each in sorted((root / found[1]).iterdir())])
        if found := re.fullmatch(f"/datasets/{repo}/resolve/[^/]+/(.+)", path):
            file = root / found[1]
            return self.send(file.read_bytes()) if file.is_file() else self.missing("EntryNotFound")
        return self.missing("RepoNotFound")

    do_HEAD = do_GET

    def answer(self, value: Any) -> None:
        self.send(json.dumps(value).encode(), type_="application/json")

    def missing(self, code: str) -> None:
        self.send(b"{}", 404, **{"X-Error-Code": code})

    def send(self, body: bytes, status: int = 200, type_: str = "application/octet-stream", **headers: str) -> None:
        self.send_response(status)
        headers |= {"Content-Length": str(len(body)), "Content-Type": type_, "X-Repo-Commit": COMMIT}
        for name, value in {**headers, "ETag": f'"{hashlib.sha1(body).hexdigest()}"'}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
