"""The columns of the tables, version 3: one list for Parquet, Kafka and HTTP.

What a kind of answer adds stands in its room (`plantain.operators.answers`); the lists in docs/tables.md are written
from here.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from plantain.operators.answers import KINDS, kind_called
from plantain.operators.answers.base import Column

SCHEMA_VERSION = "3"

STATUSES = ("ok", "failed", "gap")
"""What a row of `frames` can say: answered; asked and not answered; let go without being asked; a camera was away."""

IDENTITY = (
    Column("run_id", "string", "the run's settings; equal for a run and the one that resumes it", False),
    Column("stream_id", "string", "which stream", False),
    Column(
        "epoch",
        "int32",
        "restarts: one more with each connection of a camera, and where the time of a file goes back or jumps",
        False,
    ),
    Column("frame_index", "int64", "position in the stream in display order, from 0 in each epoch", False),
    Column("pts", "int64", "presentation time as the container has it, in units of the time base"),
    Column("time_base_num", "int32", "numerator of seconds per unit of `pts`", False),
    Column("time_base_den", "int32", "denominator of seconds per unit of `pts`", False),
    Column("time_s", "float64", "presentation time in seconds; of a camera, within its epoch"),
    Column(
        "captured_at",
        "timestamp",
        "wall-clock time, UTC; the time to go by across epochs; null where unknown",
    ),
    Column("captured_by", "string", "who says so", False, ("camera", "arrival", "file")),
    Column("width", "int32", "of the displayed picture, pixels", False),
    Column("height", "int32", "of the displayed picture, pixels", False),
    Column("source", "string", "where the pixels are: the stream's address or path, without secrets", False),
    Column("image", "string", "the frame's own file, where the source is a folder of images"),
    Column("task", "string", "what kind of question was asked", False),
    Column("prompt", "string", "what was asked, as it is written", False),
    Column("model", "string", "who answered", False),
    Column("model_fingerprint", "string", "its weights and code", False),
)

TIMING_COLUMNS = ("decode_ms", "wait_ms", "model_ms", "codec_ms")
"""Values that differ between two runs over the same frames; every other column is a function of the input."""


def _distinct(columns: Iterable[Column]) -> tuple[Column, ...]:
    """Columns by name, in their order; kinds may share some."""
    return tuple({column.name: column for column in columns}.values())


KIND_COLUMNS = _distinct(chain.from_iterable(kind_called(name).frame_columns for name in KINDS))
"""What kinds of answers add to `frames`."""

FRAME_COLUMNS = (
    *IDENTITY,
    Column("status", "string", "what became of the question", False, STATUSES),
    Column("reason", "string", "why there is no answer; null where there is one"),
    Column("gap_until", "timestamp", "end of a gap, which began at `captured_at`; null for frames"),
    *KIND_COLUMNS,
    Column(
        "raster_format", "string", "how to read `raster`: `plantain.operators.answers.rasters.unpack` does"
    ),
    Column("raster_scale", "float64", "samples a unit: metres = sample / scale; 1 for what is no depth"),
    Column("raster", "binary", "the dense answer as PNG: label map, depth, normals or picture"),
    Column("decode_ms", "float32", "time spent on decoding the frame", False),
    Column("wait_ms", "float32", "time the question waited for the model", False),
    Column("model_ms", "float32", "its share of the time of its batch in the model", False),
    Column("codec_ms", "float32", "time spent on decoding the drawing", False),
    Column("cost_usd", "float64", "price of the answer, US dollars", False),
    Column("rung", "int32", "of the overload ladder: 0 where nothing was given up for this frame", False),
    Column("trace_id", "string", "W3C trace id of the frame", False),
)

OBJECT_COLUMNS = (
    Column("label", "string", "class, or the words that were asked for", False),
    Column(
        "score",
        "float32",
        "confidence: the model's own where it has one, else how purely the region is drawn",
        False,
    ),
    Column("track_id", "int64", "the same thing over time; null before tracking and for classes"),
    Column("x1", "float32", "left edge of the box, pixels of the source picture", False),
    Column("y1", "float32", "upper edge", False),
    Column("x2", "float32", "right edge, not in the box any more", False),
    Column("y2", "float32", "lower edge, not in the box any more", False),
    Column(
        "area_px",
        "float32",
        "of the region, or of the box where there is none, in pixels of the source picture",
        False,
    ),
    Column("distance_m", "float32", "median depth in it, where the same frame was asked for `depth`"),
    *_distinct(chain.from_iterable(kind_called(name).object_columns for name in KINDS)),
)
"""What `objects` has beside the identity."""

EVENT_COLUMNS = (
    Column("run_id", "string", "the run's settings; equal for a run and the one that resumes it", False),
    Column(
        "event_id",
        "string",
        "`stream_id/rule/track or zone/start`: the same event, however often stated",
        False,
    ),
    Column("revision", "int32", "counts what was stated of it, from 0; the greatest counts", False),
    Column("kind", "string", "what happened, in a word", False),
    Column("rule", "string", "which analytic says so", False),
    Column("stream_id", "string", "which stream", False),
    Column("track_id", "int64", "of the object that it is about; null if it is about none"),
    Column("zone", "string", "name of the zone that it is about; null if it is about none"),
    Column("label", "string", "what the object is; null if it is about none"),
    Column("start_time_s", "float64", "since when, presentation time in seconds"),
    Column("start_captured_at", "timestamp", "since when, wall-clock time, UTC"),
    Column("end_time_s", "float64", "until when, presentation time in seconds; null for what goes on"),
    Column("end_captured_at", "timestamp", "until when, wall-clock time, UTC"),
    Column("x_px", "float32", "where, pixels of the source picture; of an object, where it stands"),
    Column("y_px", "float32", "where, pixels of the source picture; of an object, where it stands"),
    Column("distance_m", "float32", "how far from the camera, where the same frame was asked for `depth`"),
    Column("epoch", "int32", "of the frame that made it known", False),
    Column("frame_index", "int64", "of the frame that made it known", False),
    Column("time_s", "float64", "of the frame that made it known, presentation time in seconds"),
    Column("captured_at", "timestamp", "of the frame that made it known, wall-clock time, UTC"),
    Column("snapshot", "string", "name of a stored picture of it; null if there is none"),
    Column("detail", "string", "one sentence where there is more to say"),
)
"""What `events` has."""

COLUMNS: dict[str, tuple[Column, ...]] = {
    "frames": FRAME_COLUMNS,
    "objects": (*IDENTITY, *OBJECT_COLUMNS),
    "events": EVENT_COLUMNS,
}
"""The tables, and their columns."""


def written(columns: Iterable[Column]) -> str:
    """Columns as a table of Markdown, for docs/tables.md."""
    lines = ["| column | type | meaning |", "|---|---|---|"]
    for column in columns:
        meaning = column.meaning + (
            f": {', '.join(f'`{each}`' for each in column.values)}" if column.values else ""
        )
        lines.append(
            f"| `{column.name}` | {column.type}{'' if column.is_nullable else ', never null'} | {meaning} |"
        )
    return "\n".join(lines)
