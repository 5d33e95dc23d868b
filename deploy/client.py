"""A client of the service, for Python: `Client`, and `AsyncClient` for coroutines.

    with Client("http://127.0.0.1:8000") as plantain:
        for answer in plantain.predict(["instances:car", "depth"], image=Path("street.jpg")).frames[0].answers:
            for found in answer.objects:
                print(found.label, found.distance_m)

One generator for each call says what is to be sent and what the answer becomes; both clients drive it. When the service
asks to come back (503 with Retry-After: it is busy, or its engine is being started again), they do, until `patience_s`
is over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

import httpx

from plantain.deploy import client_calls
from plantain.deploy.client_calls import (
    Flow,
    Match,
    Reply,
    Request,
    ServiceError,
    SseReader,
    checked,
    headers_of,
    pause_before_the_next,
    refusal_of,
)

__all__ = ["AsyncClient", "Client", "Match", "ServiceError"]

P = ParamSpec("P")
T = TypeVar("T")


def _waiting(call: Callable[P, Flow[T]]) -> Callable[Concatenate[Client, P], T]:
    """A method of `Client` that makes a call."""

    @wraps(call)
    def method(self: Client, /, *args: P.args, **options: P.kwargs) -> T:
        return self._drive(call(*args, **options))

    return method


def _awaiting(call: Callable[P, Flow[T]]) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    """A method of `AsyncClient` that makes a call."""

    @wraps(call)
    async def method(self: AsyncClient, /, *args: P.args, **options: P.kwargs) -> T:
        return await self._drive(call(*args, **options))

    return method


class Client:
    """Asks a service, and waits.

    Args:
        address: Such as http://127.0.0.1:8000.
        token: Where the service asks for one.
        timeout_s: For one answer.
        patience_s: How long to come back to a service that asks for it.
        transport: Of httpx, for tests.

    Raises, in all methods:
        ServiceError: If the service refuses, or cannot be reached.
    """

    def __init__(
        self,
        address: str,
        token: str | None = None,
        *,
        timeout_s: float = 60.0,
        patience_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._patience_s = patience_s
        self._http = httpx.Client(
            base_url=address, headers=headers_of(token), timeout=timeout_s, transport=transport
        )

    predict = _waiting(client_calls.predict)
    draw = _waiting(client_calls.draw)
    query = _waiting(client_calls.query)
    add_stream = _waiting(client_calls.add_stream)
    stream = _waiting(client_calls.stream)
    streams = _waiting(client_calls.streams)
    change_stream = _waiting(client_calls.change_stream)
    remove_stream = _waiting(client_calls.remove_stream)
    events = _waiting(client_calls.events)
    models = _waiting(client_calls.models)
    wait_until_ready = _waiting(client_calls.wait_until_ready)

    def watch(
        self, stream_id: str, tasks: Sequence[str], *, every_s: float = 1.0, once: bool = False
    ) -> Iterator[Match]:
        """Tells when the answer about a stream is not empty, and when it is empty again."""
        asked = client_calls.watch(stream_id, tasks, every_s, once=once)
        with self._http.stream(asked.method, asked.path, **asked.options) as reply:
            if not reply.is_success:
                reply.read()
                raise refusal_of(reply)
            parser = SseReader()
            for line in reply.iter_lines():
                if (match := parser.take(line)) is not None:
                    yield match

    def close(self) -> None:
        """Gives back the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _drive(self, flow: Flow[T]) -> T:
        try:
            request = next(flow)
            while True:
                request = flow.send(self._send(request))
        except StopIteration as end:
            result: T = end.value
            return result

    def _send(self, request: Request) -> Reply:
        deadline_s = time.monotonic() + self._patience_s
        while True:
            reply, error = None, None
            try:
                reply = self._http.send(_whole(self._http, request))
            except httpx.TransportError as broken:
                error = broken
            pause_s = pause_before_the_next(reply, error, deadline_s - time.monotonic())
            if pause_s is None:
                return checked(reply, error)
            time.sleep(pause_s)


class AsyncClient:
    """As `Client`, for coroutines; a call that is cancelled is taken back by the service."""

    def __init__(
        self,
        address: str,
        token: str | None = None,
        *,
        timeout_s: float = 60.0,
        patience_s: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._patience_s = patience_s
        self._http = httpx.AsyncClient(
            base_url=address, headers=headers_of(token), timeout=timeout_s, transport=transport
        )

    predict = _awaiting(client_calls.predict)
    draw = _awaiting(client_calls.draw)
    query = _awaiting(client_calls.query)
    add_stream = _awaiting(client_calls.add_stream)
    stream = _awaiting(client_calls.stream)
    streams = _awaiting(client_calls.streams)
    change_stream = _awaiting(client_calls.change_stream)
    remove_stream = _awaiting(client_calls.remove_stream)
    events = _awaiting(client_calls.events)
    models = _awaiting(client_calls.models)
    wait_until_ready = _awaiting(client_calls.wait_until_ready)

    async def watch(
        self, stream_id: str, tasks: Sequence[str], *, every_s: float = 1.0, once: bool = False
    ) -> AsyncIterator[Match]:
        """Tells when the answer about a stream is not empty, and when it is empty again."""
        asked = client_calls.watch(stream_id, tasks, every_s, once=once)
        async with self._http.stream(asked.method, asked.path, **asked.options) as reply:
            if not reply.is_success:
                await reply.aread()
                raise refusal_of(reply)
            parser = SseReader()
            async for line in reply.aiter_lines():
                if (match := parser.take(line)) is not None:
                    yield match

    async def close(self) -> None:
        """Gives back the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _drive(self, flow: Flow[T]) -> T:
        try:
            request = next(flow)
            while True:
                request = flow.send(await self._send(request))
        except StopIteration as end:
            result: T = end.value
            return result

    async def _send(self, request: Request) -> Reply:
        deadline_s = time.monotonic() + self._patience_s
        while True:
            reply, error = None, None
            try:
                reply = await self._http.send(_whole(self._http, request))
            except httpx.TransportError as broken:
                error = broken
            pause_s = pause_before_the_next(reply, error, deadline_s - time.monotonic())
            if pause_s is None:
                return checked(reply, error)
            await asyncio.sleep(pause_s)


def _whole(http: httpx.Client | httpx.AsyncClient, request: Request) -> httpx.Request:
    """The request with its body in one piece: a form's parts, each sent alone, would wake the service for each."""
    made = http.build_request(request.method, request.path, **request.options)
    made.read()
    return made
