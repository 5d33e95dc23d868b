"""The rows that leave Plantain: one Arrow schema for every sink, and the rows of a result.

Flat tables. `frames` has one row for each frame and prompt, `objects` one for each mask; an object repeats
the identity of its frame row. `events` has one for each fact over time (events.py). Schema, columns and units are
documented in the README from `SCHEMAS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from plantain.operators.answers.masks.regions import boxes_of
from plantain.operators.answers.masks.rle import encode_regions
from plantain.operators.answers.rasters import pack_depth, pack_labels, pack_normals
from plantain.operators.sinks.events import EVENTS, event_rows, moment_of
from plantain.operators.trace import trace_id_of
from plantain.operators.types import DepthMap, Failure, Image, Masks, NormalMap, Prediction, Result

SCHEMA_VERSION = "2"

_IDENTITY = [
    pa.field("run_id", pa.string(), nullable=False),
    pa.field("stream_id", pa.string(), nullable=False),
    pa.field("epoch", pa.int32(), nullable=False),
    pa.field("frame_index", pa.int64(), nullable=False),
    pa.field("pts", pa.int64()),
    pa.field("time_base_num", pa.int32(), nullable=False),
    pa.field("time_base_den", pa.int32(), nullable=False),
    pa.field("time_s", pa.float64()),
    pa.field("captured_at", pa.timestamp("us", tz="UTC")),
    pa.field("captured_by", pa.string(), nullable=False),
    pa.field("width", pa.int32(), nullable=False),
    pa.field("height", pa.int32(), nullable=False),
    pa.field("task", pa.string(), nullable=False),
    pa.field("prompt", pa.string(), nullable=False),
    pa.field("model", pa.string(), nullable=False),
    pa.field("model_fingerprint", pa.string(), nullable=False),
]

FRAMES = pa.schema(
    [
        *_IDENTITY,
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("num_objects", pa.int32()),
        pa.field("depth_min_m", pa.float32()),
        pa.field("depth_median_m", pa.float32()),
        pa.field("depth_max_m", pa.float32()),
        pa.field("valid_fraction", pa.float32()),
        pa.field("off_palette", pa.float32()),
        pa.field("raster_format", pa.string()),
        pa.field("raster_scale", pa.float64()),
        pa.field("raster", pa.binary()),
        pa.field("decode_ms", pa.float32(), nullable=False),
        pa.field("wait_ms", pa.float32(), nullable=False),
        pa.field("model_ms", pa.float32(), nullable=False),
        pa.field("codec_ms", pa.float32(), nullable=False),
        pa.field("rung", pa.int32(), nullable=False),
        pa.field("trace_id", pa.string(), nullable=False),
    ]
)

OBJECTS = pa.schema(
    [
        *_IDENTITY,
        pa.field("label", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("track_id", pa.int64()),
        pa.field("x1", pa.float32(), nullable=False),
        pa.field("y1", pa.float32(), nullable=False),
        pa.field("x2", pa.float32(), nullable=False),
        pa.field("y2", pa.float32(), nullable=False),
        pa.field("area_px", pa.float32(), nullable=False),
        pa.field("distance_m", pa.float32()),
        pa.field("rle_h", pa.int32(), nullable=False),
        pa.field("rle_w", pa.int32(), nullable=False),
        pa.field("rle_counts", pa.string(), nullable=False),
    ]
)

SCHEMAS: dict[str, pa.Schema] = {"frames": FRAMES, "objects": OBJECTS, "events": EVENTS}
"""Every table by its name."""

SPARSE = frozenset({"events"})
"""Tables that have a part only where a segment has rows of them."""

# Rows that differ between two runs over the same frames; every other column is a function of the input.
TIMING_COLUMNS = ("decode_ms", "wait_ms", "model_ms", "codec_ms")

Row = dict[str, Any]


def folder_of(table: str, stream_id: str) -> str:
    """Where a stream's parts of a table lie, below the output folder: `frames/stream=NAME`.

    A hive partition, but not called `stream_id`: a column that is in the files as well as in their path has two types,
    over which pandas and pyarrow stumble; and without it in the files, other readers could not tell streams apart.
    """
    return f"{table}/stream={stream_id}"


def identity_of(result: Result, prediction: Prediction) -> str:
    """`stream_id/epoch/frame_index/prompt/model_fingerprint`: equal for the same answer, however often it is made."""
    header = result.header
    return f"{header.stream_id}/{header.epoch}/{header.frame_index}/{prediction.prompt}/{prediction.model_fingerprint}"


def rows_of(results: Iterable[Result], run_id: str, *, rasters: bool = True) -> dict[str, list[Row]]:
    """The rows of `results`, in their order, for each table of `SCHEMAS`.

    Args:
        results: What the pipeline answered.
        run_id: Written into each row.
        rasters: Whether to fill the `raster` column with the dense maps.
    """
    frames: list[Row] = []
    objects: list[Row] = []
    events: list[Row] = []
    for result in results:
        trace_id = trace_id_of(result.header)
        for prediction in result.predictions:
            identity = _identity(result, prediction, run_id)
            frames.append(
                identity
                | _answer(prediction, rasters=rasters)
                | _timing(result, prediction)
                | {"trace_id": trace_id}
            )
            if isinstance(prediction.value, Masks):
                objects.extend(identity | row for row in _objects(result, prediction.value))
        events.extend(event_rows(result, run_id))
    return {"frames": frames, "objects": objects, "events": events}


def _identity(result: Result, prediction: Prediction, run_id: str) -> Row:
    header, info = result.header, result.info
    return {
        "run_id": run_id,
        "stream_id": header.stream_id,
        "epoch": header.epoch,
        "frame_index": header.frame_index,
        "pts": info.pts,
        "time_base_num": info.time_base.numerator,
        "time_base_den": info.time_base.denominator,
        "time_s": info.time_s,
        "captured_at": moment_of(info.captured_ns),
        "captured_by": info.captured_by,
        "width": info.fit.source_hw[1],
        "height": info.fit.source_hw[0],
        "task": str(prediction.prompt.task),
        "prompt": str(prediction.prompt),
        "model": prediction.model,
        "model_fingerprint": prediction.model_fingerprint,
    }


def _answer(prediction: Prediction, *, rasters: bool) -> Row:
    """Status, summary and dense map of one prediction; columns left out are null."""
    value = prediction.value
    match value:
        case Failure():
            return {"status": "failed", "reason": f"{value.stage}: {value.error}"}
        case Masks():
            row: Row = {"status": "ok", "num_objects": len(value.names), "off_palette": value.off_palette}
            if rasters:
                row["raster_format"], row["raster_scale"], row["raster"] = pack_labels(value.labels)
            return row
        case DepthMap():
            depths = value.depth_m[value.valid]
            row = {
                "status": "ok",
                "off_palette": value.off_palette,
                "valid_fraction": depths.size / max(1, value.valid.size),
            }
            if depths.size:
                row["depth_min_m"] = float(depths.min())
                row["depth_median_m"] = float(np.median(depths))
                row["depth_max_m"] = float(depths.max())
            if rasters:
                row["raster_format"], row["raster_scale"], row["raster"] = pack_depth(value)
            return row
        case NormalMap():
            row = {
                "status": "ok",
                "off_palette": value.off_palette,
                "valid_fraction": float(value.valid.mean()) if value.valid.size else 0.0,
            }
            if rasters:
                row["raster_format"], row["raster_scale"], row["raster"] = pack_normals(value)
            return row
        case Image():
            return {"status": "ok", "off_palette": value.off_palette}


def _timing(result: Result, prediction: Prediction) -> Row:
    timing = prediction.timing
    return {
        "decode_ms": result.info.decode_ms,
        "wait_ms": timing.wait_ms,
        "model_ms": timing.model_ms,
        "codec_ms": timing.codec_ms,
        "rung": result.info.rung,
    }


def _objects(result: Result, masks: Masks) -> Iterable[Row]:
    """One row for each region that has a pixel; boxes and areas in source pixels."""
    count = len(masks.names)
    if count == 0:
        return
    fit = result.info.fit
    boxes, areas = boxes_of(masks.labels, count)
    source_boxes = fit.to_source(boxes)
    counts = encode_regions(masks.labels, count)
    height, width = masks.labels.shape
    for k in range(count):
        x1, y1, x2, y2 = source_boxes[k].tolist()
        yield {
            "label": masks.names[k],
            "score": float(masks.scores[k]),
            "track_id": masks.track_ids[k] if masks.track_ids else None,
            "x1": x1,
            "y1": y1,
            "x2": x2,
            "y2": y2,
            "area_px": float(areas[k]) * fit.area_scale,
            "distance_m": masks.distances_m[k] if masks.distances_m else None,
            "rle_h": height,
            "rle_w": width,
            "rle_counts": counts[k],
        }


def table_of(name: str, rows: Sequence[Row], metadata: dict[str, str] | None = None) -> pa.Table:
    """Rows of table `name` as Arrow, with the schema version and `metadata` in the schema."""
    schema = SCHEMAS[name].with_metadata({"plantain.schema_version": SCHEMA_VERSION, **(metadata or {})})
    return pa.Table.from_pylist(list(rows), schema=schema)
