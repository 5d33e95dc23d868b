"""Live pictures: one stream as MJPEG, or the whole wall over one WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, WebSocket, WebSocketDisconnect
from starlette.responses import Response, StreamingResponse

from plantain.deploy.service.endpoints.service import Service, TheService, service_of, slot_of
from plantain.deploy.service.schemas import StreamName, WallIn, read
from plantain.operators.errors import PlantainError
from plantain.operators.render.looks import Look, Picture
from plantain.pipeline.commands import EngineDownError, Status, Watch

router = APIRouter(tags=["live"])

BOUNDARY = "plantain-frame"
WAIT_S = 2.0
# Shorter where a view must be left out because its last pictures have not arrived.
WAIT_BUSY_S = 0.1
RETRY_S = 1.0
# Pictures of one view that may be on their way; a slow line gets fewer pictures, never late ones.
MAX_ON_THE_WAY = 2


@router.get("/v1/streams/{stream_id}/live", responses={200: {"content": {"multipart/x-mixed-replace": {}}}})
async def live(
    request: Request,
    service: TheService,
    stream_id: StreamName,
    prompt: Annotated[str, Query(max_length=2000)] = "",
    fps: Annotated[float, Query(gt=0, le=30)] = 5.0,
    width: Annotated[int, Query(ge=64, le=1920)] = 640,
) -> Response:
    """The stream with its answers drawn on it, as MJPEG for an image element."""
    await service.engine.do(Status(stream_id))
    slot_of(request).stay()
    pictures = _mjpeg(service, Look(stream_id, prompt, fps, width))
    return StreamingResponse(pictures, media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY}")


async def _mjpeg(service: Service, look: Look) -> AsyncIterator[bytes]:
    seen: dict[Look, int] = {}
    while not service.is_closing.is_set():
        try:
            pictures = await service.engine.do(Watch([look], dict(seen), wait_s=WAIT_S))
        except EngineDownError:
            await asyncio.sleep(RETRY_S)
            continue
        except PlantainError:
            return
        for picture in pictures:
            seen[look] = picture.number
            head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture.jpeg)}\r\n\r\n"
            yield head.encode() + picture.jpeg + b"\r\n"


@router.websocket("/v1/live")
async def wall(socket: WebSocket) -> None:
    """All live views of a page.

    The page says `{"watch": [{"stream_id": ..., "prompt": ..., "fps": ..., "width": ...}]}`, again whenever that
    changes, and an empty list when nobody looks. Each message to it is a picture: four bytes with the length of a JSON
    head, the head, and a JPEG. The page says `{"seen": [number, ...]}` of pictures that have arrived.
    """
    service = service_of(socket)
    await socket.accept()
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await _Wall(service, socket).run()


class _Wall:
    """One page's connection."""

    def __init__(self, service: Service, socket: WebSocket) -> None:
        self._service = service
        self._socket = socket
        self._looks: tuple[Look, ...] = ()
        self._seen: dict[Look, int] = {}
        self._on_the_way: dict[int, Look] = {}
        self._has_changed = asyncio.Event()

    async def run(self) -> None:
        """Until the page or the service goes."""
        tasks = [
            asyncio.ensure_future(work)
            for work in (self._listen(), self._show(), self._service.is_closing.wait())
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        if self._service.is_closing.is_set():
            await self._socket.close(1001)
        for error in ended:
            if isinstance(error, Exception) and not isinstance(error, WebSocketDisconnect):
                raise error

    async def _listen(self) -> None:
        while True:
            text = await self._socket.receive_text()
            said = read(WallIn, text) if len(text) <= self._service.limits.max_body_bytes else []
            if isinstance(said, list):
                await self._socket.close(1008, "this is not understood; see docs/http.md")
                return
            for number in said.seen:
                self._on_the_way.pop(number, None)
            if said.watch is not None:
                self._looks = tuple(
                    dict.fromkeys(
                        Look(each.stream_id, each.prompt, each.fps, each.width) for each in said.watch
                    )
                )
                self._on_the_way.clear()
            self._has_changed.set()

    async def _show(self) -> None:
        while True:
            self._has_changed.clear()
            busy = list(self._on_the_way.values())
            looks = [look for look in self._looks if busy.count(look) < MAX_ON_THE_WAY]
            if not looks:
                await self._has_changed.wait()
                continue
            try:
                wait_s = WAIT_S if len(looks) == len(self._looks) else WAIT_BUSY_S
                pictures = await self._service.engine.do(Watch(looks, dict(self._seen), wait_s=wait_s))
            except PlantainError:
                await asyncio.sleep(RETRY_S)
                continue
            await self._send([picture for picture in pictures if picture.look in self._looks])

    async def _send(self, pictures: Sequence[Picture]) -> None:
        for picture in pictures:
            self._seen[picture.look] = picture.number
            self._on_the_way[picture.number] = picture.look
            head = json.dumps(
                {
                    "stream_id": picture.look.stream_id,
                    "prompt": picture.look.prompt,
                    "number": picture.number,
                    "time_s": picture.time_s,
                    "latency_ms": picture.latency_ms,
                }
            ).encode()
            await self._socket.send_bytes(struct.pack(">I", len(head)) + head + picture.jpeg)
