"""What a run stored comes back as it was, and the page about it stands on its own."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import duckdb
import numpy as np
import pytest

from plantain.deploy.lab.scoring import Score
from plantain.deploy.report import charts, gallery
from plantain.deploy.report.page import MAX_BYTES, write_report
from plantain.deploy.report.sections import queries
from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.grids import enlarge
from plantain.operators.answers.masks.value import Masks
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.errors import SinkError, UsageError
from plantain.operators.geometry import Letterbox
from plantain.operators.prompts import Prompt
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.parquet.reading import read_frames, read_metadata, read_objects, read_results
from plantain.operators.sinks.parquet.sink import ParquetSink
from plantain.operators.sinks.rows import Rows
from plantain.operators.types import Failure, FrameInfo, Header, Prediction, Result, Timing
from plantain.pipeline.runner import Outcome

MAP_HW = (28, 48)
PROMPTS = tuple(
    Prompt.parse(written)
    for written in (
        "semantic:road,car,sky",
        "instances:car",
        "depth[curve=street]",
        "normals",
        "refer:the <b>red</b> car",
    )
)
# Each character reference is one too few or too many if a page forgets to escape.
REASON = "no memory for <frame> & more"


def answers(stream_id: str, index: int, *, fails: bool = False) -> Result:
    """All answers about a small made-up frame with two cars that move."""
    rows, columns = np.mgrid[: MAP_HW[0], : MAP_HW[1]]
    classes = np.where(rows < 8, 2, 1).astype(np.uint16)
    cars = np.zeros(MAP_HW, np.uint16)
    cars[12:18, index : index + 8] = 1
    cars[14:20, 30:40] = 2
    metres = np.where(rows < 8, 0, 2 + 48 / (rows + 1)).astype(np.float32)
    vectors = np.stack([columns / 48, np.ones(MAP_HW), rows / 28], axis=-1).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    one = np.ones(1, np.float32)
    values = (
        Masks(classes, ("road", "sky"), np.array([0.9, 0.8], np.float32), 0.01, (None, None), (4.5, None)),
        Masks(cars, ("car", "car"), np.array([0.7, 0.6], np.float32), 0.0, (3, 7), (5.0 - index / 4, 6.5)),
        DepthMap(metres, metres > 0, 0.02),
        NormalMap(vectors, np.ones(MAP_HW, np.bool_), 0.0),
        Masks((cars == 1).astype(np.uint16), ("the <b>red</b> car",), one, 0.0, (None,), (5.0,)),
    )
    fit = Letterbox.fit((56, 96), MAP_HW)
    info = FrameInfo(index * 40, Fraction(1, 1000), 1_700_000_000_000_000_000, "file", fit, decode_ms=2.0)
    predictions = tuple(
        Prediction(
            prompt,
            Failure("infer", REASON, retryable=True) if fails and k == 3 else value,
            "embedded",
            "ab12",
            Timing(2.0, 30.0, 8.0, 1.0),
        )
        for k, (prompt, value) in enumerate(zip(PROMPTS, values, strict=True))
    )
    return Result(Header(stream_id, 0, index), info, predictions)


def store(
    root: Path, streams: dict[str, list[Result]], *, rasters: bool = True, url: str = "gone.mp4"
) -> None:
    told = {"streams": {name: [url, [], "", "0f"] for name in streams}}
    sink = ParquetSink(str(root), {"plantain.run": json.dumps(told)}, rasters=rasters)
    for name, results in streams.items():
        sink.begin(name, is_resumed=False)
        for number in range(0, len(results), 4):
            segment = Segment(name, 0, number // 4)
            sink.write(segment, Rows(results[number : number + 4], "run1"))
            sink.commit(segment)
        sink.finish(name)
    sink.close()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    dock = [answers("dock", index, fails=index == 2) for index in range(6)]
    store(tmp_path / "out", {"dock": dock, "yard's": [answers("yard's", 0)]})
    return tmp_path / "out"


def test_stored_results_come_back(run: Path) -> None:
    results = read_results(run, "dock", [5, 1])
    assert [result.header.frame_index for result in results] == [1, 5]
    for result in results:
        made = answers("dock", result.header.frame_index)
        assert result.header == made.header
        assert result.info.pts == made.info.pts
        assert result.info.captured_ns == made.info.captured_ns
        for stored, first in zip(result.predictions, made.predictions, strict=True):
            assert stored.prompt == first.prompt
            assert stored.timing == first.timing
            match stored.value, first.value:
                case Masks() as got, Masks() as want:
                    np.testing.assert_array_equal(got.labels, want.labels)
                    assert (got.names, got.track_ids) == (want.names, want.track_ids)
                    assert got.distances_m == want.distances_m
                case DepthMap() as got, DepthMap() as want:
                    np.testing.assert_array_equal(got.valid, want.valid)
                    np.testing.assert_allclose(got.depth_m, want.depth_m, atol=1 / 512)
                case NormalMap() as got, NormalMap() as want:
                    np.testing.assert_allclose(got.normals, want.normals, atol=0.01)
                case other:
                    pytest.fail(f"{stored.prompt} came back as {other}")


def test_a_failure_comes_back_with_its_stage_and_reason(run: Path) -> None:
    (result,) = read_results(run, "dock", [2])
    value = result.predictions[3].value
    assert isinstance(value, Failure)
    assert (value.stage, value.error) == ("infer", REASON)
    assert result.failed_in == "infer"


def test_without_maps_masks_come_back_on_the_grid_of_the_picture(tmp_path: Path) -> None:
    store(tmp_path, {"dock": [answers("dock", 3)]}, rasters=False)
    (result,) = read_results(tmp_path, "dock")
    cars, depth = result.predictions[1].value, result.predictions[2].value
    assert isinstance(cars, Masks)
    given = answers("dock", 3)
    labels = enlarge(given.predictions[1].value.labels, given.info.fit.source_hw)  # type: ignore[union-attr]
    np.testing.assert_array_equal(cars.labels, labels)
    assert isinstance(depth, Failure)
    assert "not stored" in depth.error


def test_columns_come_back_in_order(run: Path) -> None:
    frames = read_frames(run, ["frame_index", "status", "depth_min_m"], stream_id="dock")
    assert frames["frame_index"].tolist() == [index for index in range(6) for _ in PROMPTS]
    assert (frames["status"] == "failed").sum() == 1
    assert np.isnan(frames["depth_min_m"]).sum() == 24
    objects = read_objects(run)
    assert set(objects["label"]) == {"road", "sky", "car", "the <b>red</b> car"}
    assert read_metadata(run)["plantain.schema_version"]


def test_mistakes_are_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="no column speed; it has run_id"):
        read_frames(run, ["speed"])
    with pytest.raises(SinkError, match="no stream 'quay'"):
        read_results(run, "quay")
    with pytest.raises(SinkError, match="no results"):
        write_report(tmp_path / "nowhere")
    ParquetSink(str(tmp_path / "empty")).begin("dock", is_resumed=False)
    with pytest.raises(UsageError, match="holds no rows yet"):
        write_report(tmp_path / "empty")


class Page(HTMLParser):
    """Collects what a page refers to, and fails where its tags do not nest."""

    VOID = frozenset({"meta", "img", "line", "polyline", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_stands_on_its_own(run: Path) -> None:
    (run / "overlay").mkdir()
    (run / "overlay" / "dock.mp4").touch()
    outcome = Outcome((), is_interrupted=False, wall_s=4.0, busy_s={"read": 1.0, "infer": 3.5})
    scores = [Score("miou", 0.51), Score("normals_mean_deg", 12.34)]
    path = write_report(run, outcome=outcome, scores=scores, num_scored=6)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert not page.open
    assert len(text) < MAX_BYTES
    targets = {attributes["id"] for _, attributes in page.seen if attributes.get("id")}
    for tag, attributes in page.seen:
        assert tag not in ("script", "link", "iframe")
        source = attributes.get("src") or ""
        assert not source or source.startswith("data:image/")
        href = attributes.get("href") or ""
        assert href == "overlay/dock.mp4" or (
            (href.startswith("#") and (href == "#main" or href[1:] in targets)) or not href
        )
        if tag == "img":
            assert attributes["alt"]
    assert "url(" not in text
    assert "&lt;b&gt;red&lt;/b&gt;" in text
    assert "<b>red</b>" not in text
    assert "no memory for &lt;frame&gt; &amp; more" in text
    for said in ("0.510", "12.3\u00b0", "1.75", "instances:car", "Schema version 3", "#3", "no longer there"):
        assert said in text


def test_queries_of_the_page_run(run: Path) -> None:
    per_label, missing = (duckdb.sql(query).fetchall() for query in queries(str(run)).values())
    assert [row[:4] for row in per_label if row[:2] == ("dock", "car")] == [("dock", "car", 12, 2)]
    assert [(row[0], row[1], row[4]) for row in missing] == [("dock", 2, "failed")]


def test_passwords_stay_out_of_the_page(tmp_path: Path) -> None:
    store(tmp_path, {"gate": [answers("gate", 0)]}, url="rtsp://guard:hunter2@10.0.0.7/main")
    assert "hunter2" not in write_report(tmp_path).read_text(encoding="utf-8")


def test_many_streams_keep_the_page_small(tmp_path: Path) -> None:
    store(tmp_path, {f"cam{number:02d}": [answers(f"cam{number:02d}", 0)] for number in range(15)})
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert len(text) < MAX_BYTES
    assert "3 further streams are left out" in text


def test_frames_without_times_are_told_by_number(tmp_path: Path) -> None:
    results = [answers("roll", index) for index in range(3)]
    results = [replace(result, info=replace(result.info, pts=None)) for result in results]
    store(tmp_path, {"roll": results})
    assert re.search(r"<span>2&nbsp;frame</span>", write_report(tmp_path).read_text(encoding="utf-8"))


def test_the_fullest_frame_of_each_part_is_chosen() -> None:
    frames = np.arange(100, 109)
    assert gallery.choose(frames, np.array([0, 0, 4, 1, 1, 1, 0, 0, 2.0]), 3) == [102, 104, 108]
    assert gallery.choose(frames[:2], np.zeros(2), 4) == [100, 101]


def test_points_of_a_chart() -> None:
    times = np.array([0, 0, 1, 3.0])
    edges = charts.edges_of(times)
    assert len(edges) == 4
    means = charts.points_of(edges, times, np.array([1, 3, 5, np.nan]), "mean")
    assert means[:2] == [2, 5]
    assert math.isnan(means[2])
    assert charts.points_of(edges, times, np.array([1, 3, 5, 7.0]), "least") == [1, 5, 7]
    assert len(charts.edges_of(np.array([2.0]))) == 2


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0"), (0.5614, "0.561"), (12.34, "12.3"), (1234.6, "1,235"), (20, "20"), (3.0, "3")],
)
def test_numbers_have_three_figures(value: float, written: str) -> None:
    assert charts.number_of(value) == written
