"""GET /v1/events: what happened to the streams, as a list or as it happens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from plantain.deploy.service.endpoints.service import Service, TheService, slot_of
from plantain.deploy.service.schemas import Event, EventPage
from plantain.deploy.service.sse import event, stream_of
from plantain.pipeline.commands import EngineDownError, Listen, Note

router = APIRouter(tags=["events"])

WAIT_S = 10.0
RETRY_S = 1.0


@router.get("/v1/events", response_model=EventPage)
async def list_events(
    request: Request,
    service: TheService,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    stream: Annotated[str, Query(max_length=100)] = "",
    last_event_id: Annotated[int | None, Header(ge=0)] = None,
) -> Response | EventPage:
    """What happened after event `after`, oldest first; with `Accept: text/event-stream` also what happens next."""
    if "text/event-stream" in request.headers.get("accept", ""):
        slot_of(request).stay()
        return stream_of(service, _follow(service, last_event_id or after, stream))
    notes = await service.engine.do(Listen(after, wait_s=0.0))
    kept = [note for note in notes if not stream or note.event.stream_id == stream]
    page = kept[:limit]
    return EventPage(
        items=[shown(note) for note in page], next=page[-1].number if len(kept) > limit else None
    )


async def _follow(service: Service, after: int, stream: str) -> AsyncIterator[bytes]:
    while True:
        try:
            notes = await service.engine.do(Listen(after, wait_s=WAIT_S))
        except EngineDownError:
            await asyncio.sleep(RETRY_S)
            continue
        for note in notes:
            after = note.number
            if not stream or note.event.stream_id == stream:
                yield event("event", json.dumps(shown(note).model_dump()), note.number)


def shown(note: Note) -> Event:
    """A note as clients see it."""
    at = datetime.fromtimestamp(note.event.at_ns / 1e9, UTC).isoformat(timespec="milliseconds")
    return Event(
        id=note.number,
        at=at,
        stream_id=note.event.stream_id,
        epoch=note.event.epoch,
        kind=note.event.state,
        detail=note.event.sentence,
    )
