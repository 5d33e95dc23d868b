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
from collections.abc import AsyncIterator, Iterator, Sequence
from types import TracebackType
from typing import Any, TypeVar

import httpx

from plantain.deploy.client_calls import (
    Calls,
    Flow,
    Match,
    Picture,
    Reply,
    Request,
    ServiceError,
    SseReader,
    checked,
    headers_of,
    pause_before_the_next,
    refusal_of,
    watch_body,
    watch_path,
)
from plantain.deploy.service.schemas import Answers, Event, Models, Stream

__all__ = ["AsyncClient", "Client", "Match", "ServiceError"]

T = TypeVar("T")

JSON = "application/json"


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

    def predict(
        self,
        tasks: Sequence[str],
        *,
        image: Picture | None = None,
        clip: Picture | None = None,
        fps: float | None = None,
        resolution: str = "source",
    ) -> Answers:
        """Answers about a picture or a short clip; `generate:` needs neither."""
        reply = self._drive(Calls.predict(tasks, image, clip, fps, resolution, JSON))
        return Answers.model_validate_json(reply.content)

    def draw(
        self, task: str, accept: str, *, image: Picture | None = None, resolution: str = "source"
    ) -> bytes:
        """The answer to one task as a file: image/png, application/x-npy, or image/jpeg."""
        return self._drive(Calls.predict([task], image, None, None, resolution, accept)).content

    def query(self, stream_id: str, tasks: Sequence[str], *, resolution: str = "source") -> Answers:
        """Answers about the newest frame of a stream."""
        reply = self._drive(Calls.query(stream_id, tasks, resolution, JSON))
        return Answers.model_validate_json(reply.content)

    def watch(
        self, stream_id: str, tasks: Sequence[str], *, every_s: float = 1.0, once: bool = False
    ) -> Iterator[Match]:
        """Tells when the answer about a stream is not empty, and when it is empty again."""
        with self._http.stream(
            "POST", watch_path(stream_id), json=watch_body(tasks, every_s, once=once)
        ) as reply:
            if not reply.is_success:
                reply.read()
                raise refusal_of(reply)
            parser = SseReader()
            for line in reply.iter_lines():
                if (match := parser.take(line)) is not None:
                    yield match

    def add_stream(
        self,
        stream_id: str,
        url: str,
        prompts: Sequence[str],
        *,
        fps: float | None = None,
        every: int = 1,
        options: dict[str, str] | None = None,
        key: str | None = None,
    ) -> Stream:
        """Watches a further stream; the same request under the same key adds nothing twice."""
        return self._drive(Calls.add_stream(stream_id, url, prompts, fps, every, options or {}, key))

    def stream(self, stream_id: str) -> Stream:
        """How a stream is doing."""
        return self._drive(Calls.stream("GET", stream_id))

    def streams(self) -> list[Stream]:
        """How all streams are doing."""
        return self._drive(Calls.streams())

    def change_stream(self, stream_id: str, **changes: Any) -> Stream:
        """Changes prompts, fps, every or paused of a stream."""
        return self._drive(Calls.stream("PATCH", stream_id, changes))

    def remove_stream(self, stream_id: str) -> Stream:
        """Stops watching a stream; its last status."""
        return self._drive(Calls.stream("DELETE", stream_id))

    def events(self, after: int = 0, stream: str = "") -> list[Event]:
        """What happened, oldest first."""
        return self._drive(Calls.events(after, stream))

    def models(self) -> Models:
        """Every backend."""
        return self._drive(Calls.models())

    def wait_until_ready(self) -> None:
        """Returns once queries are answered."""
        self._drive(Calls.ready())

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

    async def predict(
        self,
        tasks: Sequence[str],
        *,
        image: Picture | None = None,
        clip: Picture | None = None,
        fps: float | None = None,
        resolution: str = "source",
    ) -> Answers:
        """Answers about a picture or a short clip; `generate:` needs neither."""
        reply = await self._drive(Calls.predict(tasks, image, clip, fps, resolution, JSON))
        return Answers.model_validate_json(reply.content)

    async def draw(
        self, task: str, accept: str, *, image: Picture | None = None, resolution: str = "source"
    ) -> bytes:
        """The answer to one task as a file: image/png, application/x-npy, or image/jpeg."""
        return (await self._drive(Calls.predict([task], image, None, None, resolution, accept))).content

    async def query(self, stream_id: str, tasks: Sequence[str], *, resolution: str = "source") -> Answers:
        """Answers about the newest frame of a stream."""
        reply = await self._drive(Calls.query(stream_id, tasks, resolution, JSON))
        return Answers.model_validate_json(reply.content)

    async def watch(
        self, stream_id: str, tasks: Sequence[str], *, every_s: float = 1.0, once: bool = False
    ) -> AsyncIterator[Match]:
        """Tells when the answer about a stream is not empty, and when it is empty again."""
        body = watch_body(tasks, every_s, once=once)
        async with self._http.stream("POST", watch_path(stream_id), json=body) as reply:
            if not reply.is_success:
                await reply.aread()
                raise refusal_of(reply)
            parser = SseReader()
            async for line in reply.aiter_lines():
                if (match := parser.take(line)) is not None:
                    yield match

    async def add_stream(
        self,
        stream_id: str,
        url: str,
        prompts: Sequence[str],
        *,
        fps: float | None = None,
        every: int = 1,
        options: dict[str, str] | None = None,
        key: str | None = None,
    ) -> Stream:
        """Watches a further stream; the same request under the same key adds nothing twice."""
        return await self._drive(Calls.add_stream(stream_id, url, prompts, fps, every, options or {}, key))

    async def stream(self, stream_id: str) -> Stream:
        """How a stream is doing."""
        return await self._drive(Calls.stream("GET", stream_id))

    async def streams(self) -> list[Stream]:
        """How all streams are doing."""
        return await self._drive(Calls.streams())

    async def change_stream(self, stream_id: str, **changes: Any) -> Stream:
        """Changes prompts, fps, every or paused of a stream."""
        return await self._drive(Calls.stream("PATCH", stream_id, changes))

    async def remove_stream(self, stream_id: str) -> Stream:
        """Stops watching a stream; its last status."""
        return await self._drive(Calls.stream("DELETE", stream_id))

    async def events(self, after: int = 0, stream: str = "") -> list[Event]:
        """What happened, oldest first."""
        return await self._drive(Calls.events(after, stream))

    async def models(self) -> Models:
        """Every backend."""
        return await self._drive(Calls.models())

    async def wait_until_ready(self) -> None:
        """Returns once queries are answered."""
        await self._drive(Calls.ready())

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
