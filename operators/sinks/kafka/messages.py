"""The messages that leave Plantain: the rows of `rows.py` as JSON, bounded in size, with CloudEvents headers.

One message for each row of `frames`, with its rows of `objects` nested in it, and one for each row of `events`. A
message that would be too large is cut into parts: part k of n holds a share of the objects and of the dense map, and
put together they are the whole.
Changes of a stream's health are messages of another kind, for another topic.
`json_schema` writes the schema of the values from the Arrow schemas, so that there is one source of truth.
"""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import numpy as np

from plantain.operators.answers import kind_of
from plantain.operators.answers.base import Column, Row
from plantain.operators.errors import SinkError
from plantain.operators.health import HealthEvent, HealthState
from plantain.operators.sinks.columns import EVENT_COLUMNS, FRAME_COLUMNS, OBJECT_COLUMNS, SCHEMA_VERSION
from plantain.operators.sinks.events import event_row
from plantain.operators.sinks.rows import AnswerRows, identity_of
from plantain.operators.trace import traceparent_of
from plantain.operators.types import Failure, Gap, Header, Prediction, Result

Rasters = Literal["drop", "embed", "refer"]
Topic = Literal["predictions", "events"]

PREDICTION_TYPE = "plantain.prediction.v1"
EVENT_TYPE = "plantain.event.v1"
HEALTH_TYPE = "plantain.health.v1"

# What a record costs beside key, value and headers: lengths, offsets, the batch's own head (61 bytes).
RECORD_OVERHEAD = 256
# What the numbers of the parts and the commas between things may add to a value that was measured without them.
JSON_SLACK = 64


@dataclass(frozen=True, slots=True)
class Record:
    """What a topic holds.

    Attributes:
        key, value, headers: As Kafka takes them.
        timestamp_ms: When it happened (the frame was captured), ms since 1970 UTC; now where unknown.
    """

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int

    @property
    def size(self) -> int:
        """Bytes, about as a broker counts them."""
        return RECORD_OVERHEAD + len(self.key) + len(self.value) + _size_of(self.headers)


@dataclass(frozen=True, slots=True)
class Message(Record):
    """An answer, or a part of one, or an event.

    Attributes:
        position: Epoch and frame index, by which a stream's messages are ordered; of a gap those of the frame before
            it, and its end, ns since 1970 UTC.
        fingerprint: Of the model that answered; empty for an event.
        topic: Where it goes.
    """

    position: tuple[int, ...]
    fingerprint: str
    topic: Topic = "predictions"


def messages_of(
    answer: AnswerRows, *, rasters: Rasters, raster_ref: str | None, max_bytes: int
) -> Iterator[Message]:
    """The messages of one answer.

    Args:
        answer: The rows of what the pipeline answered.
        rasters: Whether dense maps are left out, embedded as base64, or named by the Parquet part that holds them.
        raster_ref: That part.
        max_bytes: No message is larger.

    Raises:
        SinkError: If a single object does not fit.
    """
    header, prediction = answer.result.header, answer.prediction
    objects = [{column.name: row[column.name] for column in OBJECT_COLUMNS} for row in answer.objects]
    identity = identity_of(answer.result, prediction)
    headers = _headers(identity, header, answer.frame)
    whole = answer.frame | {"raster_ref": None}
    if rasters == "embed":
        whole |= answer.raster
    elif rasters == "refer" and _has_raster(prediction):
        whole["raster_ref"] = raster_ref
    key = header.stream_id.encode()
    room = max_bytes - RECORD_OVERHEAD - len(key) - _size_of(headers)
    values = _values(whole, objects, room, identity)
    timestamp_ms = _timestamp_ms(answer.result.info.captured_ns)
    position: tuple[int, ...] = (header.epoch, header.frame_index)
    if isinstance(prediction.value, Gap):
        position = (header.epoch, header.frame_index - 1, prediction.value.until_ns)
    for number, value in enumerate(values, start=1):
        own = headers if len(values) == 1 else (("ce_id", f"{identity}#{number}".encode()), *headers[1:])
        yield Message(key, value, own, timestamp_ms, position, prediction.model_fingerprint)


