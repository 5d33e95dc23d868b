"""Parquet sinks as tests use them: what is stored, and what a reader then finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.parquet.sink import ParquetSink
from plantain.operators.sinks.rows import Rows
from tests.results import result

SEGMENT = Segment("clip", 0, 0)


def sink_at(root: Path | str, **options: Any) -> ParquetSink:
    return ParquetSink(str(root), **options)


def store(
    sink: ParquetSink,
    count: int = 3,
    *,
    run_id: str = "run",
    segment: Segment = SEGMENT,
    is_resumed: bool = False,
) -> None:
    """Writes and commits a segment of `count` frames."""
    sink.begin(segment.stream_id, is_resumed=is_resumed)
    results = [result(index, stream_id=segment.stream_id) for index in range(count)]
    sink.write(segment, Rows(results, run_id))
    sink.commit(segment)


def seen(root: Path) -> dict[str, list[tuple[str, int]]]:
    """What a reader finds: run and frame of each row, by table."""
    return {
        table: sorted(
            (row["run_id"], row["frame_index"])
            for path in sorted(root.glob(f"{table}/*/*.parquet"))
            for row in pq.ParquetFile(path).read(columns=["run_id", "frame_index"]).to_pylist()
        )
        for table in ("frames", "objects")
    }


def seen_by_duckdb(root: Path) -> dict[str, list[tuple[str, int]]]:
    found = {}
    for table in ("frames", "objects"):
        try:
            query = f"select run_id, frame_index from '{root}/{table}/*/*.parquet' order by all"
            found[table] = duckdb.sql(query).fetchall()
        except duckdb.IOException as error:
            assert "No files found" in str(error)  # noqa: PT017 - any other error would be a torn file
            found[table] = []
    return found


def rows(run_id: str, count: int) -> dict[str, list[tuple[str, int]]]:
    """What `seen` gives after `store`: two prompts for each frame, two cars in it."""
    both = sorted((run_id, index) for index in range(count) for _ in range(2))
    return {"frames": both, "objects": both}


NOTHING = rows("", 0)
