"""GET /v1/events: what happened to the streams and what analytics told of them, as a list or as it happens."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from plantain.deploy.service.endpoints.service import Service, TheService, slot_of
from plantain.deploy.service.problems import HttpError
from plantain.deploy.service.schemas import Event, EventPage
from plantain.deploy.service.sse import event, stream_of
from plantain.operators.answers.base import Row
from plantain.operators.errors import SinkError
from plantain.operators.health import HealthEvent
from plantain.operators.sinks.events import event_row
from plantain.operators.sinks.parquet.reading import find_events
from plantain.pipeline.commands import EngineDownError, Listen, Note

router = APIRouter(tags=["events"])

WAIT_S = 10.0
RETRY_S = 1.0

Names = Annotated[list[str], Query(max_length=100, description="Only of these; repeat for several.")]
When = Annotated[str | None, Query(max_length=40, description="ISO 8601; without an offset in `tz`.")]


@router.get("/v1/events", response_model=EventPage)
async def list_events(
    request: Request,
    service: TheService,
    after: Annotated[int, Query(ge=0)] = 0,
    before: Annotated[int | None, Query(ge=0)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    order: Literal["oldest", "newest"] = "oldest",
    stream: Names = [],  # noqa: B006 (FastAPI copies it)
    kind: Names = [],  # noqa: B006
    since: When = None,
    until: When = None,
    tz: Annotated[str, Query(max_length=60, description="Time zone, such as Europe/Berlin.")] = "UTC",
    last_event_id: Annotated[int | None, Header(ge=0)] = None,
) -> Response | EventPage:
    """What happened, the oldest or the newest first; with `Accept: text/event-stream` also what happens next.

    Without `since` only what this service remembers: the last 5,000. With it also what is stored of analytics; of each
    of their events the last that was stated.
    """
    zone = _zone(tz)
    wanted = _Wanted(
        frozenset(filter(None, stream)), frozenset(filter(None, kind)), _time(since, zone), _time(until, zone)
    )
    if "text/event-stream" in request.headers.get("accept", ""):
        slot_of(request).stay()
        return stream_of(service, _follow(service, last_event_id or after, wanted, zone))
    happened = await _remembered(service)
    if wanted.since is not None and "parquet" in service.config.output.sinks:
        stored = await asyncio.to_thread(_stored, service.config.output.out, wanted)
        known = {(each.event_id, each.revision) for each in happened if each.event_id is not None}
        happened += [each for each in stored if (each.event_id, each.revision) not in known]
    found = _last(filter(wanted.has, happened))
    return _page([_in_zone(each, zone) for each in found], after, before, limit, order)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which events are asked for: of these streams and kinds (all, if there are none) and between these times."""

    streams: frozenset[str]
    kinds: frozenset[str]
    since: datetime | None
    until: datetime | None

    def has(self, each: Event) -> bool:
        """Whether an event is one of them."""
        at = datetime.fromisoformat(each.at)
        return (
            (not self.streams or each.stream_id in self.streams)
            and (not self.kinds or each.kind in self.kinds)
            and (self.since is None or at >= self.since)
            and (self.until is None or at < self.until)
        )


async def _remembered(service: Service) -> list[Event]:
    return [shown(note) for note in await service.engine.do(Listen(0, wait_s=0.0))]


def _stored(out: str, wanted: _Wanted) -> list[Event]:
    """What is in the table; it is there once a camera's first segment is."""
    assert wanted.since is not None
    try:
        rows = find_events(out, wanted.since, wanted.until, wanted.streams, wanted.kinds)
    except SinkError:
        return []
    return [_of_row(row, int(row["captured_at"].timestamp() * 1e6)) for row in rows]


def _last(happened: Iterable[Event]) -> list[Event]:
    """Of each event of an analytic only the last that was stated; in the order of their numbers."""
    last: dict[object, Event] = {}
    for each in happened:
        key: object = each.id if each.event_id is None else each.event_id
        if key not in last or each.revision >= last[key].revision:
            last[key] = each
    return sorted(last.values(), key=lambda each: (each.id, each.event_id or ""))


def _page(found: Sequence[Event], after: int, before: int | None, limit: int, order: str) -> EventPage:
    """A part of a list; events of one number are never torn apart."""
    rest = [each for each in found if each.id > after and (before is None or each.id < before)]
    if order == "newest":
        rest.reverse()
    end = limit
    while limit <= end < len(rest) and rest[end].id == rest[end - 1].id:
        end += 1
    items = rest[:end]
    return EventPage(items=items, next=items[-1].id if len(rest) > end else None)


async def _follow(service: Service, after: int, wanted: _Wanted, zone: tzinfo) -> AsyncIterator[bytes]:
    while True:
        try:
            notes = await service.engine.do(Listen(after, wait_s=WAIT_S))
        except EngineDownError:
            await asyncio.sleep(RETRY_S)
            continue
        for note in notes:
            after = note.number
            if wanted.has(each := shown(note)):
                yield event("event", json.dumps(_in_zone(each, zone).model_dump()), note.number)


def shown(note: Note) -> Event:
    """A note as clients see it."""
    if not isinstance(note.event, HealthEvent):
        return _of_row(event_row(note.event, ""), note.number)
    told = note.event
    return Event(
        id=note.number,
        at=datetime.fromtimestamp(told.at_ns / 1e9, UTC).isoformat(timespec="milliseconds"),
        stream_id=told.stream_id,
        epoch=told.epoch,
        kind=told.state,
        detail=told.sentence,
    )


def _of_row(row: Row, number: int) -> Event:
    """A row of the table `events`; where a file has no clock, it happened when it was told."""
    at = row["captured_at"] or datetime.fromtimestamp(number / 1e6, UTC)
    known = {name: row[name] for name in Event.model_fields if name in row and name != "detail"}
    return Event(
        id=number,
        at=at.isoformat(timespec="milliseconds"),
        detail=row["detail"] or _said(row),
        start=_iso(row["start_captured_at"]),
        end=_iso(row["end_captured_at"]),
        **known,
    )


def _said(row: Row) -> str:
    """An event in a few words."""
    what = f"{row['label']} {row['track_id']}" if row["track_id"] is not None else row["label"] or ""
    where = f" in {row['zone']}" if row["zone"] else ""
    far = "" if row["distance_m"] is None else f", {row['distance_m']:.1f} m away"
    return f"{what} {row['kind']}{where}{far}".strip()


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds")


def _in_zone(each: Event, zone: tzinfo) -> Event:
    """The event with its times in a time zone."""
    times = {"at": each.at, "start": each.start, "end": each.end}
    moved = {
        name: datetime.fromisoformat(at).astimezone(zone).isoformat(timespec="milliseconds")
        for name, at in times.items()
        if at is not None
    }
    return each.model_copy(update=moved)


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise HttpError(422, "tz: write a time zone such as Europe/Berlin or UTC") from error


def _time(text: str | None, zone: tzinfo) -> datetime | None:
    if not text:
        return None
    for form in (text, text.replace(" ", "+")):  # a plus sign that was not escaped arrives as a space
        with contextlib.suppress(ValueError):
            at = datetime.fromisoformat(form)
            return at if at.tzinfo else at.replace(tzinfo=zone)
    raise HttpError(422, "since, until: write a time such as 2026-11-29T18:00:00+01:00")
