"""The rows of events: facts over time, one row for each time that one is stated."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from plantain.operators.types import Event, Result

EVENTS = pa.schema(
    [
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("revision", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("stream_id", pa.string(), nullable=False),
        pa.field("track_id", pa.int64()),
        pa.field("zone", pa.string()),
        pa.field("label", pa.string()),
        pa.field("start_time_s", pa.float64()),
        pa.field("start_captured_at", pa.timestamp("us", tz="UTC")),
        pa.field("end_time_s", pa.float64()),
        pa.field("end_captured_at", pa.timestamp("us", tz="UTC")),
        pa.field("x_px", pa.float32()),
        pa.field("y_px", pa.float32()),
        pa.field("distance_m", pa.float32()),
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("frame_index", pa.int64(), nullable=False),
        pa.field("time_s", pa.float64()),
        pa.field("captured_at", pa.timestamp("us", tz="UTC")),
        pa.field("snapshot", pa.string()),
        pa.field("detail", pa.string()),
    ]
)


def event_rows(result: Result, run_id: str) -> Iterator[dict[str, Any]]:
    """The rows of what was stated about one frame, in its order."""
    for event in result.events:
        yield event_row(event, run_id)


def event_row(event: Event, run_id: str) -> dict[str, Any]:
    """The row of one event."""
    start, end, evidence, place = event.start, event.end, event.evidence, event.place
    return {
        "run_id": run_id,
        "event_id": event.identity,
        "revision": event.revision,
        "kind": event.kind,
        "rule": event.rule,
        "stream_id": event.stream_id,
        "track_id": event.track_id,
        "zone": event.zone,
        "label": event.label or None,
        "start_time_s": start.time_s,
        "start_captured_at": moment_of(start.captured_ns),
        "end_time_s": None if end is None else end.time_s,
        "end_captured_at": None if end is None else moment_of(end.captured_ns),
        "x_px": None if place is None else place.x_px,
        "y_px": None if place is None else place.y_px,
        "distance_m": None if place is None else place.distance_m,
        "epoch": evidence.epoch,
        "frame_index": evidence.frame_index,
        "time_s": evidence.time_s,
        "captured_at": moment_of(evidence.captured_ns),
        "snapshot": event.snapshot,
        "detail": event.detail or None,
    }


def moment_of(at_ns: int | None) -> datetime | None:
    """Nanoseconds since 1970 as a time in UTC, to the microsecond."""
    return None if at_ns is None else datetime.fromtimestamp(at_ns // 1000 / 1e6, UTC)
