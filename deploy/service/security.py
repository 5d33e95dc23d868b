"""Who gets in, and how much they may bring: the shell around the whole HTTP application.

In this order: the Host header (a page elsewhere may not reach a service on loopback through its own name), the Origin
(a page elsewhere may not act with this one's session), the size of the body, the token, the number of requests. Every
answer gets the security headers.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plantain.deploy.service.problems import RETRY_AFTER_S, HttpError, response_of
from plantain.operators.errors import UsageError
from plantain.pipeline.config import ServeConfig

if TYPE_CHECKING:
    from plantain.deploy.service.endpoints.service import Service

COOKIE = "plantain_session"
MIN_TOKEN = 16

# What a browser needs to show the login; none of it holds anything that is secret.
OPEN_PATHS = frozenset(("/", "/docs", "/openapi.json", "/healthz", "/readyz", "/v1/session", "/favicon.ico"))
OPEN_FOLDER = "/web/"
# Asked by machines that must get an answer when everything else is full.
UNCOUNTED = frozenset(("/healthz", "/readyz", "/metrics"))

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def check_exposure(serve: ServeConfig) -> str | None:
    """The token that clients must give, None for none.

    Raises:
        UsageError: If the service would be open to other machines, or the token is short enough to be guessed.
    """
    token = serve.secret()
    if token is None and not is_loopback(serve.host):
        raise UsageError(
            f"serve.host is {serve.host}, which other machines can reach: set serve.token or serve.token_file "
            f"(at least {MIN_TOKEN} characters), or listen on 127.0.0.1"
        )
    if token is not None and (len(token) < MIN_TOKEN or not token.isascii()):
        raise UsageError(
            f"serve.token needs at least {MIN_TOKEN} ASCII characters; 'openssl rand -hex 24' makes one"
        )
    return token


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address that one listens on."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Slots:
    """How much is being worked on.

    Args:
        max_requests: Requests at a time.
        max_viewers: Open views at a time.
    """

    def __init__(self, max_requests: int, max_viewers: int) -> None:
        self._max = {"requests": max_requests, "viewers": max_viewers}
        self.taken = {"requests": 0, "viewers": 0}

    def take(self, kind: str) -> None:
        """Takes one.

        Raises:
            HttpError: 503 if there is none.
        """
        if self.taken[kind] >= self._max[kind]:
            raise HttpError(
                503,
                f"the service is busy with {self._max[kind]} {kind}: try again later",
                retry_after_s=RETRY_AFTER_S,
            )
        self.taken[kind] += 1

    def give(self, kind: str) -> None:
        """Gives one back."""
        self.taken[kind] -= 1


class Slot:
    """What one request holds of the slots."""

    def __init__(self, slots: Slots, kind: str) -> None:
        self._slots = slots
        self._kind: str | None = None
        slots.take(kind)
        self._kind = kind

    def stay(self) -> None:
        """From a request to a view, which may stay open for long.

        Raises:
            HttpError: 503 if there are too many views.
        """
        if self._kind == "requests":
            self._slots.take("viewers")
            self._slots.give("requests")
            self._kind = "viewers"

    def give(self) -> None:
        """Gives it back."""
        if self._kind is not None:
            self._slots.give(self._kind)
            self._kind = None


class Guard:
    """The shell around an ASGI application.

    Args:
        app: What is guarded.
        serve: Limits and names.
        token: What clients must give; None for an open door.

    Attributes:
        service: What is behind it.
        slots: How much is being worked on.
    """

    service: Service

    def __init__(self, app: ASGIApp, serve: ServeConfig, token: str | None) -> None:
        self._app = app
        self._max_body_bytes = serve.max_body_bytes
        self._token = token
        self._names = {name.lower() for name in serve.names}
        self._is_local = is_loopback(serve.host)
        self.slots = Slots(serve.max_requests, serve.max_viewers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or turns it away."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        slot = None
        try:
            self._admit(scope)
            if scope["path"] not in UNCOUNTED:
                slot = Slot(self.slots, "requests" if scope["type"] == "http" else "viewers")
            scope["plantain.slot"] = slot
        except HttpError as error:
            await _refuse(error, scope, receive, send)
            return
        try:
            body = _Body(receive, send, self._max_body_bytes)
            is_http = scope["type"] == "http"
            await self._app(scope, body.receive if is_http else receive, body.send if is_http else send)
        finally:
            if slot is not None:
                slot.give()

    @property
    def has_token(self) -> bool:
        """Whether clients must give one."""
        return self._token is not None

    def accepts(self, token: str) -> bool:
        """Whether this is the token, told in constant time."""
        return self._token is None or hmac.compare_digest(token.encode(), self._token.encode())

    @property
    def session(self) -> str:
        """What the page's cookie holds: nobody can tell the token from it."""
        return hmac.new((self._token or "").encode(), b"plantain session", hashlib.sha256).hexdigest()

    def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._knows(host):
            raise HttpError(421, "this service is not reached under this name; serve.names may add it")
        origin = headers.get("origin")
        is_safe = scope["type"] == "http" and scope["method"] in ("GET", "HEAD", "OPTIONS")
        if origin is not None and not is_safe and urlsplit(origin).netloc.lower() != host.lower():
            raise HttpError(403, "requests from pages of other sites are not answered")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self._max_body_bytes:
            raise HttpError(413, f"the body is larger than {self._max_body_bytes} bytes")
        if self._token is not None and not self._is_open(scope["path"]) and not self._is_known(headers):
            raise HttpError(401, "give the service's token as 'Authorization: Bearer TOKEN'")

    def _knows(self, host: str) -> bool:
        """Whether a Host header is one that a client of ours would send."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        if not name:
            return False
        if name in self._names or is_loopback(name):
            return True
        # What other machines can reach is protected by the token, which pages elsewhere do not have.
        return not (self._is_local or self._names)

    @staticmethod
    def _is_open(path: str) -> bool:
        return path in OPEN_PATHS or path.startswith(OPEN_FOLDER)

    def _is_known(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.accepts(given.strip()):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self.session.encode())


class _Body:
    """Counts a request's body, and puts the headers on its answer.

    A body that grows beyond the limit looks to the application as if the client had gone; whatever it answers is
    replaced by the reason.
    """

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive = receive
        self._send = send
        self._limit = limit
        self._num_bytes = 0
        self._is_refused = False
        self._has_begun = False

    async def receive(self) -> Message:
        if self._is_refused:
            return {"type": "http.disconnect"}
        message = await self._receive()
        self._num_bytes += len(message.get("body", b""))
        if message["type"] == "http.request" and self._num_bytes > self._limit:
            self._is_refused = True
            return {"type": "http.disconnect"}
        return message

    async def send(self, message: Message) -> None:
        if self._is_refused and not self._has_begun:
            if message["type"] != "http.response.start":
                return
            self._has_begun = True
            response = response_of(HttpError(413, f"the body is larger than {self._limit} bytes"))
            start = {"type": "http.response.start", "status": 413, "headers": response.raw_headers}
            await self._send(_with_headers(start))
            await self._send({"type": "http.response.body", "body": response.body})
            return
        if self._is_refused and self._num_bytes > self._limit and message["type"] == "http.response.body":
            return
        self._has_begun = True
        await self._send(_with_headers(message) if message["type"] == "http.response.start" else message)


def _with_headers(start: Message) -> Message:
    headers = MutableHeaders(raw=list(start["headers"]))
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("Cache-Control", "no-store")
    return {**start, "headers": headers.raw}


async def _refuse(error: HttpError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": error.detail[:120]})
        return

    async def with_headers(message: Message) -> None:
        await send(_with_headers(message) if message["type"] == "http.response.start" else message)

    await response_of(error)(scope, receive, with_headers)
