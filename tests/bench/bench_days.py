"""A thousand cameras at one answered frame a second for a month: files, bytes, tidying, and what counting a day takes.

So many minutes are really written, as the cameras' sink writes them (a part of each table for all cameras every 10 s),
and tidied; a day and a month are made of links to the tidied files, so that DuckDB opens and reads as much as it would.
The `many` figures have the CPU of the engine and the writer, in real time.
"""

import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.parquet.sink import ParquetSink
from plantain.operators.sinks.parquet.tidy import Tidy
from plantain.operators.sinks.rows import Rows
from plantain.operators.types import FrameInfo, Header, Prediction, Result, Timing
from tests.bench.bench_many import CARS, FIT, NUM_CAMERAS, PROMPT, SECOND
from tests.bench.material import report

MINUTES = float(os.environ.get("PLANTAIN_BENCH_MINUTES", "10"))
SEGMENT_S = 10
NUM_PARTS = round(MINUTES * 60 / SEGMENT_S)
TIMES_A_DAY = round(24 * 60 / MINUTES)
DAYS = 30


def rows_of(index: int) -> list[Rows]:
    """Ten frames of each camera, two cars in each."""
    begin_ns = time.time_ns() + index * SEGMENT_S * 10**9
    return [
        Rows(
            [
                Result(
                    Header(f"cam{camera:04d}", 0, index * SEGMENT_S + k, pts=k),
                    FrameInfo(index * SEGMENT_S + k, SECOND, begin_ns + k * 10**9, "arrival", FIT),
                    (Prediction(PROMPT, CARS, "none", "1", Timing()),),
                )
                for k in range(SEGMENT_S)
            ],
            "run",
            f"rtsp://camera{camera}",
        )
        for camera in range(NUM_CAMERAS)
    ]


def shifted(table: pa.Table, index: int, chance: np.random.Generator) -> pa.Table:
    """The same rows some segments later, with other numbers in them, which do not pack better than real ones."""
    count = table.num_rows
    for place, field in enumerate(table.schema):
        match field.name:
            case "frame_index" | "pts":
                column = pa.array(table[field.name].to_numpy() + index * SEGMENT_S, field.type)
            case "captured_at":
                at_us = table[field.name].cast(pa.int64()).to_numpy() + index * SEGMENT_S * 10**6
                column = pa.array(at_us).cast(field.type)
            case "x1" | "y1" | "x2" | "y2" | "area_px" | "decode_ms" | "wait_ms" | "model_ms":
                column = pa.array(chance.random(count) * 300, field.type)
            case "trace_id":
                digits = chance.bytes(16 * count).hex()
                column = pa.array([digits[32 * k : 32 * k + 32] for k in range(count)], field.type)
            case _:
                continue
        table = table.set_column(place, field, column)
    return table


def cpu_s() -> float:
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


def main() -> None:
    """Prints the figures."""
    out = Path(tempfile.mkdtemp(prefix="plantain-bench-"))
    try:
        sink = ParquetSink(str(out), rasters=False)
        begin = cpu_s()
        segments = [Segment(f"cam{camera:04d}", 0, 0, is_live=True) for camera in range(NUM_CAMERAS)]
        for segment, rows in zip(segments, rows_of(0), strict=True):
            sink.write(segment, rows)
        sink.commit_together(segments)
        report(
            "days_writer_cores",
            (cpu_s() - begin) / SEGMENT_S,
            1.0,
            cameras=NUM_CAMERAS,
            rows_and_parquet=True,
        )
        tables = {
            name: pa.concat_tables(
                [pq.read_table(path, partitioning=None) for path in out.glob(f"{name}/*/*")]
            )
            for name in ("frames", "objects")
        }
        chance = np.random.default_rng(0)
        for index in range(1, NUM_PARTS):
            shifts = {name: shifted(table, index, chance) for name, table in tables.items()}
            sink._folder.share(f"part-{index:020d}-0.parquet", shifts)
        written = list(out.glob("*/*/*.parquet"))
        size = sum(path.stat().st_size for path in written)
        report("days_files_a_day", len(written) * TIMES_A_DAY, 20_000, simulated_minutes=MINUTES)
        report("days_gb_a_day", size * TIMES_A_DAY / 1e9, simulated_minutes=MINUTES)
        begin, begin_s = cpu_s(), time.monotonic()
        list(Tidy(str(out), lambda _: None, lambda: time.time_ns() + 86_400 * 10**9).compact())
        report(
            "days_tidy_cpu_s_a_day",
            (cpu_s() - begin) * TIMES_A_DAY,
            8640.0,
            wall_s=round(time.monotonic() - begin_s, 1),
        )
        tidied = list(out.glob("*/*/*.parquet"))
        size = sum(path.stat().st_size for path in tidied)
        report(
            "days_tidied_gb_a_day",
            size * TIMES_A_DAY / 1e9,
            largest_mb=max(p.stat().st_size for p in tidied) / 1e6,
        )
        for path in tidied:
            for copy in range(1, TIMES_A_DAY * DAYS):
                os.link(path, path.with_name(f"{path.stem}-{copy:05d}.parquet"))
        report("days_tidied_files_a_month", len(list(out.glob("*/*/*.parquet"))), 10_000, days=DAYS)
        day = [str(path) for path in out.glob("objects/*/*.parquet") if copy_of(path) < TIMES_A_DAY]
        database = duckdb.connect()
        database.execute("SET threads = 2")
        for name, query in (
            ("days_count_s", "SELECT count(*) FROM read_parquet($1)"),
            ("days_count_by_camera_s", "SELECT stream_id, count(*) FROM read_parquet($1) GROUP BY 1"),
        ):
            database.execute(query, [day]).fetchall()
            begin_s = time.monotonic()
            rows = sum(row[-1] for row in database.execute(query, [day]).fetchall())
            report(name, time.monotonic() - begin_s, 1.0, files=len(day), rows=rows)
    finally:
        shutil.rmtree(out, ignore_errors=True)


def copy_of(path: Path) -> int:
    """Which copy of a tidied part it is; 0 for the part itself."""
    return int(path.stem.split("-")[3]) if path.stem.count("-") == 3 else 0


if __name__ == "__main__":
    main()
