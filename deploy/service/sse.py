"""Server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from starlette.responses import StreamingResponse

if TYPE_CHECKING:
    from plantain.deploy.service.endpoints.service import Service

# Proxies close connections that are silent for longer.
KEEP_ALIVE_S = 15.0


def event(name: str, data: str, number: int | None = None) -> bytes:
    """One event; `data` has no line breaks, as JSON has none."""
    head = "" if number is None else f"id: {number}\n"
    return f"{head}event: {name}\ndata: {data}\n\n".encode()


def stream_of(service: Service, events: AsyncIterator[bytes]) -> StreamingResponse:
    """A response that stays open until the events, the client or the service end."""
    return StreamingResponse(
        _alive(service, events), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


async def _alive(service: Service, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The events, and a sign of life where there are none for a while."""
    yield b": hello\n\n"
    closing = asyncio.ensure_future(service.is_closing.wait())
    following = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            await asyncio.wait(
                {following, closing}, timeout=KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED
            )
            if closing.done():
                return
            if not following.done():
                yield b": still here\n\n"
                continue
            one = following.result()
            if one is None:
                return
            following = asyncio.ensure_future(anext(events, None))
            yield one
    finally:
        closing.cancel()
        following.cancel()
        await asyncio.gather(closing, following, return_exceptions=True)
