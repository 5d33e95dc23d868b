"""What a run left in its output folder, as a test wants to see it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from plantain.operators.sinks.columns import TIMING_COLUMNS
from plantain.operators.sinks.rows import SCHEMAS

Row = dict[str, Any]


def rows_in(out: Path) -> dict[str, list[Row]]:
    """All rows of all tables, in a fixed order, without what depends on the clock: times that it took, and gaps."""
    found: dict[str, list[Row]] = {}
    for table in SCHEMAS:
        rows: list[Row] = []
        for path in sorted(each for each in out.glob(f"{table}/*/*.parquet") if each.exists()):
            rows.extend(pq.ParquetFile(path).read().to_pylist())
        rows = [row for row in rows if row.get("status") != "gap"]
        for row in rows:
            for name in TIMING_COLUMNS:
                row.pop(name, None)
        found[table] = sorted(rows, key=event_key_of if table == "events" else key_of)
    return found


def key_of(row: Row) -> tuple[Any, ...]:
    """What the rows of one answer have in common."""
    return row["stream_id"], row["epoch"], row["frame_index"], row["prompt"]


def event_key_of(row: Row) -> tuple[Any, ...]:
    """What only one row of an event has."""
    return row["stream_id"], row["epoch"], row["frame_index"], row["event_id"], row["revision"]


def assert_whole(tables: dict[str, list[Row]], segment_frames: int, num_frames: dict[str, int]) -> None:
    """Both tables hold the same segments, all of each, once, and none is missing before the last.

    Args:
        tables: What `rows_in` found.
        segment_frames: Frames in a segment.
        num_frames: Length of each stream.
    """
    frames = tables["frames"]
    assert len({key_of(row) for row in frames}) == len(frames), "a frame is there twice"
    objects = Counter(map(key_of, tables["objects"]))
    expected = {key_of(row): row["num_objects"] for row in frames if row["num_objects"]}
    assert objects == expected, "the tables show different segments"
    for stream_id in {row["stream_id"] for row in frames}:
        indexes = sorted({row["frame_index"] for row in frames if row["stream_id"] == stream_id})
        count = len(indexes)
        assert indexes == list(range(count)), f"{stream_id}: a segment is missing"
        assert count % segment_frames == 0 or count == num_frames[stream_id], f"{stream_id}: half a segment"
