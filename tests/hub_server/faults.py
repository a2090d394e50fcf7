"""Faults on demand: rules that spoil answers on their way out, or requests on their way in."""

from __future__ import annotations

import asyncio
import re
import threading
import uuid
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

MAX_SECONDS = 30.0
Message = MutableMapping[str, Any]
Kind = Literal[
    "status",
    "commit_rejected",
    "commit_lost",
    "cut",
    "cut_upload",
    "hang",
    "slow",
    "truncate",
    "flip",
    "wrong_etag",
]


class Record(NamedTuple):
    """One request as the server saw it. `status` is 0 when no answer was begun."""

    method: str
    path: str
    status: int


@dataclass
class Fault:
    """A rule: what happens to requests whose method and path (with its query) match.

    Kinds:
        status: answer `code` with `error_code` and `headers`, and do nothing.
        commit_rejected: `status` for commits only.
        commit_lost: the commit is made, but the connection is cut before the answer.
        cut: close the connection after `at` bytes of the answer's body; Content-Length promises all of it.
        cut_upload: close the connection after `at` bytes of the request's body.
        hang: wait `seconds` before doing anything.
        slow: send the answer's body at `rate` bytes a second.
        truncate: send `at` bytes, and say in Content-Length and X-Linked-Size that these are all.
        flip: the lowest bit of byte `at` of the answer's body is turned over.
        wrong_etag: ETag and X-Linked-Etag belong to some other content.

    `skip` matching requests pass first, then `times` are hit (None: all). `hits` counts them. No fault lasts longer
    than 30 seconds.
    """

    kind: Kind
    method: str = ".*"
    path: str = ".*"
    times: int | None = 1
    skip: int = 0
    code: int = 500
    error_code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    at: int = 0
    seconds: float = 0.0
    rate: int = 1000
    hits: int = 0
    _passed: int = 0

    def __post_init__(self) -> None:
        if self.kind.startswith("commit_") and (self.method, self.path) == (".*", ".*"):
            self.method, self.path = "POST", r"^/api/[^?]*/commit/"
        self._method, self._path = re.compile(self.method), re.compile(self.path)

    def takes(self, method: str, path: str) -> bool:
        """Whether this request is to be spoilt; counts it."""
        if not (self._method.fullmatch(method) and self._path.search(path)):
            return False
        if self._passed < self.skip:
            self._passed += 1
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True


class Faults:
    """The outermost layer of the application: keeps the record of requests and applies the rules."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.rules: list[Fault] = []
        self.records: list[Record] = []
        self._lock = threading.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send, self.records)
        with self._lock:
            fault = next((rule for rule in self.rules if rule.takes(scope["method"], exchange.path)), None)
        await exchange.run(self.app, fault)


class Exchange:
    """One request and its answer, with at most one fault in between."""

    def __init__(self, scope: Any, receive: Any, send: Any, records: list[Record]) -> None:
        raw = scope["raw_path"].decode("ascii")
        query = scope["query_string"].decode("ascii")
        self.path = f"{raw}?{query}" if query else raw
        # Routes see the path as it was sent, or %2F in a revision would look like a slash.
        self.scope = {**scope, "path": raw}
        self.receive, self.send = receive, send
        self.transport = scope["state"]["transport"]
        self.closed = False
        self.sent = self.received = 0
        self._records, self._number = records, len(records)
        records.append(Record(scope["method"], self.path, 0))

    async def run(self, app: Any, fault: Fault | None) -> None:
        if fault is None:
            await app(self.scope, self.receive, self._answer)
        elif fault.kind in ("status", "commit_rejected"):
            await self._refuse(fault)
        elif fault.kind == "hang":
            if await self._wait(fault.seconds):
                await app(self.scope, self.receive, self._answer)
        elif fault.kind == "cut_upload":
            await self._shielded(app, self._cutting_receive(fault), self._answer)
        else:
            await self._shielded(app, self.receive, lambda message: _SPOILERS[fault.kind](self, fault, message))

    async def _shielded(self, app: Any, receive: Any, send: Any) -> None:
        """Run the application; what it makes of a connection that was cut is of no interest."""
        try:
            await app(self.scope, receive, send)
        except Exception:
            if not self.closed:
                raise
        if self.closed:
            await self._wait(MAX_SECONDS)  # until the server has noticed, or it would log an answer cut short

    async def _answer(self, message: Message) -> None:
        if self.closed:
            return
        if message["type"] == "http.response.start":
            self._records[self._number] = self._records[self._number]._replace(status=message["status"])
            message["headers"] = [*message["headers"], (b"x-request-id", uuid.uuid4().hex.encode())]
        await self.send(message)

    async def _refuse(self, fault: Fault) -> None:
        while (message := await self.receive())["type"] == "http.request" and message.get("more_body"):
            pass
        headers = {"X-Error-Message": "injected fault", "Content-Type": "text/plain", **fault.headers}
        headers |= {"X-Error-Code": fault.error_code} if fault.error_code else {}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        body = b"injected fault"
        raw.append((b"content-length", str(len(body)).encode()))
        await self._answer({"type": "http.response.start", "status": fault.code, "headers": raw})
        await self._answer({"type": "http.response.body", "body": body})

    async def _wait(self, seconds: float) -> bool:
        """Whether the time has passed with the client still there. The request's body is kept for later."""
        kept: list[Message] = []
        receive = self.receive

        async def until_gone() -> None:
            while True:
                message = await receive()
                kept.append(message)
                if message["type"] == "http.disconnect":
                    return

        async def replay() -> Message:
            return kept.pop(0) if kept else await receive()

        self.receive = replay
        try:
            await asyncio.wait_for(until_gone(), min(seconds, MAX_SECONDS))
        except (asyncio.TimeoutError, TimeoutError):
            return True
        return False

    def close(self) -> None:
        """Close the connection once what was sent is out."""
        self.closed = True
        self.transport.close()

    def _cutting_receive(self, fault: Fault) -> Callable[[], Any]:
        async def receive() -> Message:
            message: Message = await self.receive()
            self.received += len(message.get("body", b""))
            if self.received >= fault.at and not self.closed:
                self.closed = True
                self.transport.abort()
            return {"type": "http.disconnect"} if self.closed else message

        return receive


