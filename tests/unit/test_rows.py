from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from plantain.operators.answers.base import Row
from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.image.value import Image
from plantain.operators.answers.masks.rle import decode_region
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.answers.rasters import unpack
from plantain.operators.prompts import Prompt
from plantain.operators.sinks.columns import SCHEMA_VERSION, TIMING_COLUMNS
from plantain.operators.sinks.memory import MemorySink
from plantain.operators.sinks.rows import SCHEMAS, Rows, identity_of, table_of
from plantain.operators.streams import Start, StreamSpec
from plantain.operators.trace import trace_id_of
from plantain.operators.types import Failure, Result
from plantain.operators.write import Write
from tests.results import CARS, DEPTH, depth, masks, result, stay

NORMALS = Prompt.parse("normals")
FRAMES, OBJECTS = SCHEMAS["frames"], SCHEMAS["objects"]


def tables_of(*results: Result, rasters: bool = True) -> dict[str, list[Row]]:
    """The rows of results, by table."""
    rows = Rows(results, "run", "out/clip.mp4")
    return {name: rows.table(name, rasters=rasters) for name in SCHEMAS}


def test_one_row_for_each_frame_and_prompt_and_one_for_each_mask():
    tables = tables_of(result(0), result(1, {CARS: masks(3), DEPTH: depth(5)}))
    assert [(row["frame_index"], row["task"]) for row in tables["frames"]] == [
        (0, "instances"),
        (0, "depth"),
        (1, "instances"),
        (1, "depth"),
    ]
    assert [row["frame_index"] for row in tables["objects"]] == [0, 0, 1, 1, 1]


def test_every_row_fits_the_schema_and_only_knows_its_columns():
    for name, rows in tables_of(replace(result(0), events=(stay(7, 0),))).items():
        table = table_of(name, rows)
        assert table.schema.equals(SCHEMAS[name])
        assert not {*rows[0]} - {*SCHEMAS[name].names}
        assert table.validate(full=True) is None


def test_an_object_repeats_the_identity_of_its_frame_row():
    tables = tables_of(result(3))
    shared = [name for name in OBJECTS.names if name in FRAMES.names]
    frame = tables["frames"][0]
    assert "stream_id" in shared
    for row in tables["objects"]:
        assert {name: row[name] for name in shared} == {name: frame[name] for name in shared}


def test_boxes_areas_and_masks_are_in_source_pixels():
    (first, second) = tables_of(result(0, {CARS: masks(2)}))["objects"]
    assert [first[name] for name in ("x1", "y1", "x2", "y2")] == [0, 4, 4, 8]
    assert [second[name] for name in ("x1", "y1", "x2", "y2")] == [6, 4, 10, 8]
    assert first["area_px"] == 16.0
    mask = decode_region(second["rle_counts"], (second["rle_h"], second["rle_w"]))
    assert np.argwhere(mask).tolist() == [[y, x] for y in range(4, 8) for x in range(6, 10)]
    assert mask.shape == (second["height"], second["width"])


def test_depth_is_summed_up_over_valid_pixels_and_stored_with_its_scale():
    (row,) = tables_of(result(0, {DEPTH: depth(7.5)}))["frames"]
    assert [row[f"depth_{name}_m"] for name in ("min", "median", "max")] == [7.5] * 3
    assert row["valid_fraction"] == pytest.approx(15 / 16)
    metres = unpack(row["raster_format"], row["raster_scale"], row["raster"])
    assert metres[0, 0] == 0
    np.testing.assert_allclose(metres[:, 1:], 7.5, atol=0.01)


def test_depth_without_a_valid_pixel_has_no_numbers():
    nothing = DepthMap(np.zeros((12, 16), np.float32), np.zeros((12, 16), np.bool_), 1.0)
    (row,) = tables_of(result(0, {DEPTH: nothing}))["frames"]
    assert row["valid_fraction"] == 0.0
    assert row["depth_min_m"] is None
    table = table_of("frames", [row])
    assert table["depth_median_m"].to_pylist() == [None]


