"""The rows of events: facts over time, one row for each time that one is stated."""

from __future__ import annotations

from datetime import UTC, datetime

from plantain.operators.answers.base import Row
from plantain.operators.types import Event


def event_row(event: Event, run_id: str) -> Row:
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