async def _commit_lost(exchange: Exchange, fault: Fault, message: Message) -> None:
    exchange.close()


async def _cut(exchange: Exchange, fault: Fault, message: Message) -> None:
    if message["type"] == "http.response.body" and not exchange.closed:
        body = message.get("body", b"")[: fault.at - exchange.sent]
        exchange.sent += len(body)
        if exchange.sent >= fault.at:
            await exchange.send({"type": "http.response.body", "body": body, "more_body": True})
            return exchange.close()
    await exchange._answer(message)


async def _slow(exchange: Exchange, fault: Fault, message: Message) -> None:
    body = message.get("body", b"")
    step = max(fault.rate // 20, 1)
    while len(body) > step and exchange.sent < fault.rate * MAX_SECONDS:
        await exchange._answer({"type": "http.response.body", "body": body[:step], "more_body": True})
        body, exchange.sent = body[step:], exchange.sent + step
        await asyncio.sleep(step / fault.rate)
    await exchange._answer({**message, "body": body} if "body" in message else message)


async def _truncate(exchange: Exchange, fault: Fault, message: Message) -> None:
    if message["type"] == "http.response.start":
        for name in (b"content-length", b"x-linked-size"):
            _rewrite(message, name, lambda value: str(min(int(value), fault.at)).encode())
    else:
        body = message.get("body", b"")[: max(fault.at - exchange.sent, 0)]
        exchange.sent += len(body)
        message = {**message, "body": body}
    await exchange._answer(message)


async def _flip(exchange: Exchange, fault: Fault, message: Message) -> None:
    if message["type"] == "http.response.body":
        body, i = bytearray(message.get("body", b"")), fault.at - exchange.sent
        exchange.sent += len(body)
        if 0 <= i < len(body):
            body[i] ^= 1
        message = {**message, "body": bytes(body)}
    await exchange._answer(message)


async def _wrong_etag(exchange: Exchange, fault: Fault, message: Message) -> None:
    if message["type"] == "http.response.start":
        for name in (b"etag", b"x-linked-etag"):
            _rewrite(message, name, lambda value: b'"' + b"0" * (len(value) - 2) + b'"')
    await exchange._answer(message)


def _rewrite(message: Message, name: bytes, change: Callable[[bytes], bytes]) -> None:
    message["headers"] = [(key, change(value) if key == name else value) for key, value in message["headers"]]


_SPOILERS: dict[str, Callable[[Exchange, Fault, Message], Any]] = {
    "commit_lost": _commit_lost,
    "cut": _cut,
    "slow": _slow,
    "truncate": _truncate,
    "flip": _flip,
    "wrong_etag": _wrong_etag,
}