def _has_raster(prediction: Prediction) -> bool:
    """Whether an answer has a dense map, without packing it."""
    value = prediction.value
    return not isinstance(value, Failure) and kind_of(prediction.prompt).size_hw(value) is not None


def event_messages(result: Result, run_id: str) -> Iterator[Message]:
    """The messages of what was stated about one frame, in its order."""
    header = result.header
    for event in result.events:
        row = event_row(event, run_id)
        headers = _cloud_event(
            f"{event.identity}/{event.revision}", EVENT_TYPE, event.stream_id, event.kind, row["captured_at"]
        )
        yield Message(
            header.stream_id.encode(),
            _encode(row),
            _encoded(headers | {"traceparent": traceparent_of(header, "write")}),
            _timestamp_ms(event.evidence.captured_ns),
            (header.epoch, header.frame_index),
            "",
            "events",
        )


def health_record(event: HealthEvent) -> Record:
    """A change of a stream's health."""
    at = datetime.fromtimestamp(event.at_ns // 1000 / 1e6, UTC)
    value = {
        "stream_id": event.stream_id,
        "epoch": event.epoch,
        "state": event.state,
        "sentence": event.sentence,
        "at": at,
    }
    identity = f"{event.stream_id}/{event.epoch}/{event.state}/{event.at_ns}"
    headers = _cloud_event(identity, HEALTH_TYPE, event.stream_id, event.state, at)
    return Record(event.stream_id.encode(), _encode(value), _encoded(headers), _timestamp_ms(event.at_ns))


def _headers(identity: str, header: Header, row: Row) -> tuple[tuple[str, bytes], ...]:
    """CloudEvents, and W3C trace context; `ce_id` is the first."""
    headers = _cloud_event(identity, PREDICTION_TYPE, row["stream_id"], row["prompt"], row["captured_at"])
    return _encoded(headers | {"traceparent": traceparent_of(header, "write")})


def _cloud_event(
    identity: str, kind: str, stream_id: str, subject: str, at: datetime | None
) -> dict[str, str]:
    """CloudEvents 1.0 in binary mode, and the version of the schema."""
    headers = {
        "ce_id": identity,
        "ce_specversion": "1.0",
        "ce_source": f"/plantain/streams/{stream_id}",
        "ce_type": kind,
        "ce_subject": subject,
        "content-type": "application/json",
        "schema-version": SCHEMA_VERSION,
    }
    return headers if at is None else headers | {"ce_time": _time(at)}


def _encoded(headers: dict[str, str]) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, value.encode()) for name, value in headers.items())


