"""The Parquet sink's tables: what is in them, and how they are read."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import plantain.operators.sinks.parquet.sink as parquet
from plantain.operators.answers.image.value import Image
from plantain.operators.answers.masks.rle import encode_regions
from plantain.operators.prompts import Prompt
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.parquet.reading import read_frames, read_metadata, read_objects, read_results
from tests.parquet_sinks import NOTHING, SEGMENT, rows, seen, sink_at, store
from tests.results import CARS, DEPTH, depth, masks, result, written


def test_the_parts_of_other_streams_and_segments_are_left_alone(tmp_path):
    sink = sink_at(tmp_path)
    store(sink, 1, segment=Segment("other", 0, 0))
    store(sink, 2)
    sink.write(Segment("clip", 0, 1), written(result(7)))
    sink.commit(Segment("clip", 0, 1))
    store(sink, 1, is_resumed=True)
    assert [index for _, index in seen(tmp_path)["frames"]] == [0, 0, 0, 0, 7, 7]
    assert sorted(path.name for path in (tmp_path / "frames").glob("*/*")) == [
        "part-0000-000000.parquet",
        "part-0000-000000.parquet",
        "part-0000-000001.parquet",
    ]


def test_uncommitted_rows_are_seen_by_nobody_and_forgotten_at_the_next_begin(tmp_path):
    sink = sink_at(tmp_path)
    sink.begin("clip", is_resumed=False)
    sink.write(SEGMENT, written(result(0)))
    assert seen(tmp_path) == NOTHING
    store(sink, 2, is_resumed=True)
    assert seen(tmp_path) == rows("run", 2)
    sink.write(Segment("clip", 0, 1), written(result(9)))
    sink.close()
    assert seen(tmp_path) == rows("run", 2)


def test_nothing_is_left_of_a_stream_but_its_rows_when_it_has_ended(tmp_path):
    sink = sink_at(tmp_path)
    for stream_id in ("a", "b"):
        segment = Segment(stream_id, 0, 0)
        store(sink, 2, segment=segment)
        sink.finish(stream_id)
    assert list((tmp_path / ".plantain" / "segments").iterdir()) == []


def test_pyarrow_and_duckdb_read_the_folder_without_being_told_how(tmp_path):
    sink = sink_at(tmp_path)
    for stream_id in ("a", "b"):
        store(sink, 2, segment=Segment(stream_id, 0, 0))
    folder = tmp_path / "frames"
    expected = ["a"] * 4 + ["b"] * 4
    assert sorted(pq.read_table(folder)["stream_id"].to_pylist()) == expected
    assert sorted(pq.read_table(folder, filters=[("stream", "=", "b")])["stream_id"].to_pylist()) == ["b"] * 4
    assert sorted(ds.dataset(folder).to_table()["stream_id"].to_pylist()) == expected
    assert sorted(ds.dataset(folder, partitioning="hive").to_table()["stream_id"].to_pylist()) == expected
    for pattern in ("*/*.parquet", "**/*.parquet", "stream=*/*.parquet"):
        found = duckdb.sql(f"select stream_id from '{folder}/{pattern}' order by all").fetchall()
        assert [name for (name,) in found] == expected


def test_the_tables_can_be_joined_on_what_they_share(tmp_path):
    store(sink_at(tmp_path), 3)
    counts = duckdb.sql(
        f"""select any_value(num_objects), count(o.label) from '{tmp_path}/frames/*/*.parquet' f
            left join '{tmp_path}/objects/*/*.parquet' o
            using (run_id, stream_id, epoch, frame_index, prompt) where f.task = 'instances' group by f.frame_index"""
    ).fetchall()
    assert counts == [(2, 2)] * 3


def test_the_footer_says_schema_version_and_what_else_it_was_given(tmp_path):
    store(sink_at(tmp_path, metadata={"plantain.model": "hand"}))
    metadata = pq.read_schema(next((tmp_path / "objects").glob("*/*"))).metadata
    assert metadata[b"plantain.schema_version"] == b"3"
    assert metadata[b"plantain.model"] == b"hand"


def test_a_long_segment_is_written_in_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 20_000)
    sink = sink_at(tmp_path)
    sink.begin("clip", is_resumed=False)
    noise = np.random.default_rng(1)
    waiting = []
    for index in range(40):
        wall = depth(1.0)
        wall.depth_m[:] = noise.uniform(1, 9, wall.depth_m.shape)
        sink.write(SEGMENT, written(result(index, {DEPTH: wall, CARS: masks(1)})))
        waiting.append(sink._open[SEGMENT]["frames"]._bytes)
    assert max(waiting) < 2 * 20_000, "memory does not grow with the segment"
    sink.commit(SEGMENT)
    file = pq.ParquetFile(next((tmp_path / "frames").glob("*/*")))
    assert file.num_row_groups > 1
    assert file.read()["frame_index"].to_pylist() == [index for index in range(40) for _ in range(2)]


def test_maps_can_be_left_out(tmp_path):
    store(sink_at(tmp_path, rasters=False))
    assert pq.read_table(tmp_path / "frames")["raster"].null_count == 6


def test_a_generated_picture_is_stored_as_it_is(tmp_path):
    sink = sink_at(tmp_path)
    sink.begin("clip", is_resumed=False)
    sink.write(
        SEGMENT, written(result(0, {Prompt.parse("generate:rain"): Image(np.zeros((12, 16, 3), np.uint8))}))
    )
    sink.commit(SEGMENT)
    (row,) = pq.read_table(tmp_path / "frames").to_pylist()
    assert (row["status"], row["raster_format"], row["num_objects"]) == ("ok", "png-rgb-u8", None)
    (again,) = read_results(tmp_path, "clip")
    assert np.array_equal(again.predictions[0].value.rgb, np.zeros((12, 16, 3), np.uint8))


def as_version_2(root: Path) -> None:
    """Makes what a sink stored look as version 0.1 stored it."""
    for path in root.glob("*/stream=*/*.parquet"):
        table = pq.read_table(path, partitioning=None)
        metadata = {**table.schema.metadata, b"plantain.schema_version": b"2"}
        kept = [name for name in table.column_names if name not in ("source", "image", "cost_usd")]
        table = table.select(kept).replace_schema_metadata(metadata)
        if "rle_counts" in kept:  # masks were on the grid of the model's picture
            counts = encode_regions(masks(2).labels, 2)
            for name, values in {"rle_h": [12], "rle_w": [16], "rle_counts": counts}.items():
                column = pa.array((values * table.num_rows)[: table.num_rows], table.schema.field(name).type)
                table = table.set_column(table.column_names.index(name), name, column)
        pq.write_table(table, path)


@pytest.mark.parametrize("rasters", [True, False])
def test_what_version_0_1_stored_is_read_as_what_this_one_stores(tmp_path, rasters):
    old, new = tmp_path / "old", tmp_path / "new"
    for root in (old, new):
        store(sink_at(root, rasters=rasters), 2)
    as_version_2(old)
    assert read_metadata(old)["plantain.schema_version"] == "2"
    assert read_metadata(new)["plantain.schema_version"] == "3"
    for read in (read_frames, read_objects):
        before, now = read(old), read(new)
        assert before.keys() == now.keys()
        assert before["prompt"].tolist() == now["prompt"].tolist()
    for before, now in zip(read_results(old, "clip"), read_results(new, "clip"), strict=True):
        shown = before.predictions[0].value
        assert shown.names == now.predictions[0].value.names
        assert np.array_equal(shown.labels, masks(2).labels)
        assert before.predictions[0].cost_usd == 0.0


# Written by version 0.1 itself (2f8bf03): plantain run "synthetic://street?seed=6&frames=3&stamp=1" --model fake
# --task instances:car --task depth --out version_0_1
VERSION_0_1 = Path(__file__).parents[1] / "assets" / "version_0_1"


def test_a_folder_that_version_0_1_wrote_is_read() -> None:
    assert read_metadata(VERSION_0_1)["plantain.schema_version"] == "2"
    frames, objects = read_frames(VERSION_0_1), read_objects(VERSION_0_1)
    assert frames["prompt"].tolist() == ["instances:car", "depth"] * 3
    assert len(objects["label"]) == sum(
        frames["num_objects"][frames["prompt"] == "instances:car"].astype(int)
    )
    for stored in read_results(VERSION_0_1, "street-6"):
        cars, depth = (prediction.value for prediction in stored.predictions)
        assert set(cars.names) == {"car"}
        assert cars.labels.shape == depth.depth_m.shape == (224, 384)
        assert depth.valid.any()


def test_one_view_shows_folders_of_both_versions(tmp_path):
    for name in ("old", "new"):
        store(sink_at(tmp_path / name), 2)
    as_version_2(tmp_path / "old")
    page = (Path(__file__).parents[2] / "docs" / "tables.md").read_text(encoding="utf-8")
    database = duckdb.connect()
    for statement in re.findall(r"^CREATE VIEW .*;$", page, re.MULTILINE):
        database.sql(statement.replace("'out/", f"'{tmp_path}/*/"))
    query = "SELECT source, cost_usd, count(*) FROM frames GROUP BY ALL ORDER BY ALL"
    assert database.sql(query).fetchall() == [("", 0.0, 4), (None, None, 4)]
    query = "SELECT rle_h = height AS is_own, count(*) FROM objects GROUP BY ALL ORDER BY ALL"
    assert database.sql(query).fetchall() == [(False, 4), (True, 4)]