def test_normals_and_images():
    normals = np.zeros((12, 16, 3), np.float32)
    normals[..., 2] = 1
    valid = np.ones((12, 16), np.bool_)
    picture = Image(np.zeros((12, 16, 3), np.uint8))
    values = {NORMALS: NormalMap(normals, valid, 0.25), Prompt.parse("generate:rain"): picture}
    first, second = tables_of(result(0, values))["frames"]
    assert (first["status"], first["valid_fraction"], first["off_palette"]) == ("ok", 1.0, 0.25)
    np.testing.assert_allclose(
        unpack(first["raster_format"], first["raster_scale"], first["raster"]), normals, atol=0.02
    )
    assert second["status"] == "ok"
    assert not unpack(second["raster_format"], second["raster_scale"], second["raster"]).any()


def test_a_failure_is_a_row_with_its_reason():
    failure = Failure("infer", "the model is on fire", retryable=False)
    tables = tables_of(result(0, {CARS: failure}))
    (row,) = tables["frames"]
    assert (row["status"], row["reason"]) == ("failed", "infer: the model is on fire")
    assert row["num_objects"] is None
    assert tables["objects"] == []


def test_no_mask_is_zero_objects_and_not_null():
    (row,) = tables_of(result(0, {CARS: masks(0)}))["frames"]
    assert row["num_objects"] == 0


def test_time_is_kept_as_integers_seconds_and_wall_clock():
    frame = result(5)
    captured = datetime(2026, 11, 21, 9, 30, 0, 123456, UTC)
    nanoseconds = int(captured.timestamp()) * 10**9 + 123_456_789
    frame = replace(frame, info=replace(frame.info, captured_ns=nanoseconds, captured_by="camera"))
    row = tables_of(frame)["frames"][0]
    assert (row["pts"], row["time_base_num"], row["time_base_den"], row["time_s"]) == (200, 1, 1000, 0.2)
    assert row["captured_at"] == captured
    assert tables_of(result(5))["frames"][0]["captured_at"] is None


def test_a_frame_without_a_time_has_none():
    frame = result(5)
    row = tables_of(replace(frame, info=replace(frame.info, pts=None)))["frames"][0]
    assert (row["pts"], row["time_s"]) == (None, None)


def test_maps_can_be_left_out():
    assert all(row["raster"] is None for row in tables_of(result(0), rasters=False)["frames"])


def test_identity_and_trace_follow_from_the_frame_alone():
    a, b = result(3), result(3)
    assert identity_of(a, a.predictions[1]) == "clip/0/3/depth/0123"
    assert trace_id_of(a.header) == trace_id_of(b.header) != trace_id_of(result(4).header)
    assert len(trace_id_of(a.header)) == 32
    assert trace_id_of(result(3, epoch=1).header) != trace_id_of(a.header)


def test_only_the_timing_columns_depend_on_the_clock():
    assert {*TIMING_COLUMNS} <= {*FRAMES.names}
    assert all(name.endswith("_ms") for name in TIMING_COLUMNS)
    assert {name for name in FRAMES.names if name.endswith("_ms")} == {*TIMING_COLUMNS}


def test_the_schema_version_is_in_every_table():
    metadata = table_of("objects", [], {"extra": "1"}).schema.metadata
    assert metadata == {b"plantain.schema_version": SCHEMA_VERSION.encode(), b"extra": b"1"}


def test_rows_are_made_once_for_all_sinks_and_say_where_the_pixels_are():
    class Kept(MemorySink):
        given: Rows

        def write(self, segment, rows):
            super().write(segment, rows)
            self.given = rows

    first, second = Kept(), Kept()
    write = Write([first, second], run_id="the run")
    write.open(Start.fresh(StreamSpec("clip", "rtsp://me:secret@cam/1"), (DEPTH,)))
    list(write([result(0)]))
    assert first.given is second.given
    assert first.given.table("frames")[0] is second.given.table("frames")[0]
    (row, _) = first.given.table("frames")
    assert (row["run_id"], row["image"]) == ("the run", None)
    assert "cam/1" in row["source"]
    assert "secret" not in row["source"]