def _timestamp_ms(at_ns: int | None) -> int:
    """The time of a record. A clock that is ahead must not make the brokers refuse it; the value keeps what it said."""
    now_ms = time.time_ns() // 1_000_000
    return now_ms if at_ns is None else max(0, min(at_ns // 1_000_000, now_ms))


def _values(frame: Row, objects: list[Row], room: int, identity: str) -> list[bytes]:
    """The JSON of one row in as few values as fit into `room` bytes each."""
    raster = frame["raster"]
    text = None if raster is None else base64.b64encode(raster).decode()
    whole = _encode(frame | {"raster": text, "part": 1, "parts": 1, "objects": objects})
    if len(whole) <= room:
        return [whole]
    head = len(_encode(frame | {"raster": None, "part": 1, "parts": 1, "objects": []})) + JSON_SLACK
    shares: list[tuple[list[Row], str | None]] = []
    share: list[Row] = []
    used = head
    for row in objects:
        size = len(_encode(row)) + 1
        if head + size > room:
            raise _too_large(identity, head + size, room)
        if used + size > room:
            shares.append((share, None))
            share, used = [], head
        share.append(row)
        used += size
    if share:
        shares.append((share, None))
    slice_chars = room - head
    if slice_chars <= 0:
        raise _too_large(identity, head, room)
    if text is not None:
        shares.extend(([], text[k : k + slice_chars]) for k in range(0, len(text), slice_chars))
    return [
        _encode(frame | {"raster": piece, "part": number, "parts": len(shares), "objects": rows})
        for number, (rows, piece) in enumerate(shares, start=1)
    ]


def _too_large(identity: str, size: int, room: int) -> SinkError:
    return SinkError(
        f"{identity} needs a Kafka message of {size} bytes and there is room for {room}: "
        "raise output.kafka.max_message_bytes and the topic's max.message.bytes"
    )


def _encode(value: Row) -> bytes:
    try:
        return _ENCODER.encode(value).encode()
    except ValueError:
        return _ENCODER.encode(_finite(value)).encode()


def _finite(value: Any) -> Any:
    """`value` with null for each number that JSON has no word for."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    if isinstance(value, float | np.floating) and not math.isfinite(value):
        return None
    return value


def _plain(value: Any) -> Any:
    """What JSON has no word for."""
    if isinstance(value, datetime):
        return _time(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)


def _time(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _size_of(headers: tuple[tuple[str, bytes], ...]) -> int:
    return sum(len(name) + len(value) + 8 for name, value in headers)


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the values, each kind under `$defs`: `Prediction`, `Event`, `Health`."""
    kinds = {"Prediction": _prediction_schema(), "Event": _event_schema(), "Health": _health_schema()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:plantain:messages:{SCHEMA_VERSION}",
        "title": "Messages of Plantain",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in kinds],
        "$defs": kinds,
    }


def _event_schema() -> dict[str, Any]:
    """Of the values on `plantain.events`."""
    properties = {column.name: _type_of(column) for column in EVENT_COLUMNS}
    return {
        "description": "A fact over time; of one `event_id`, the greatest `revision` counts."
    } | _object_of(properties)


def _health_schema() -> dict[str, Any]:
    """Of the values on `plantain.health`."""
    properties = {
        "stream_id": {"type": "string"},
        "epoch": {"type": "integer", "minimum": 0, "description": "number of the connection it is about"},
        "state": {"enum": list(get_args(HealthState))},
        "sentence": {"type": "string", "description": "what happened, and what to do"},
        "at": {"type": "string", "format": "date-time"},
    }
    return {"description": "A change in how a stream is doing."} | _object_of(properties)


def _prediction_schema() -> dict[str, Any]:
    """Of the values on `plantain.predictions`."""
    one = {"type": "integer", "minimum": 1}
    properties = {column.name: _type_of(column) for column in FRAME_COLUMNS}
    properties["raster"]["description"] = (
        "base64; of a message in parts, the pieces in the order of the parts"
    )
    properties["raster_ref"] = {
        "type": ["string", "null"],
        "description": "the Parquet part that holds the raster",
    }
    properties["part"] = one | {"description": "which part of the answer this is, from 1"}
    properties["parts"] = one | {"description": "how many parts the answer has"}
    objects = {column.name: _type_of(column) for column in OBJECT_COLUMNS}
    properties["objects"] = {"type": "array", "items": _object_of(objects)}
    return {"description": "The answer to one prompt about one frame."} | _object_of(properties)


def _object_of(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _type_of(column: Column) -> dict[str, Any]:
    """The JSON type of a column."""
    schema = {"description": column.meaning} | _JSON_TYPES[column.type]
    if column.values:
        schema["enum"] = list(column.values)
    if column.is_nullable:
        schema["type"] = [schema["type"], "null"]
    return schema


_JSON_TYPES: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "int32": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "int64": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    "float32": {"type": "number"},
    "float64": {"type": "number"},
    "binary": {"type": "string", "contentEncoding": "base64"},
    "timestamp": {"type": "string", "format": "date-time"},
}
