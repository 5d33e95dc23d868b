"""Kinds of answers: what each owes to everything around it, and two that are no drawings, all the way through."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from plantain.deploy.job import run_job
from plantain.deploy.report.page import write_report
from plantain.operators.analytics.distance import Distance
from plantain.operators.answers import KINDS, codec_for, kind_called, kind_of
from plantain.operators.answers.boxes.value import Boxes
from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.image.value import Image
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.answers.text.value import Text
from plantain.operators.errors import CodecError
from plantain.operators.geometry import iou
from plantain.operators.prompts import Prompt, Task
from plantain.operators.render.drawing import draw, draw_answer
from plantain.operators.render.layout import layout_for
from plantain.operators.sinks.kafka.messages import json_schema, messages_of
from plantain.operators.sinks.parquet.reading import read_results
from plantain.operators.sinks.rows import SCHEMAS, Rows, table_of
from plantain.operators.types import Value
from plantain.pipeline.config import check
from tests.parquet_sinks import SEGMENT, sink_at
from tests.results import CARS, DEPTH, depth, masks, result, written

BOXES = Boxes(
    np.array([[2, 4, 10, 12], [8, 0, 32, 24]], np.float32),
    ("car", "person"),
    np.array([0.75, 0.5], np.float32),
    (3, None),
    (12.5, None),
)
NORMALS = NormalMap(np.tile(np.array([0, 0, 1], np.float32), (12, 16, 1)), np.ones((12, 16), np.bool_), 0.0)

SOME: dict[str, Value] = {
    "semantic:car,road": masks(1),
    "instances:car": dataclasses.replace(masks(2), track_ids=(4, None), distances_m=(1.5, None)),
    "refer:the car": masks(1, name="the car"),
    "depth": depth(5.0),
    "normals": NORMALS,
    "generate:rain": Image(np.full((12, 16, 3), 9, np.uint8)),
    "detect:car,person": BOXES,
    "ask:how many cars are waiting?": Text("two, at the crossing"),
}
NONE: dict[str, Value] = {
    "instances:car": masks(0),
    "refer:the car": masks(0),
    "depth": DepthMap(np.zeros((12, 16), np.float32), np.zeros((12, 16), np.bool_), 1.0),
    "detect:car": Boxes(np.zeros((0, 4), np.float32), (), np.zeros(0, np.float32)),
    "ask:why?": Text(" "),
}
ALL = [*SOME.items(), *NONE.items()]


def test_every_kind_is_tried_here() -> None:
    assert {Prompt.parse(written).codec for written in SOME} == set(KINDS)
    assert {Prompt.parse(written).task for written in SOME} == set(Task) - {Task.PROMPT}


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_says_what_it_is(name: str) -> None:
    kind = kind_called(name)
    assert kind is kind_called(name)
    assert inspect.getdoc(type(kind))
    for column in (*kind.frame_columns, *kind.object_columns):
        assert column.meaning
        assert column.is_nullable, "other kinds have nothing to say there"


@pytest.mark.parametrize(("written_", "value"), ALL)
def test_rows_have_the_columns_that_the_kind_declares_and_no_others(written_: str, value: Value) -> None:
    kind = kind_of(Prompt.parse(written_))
    assert {*kind.summary(value)} <= {column.name for column in kind.frame_columns}
    rows = Rows([result(0, {Prompt.parse(written_): value})], "run")
    for name in SCHEMAS:
        made = rows.table(name, rasters=True)
        assert all({*row} == {*SCHEMAS[name].names} for row in made)
        assert table_of(name, made).validate(full=True) is None
    declared = {column.name for column in kind.object_columns}
    for row in rows.table("objects"):
        others = {column.name for other in KINDS for column in kind_called(other).object_columns} - declared
        assert all(row[name] is None for name in others)


@pytest.mark.parametrize(("written_", "value"), ALL)
def test_what_is_stored_is_read_back(tmp_path: Path, written_: str, value: Value) -> None:
    sink = sink_at(tmp_path)
    sink.begin("clip", is_resumed=False)
    sink.write(SEGMENT, written(result(0, {Prompt.parse(written_): value})))
    sink.commit(SEGMENT)
    (again,) = read_results(tmp_path, "clip")
    read = again.predictions[0].value
    assert type(read) is type(value)
    for field in dataclasses.fields(value):  # type: ignore[arg-type]
        was, now = getattr(value, field.name), getattr(read, field.name)
        if isinstance(was, np.ndarray):
            np.testing.assert_allclose(now, was, atol=0.01)
        elif was != ():  # what no analysis has filled in is null, which reads as nothing known of each
            assert now == was


@pytest.mark.parametrize(("written_", "value"), ALL)
def test_a_message_holds_it_as_the_schema_says(written_: str, value: Value) -> None:
    (answer,) = Rows([result(0, {Prompt.parse(written_): value})], "run").answers
    (message,) = messages_of(answer, rasters="embed", raster_ref=None, max_bytes=900_000)
    jsonschema.Draft202012Validator(json_schema()).validate(json.loads(message.value))


@pytest.mark.parametrize(("written_", "value"), ALL)
def test_it_can_be_drawn_and_said(written_: str, value: Value) -> None:
    prompt = Prompt.parse(written_)
    kind = kind_of(prompt)
    shown = result(0, {prompt: value}, size_hw=(240, 320), model_hw=(12, 16))
    drawn = draw(shown, layout_for(shown))
    alone = draw_answer(shown.predictions[0], shown.info, (240, 320))
    assert drawn.shape[2] == alone.shape[2] == 3
    assert kind.title(prompt)
    assert isinstance(kind.words(prompt, value), str)
    kind.key(prompt, value, 24)
    kind.key(prompt, None, 24)
    if kind.has_things and not kind.is_empty(value):
        assert len(np.unique(alone.reshape(-1, 3), axis=0)) > 1


@pytest.mark.parametrize(("written_", "value"), NONE.items())
def test_nothing_found_is_empty(written_: str, value: Value) -> None:
    assert kind_of(Prompt.parse(written_)).is_empty(value)


@pytest.mark.parametrize("written_", sorted({*SOME} - {"generate:rain"}))
def test_something_found_is_not_empty(written_: str) -> None:
    assert not kind_of(Prompt.parse(written_)).is_empty(SOME[written_])


@pytest.mark.parametrize("written_", SOME)
def test_a_dense_answer_has_a_size_an_array_and_a_file_or_none_of_them(written_: str) -> None:
    kind, value = kind_of(Prompt.parse(written_)), SOME[written_]
    is_dense = kind.size_hw(value) is not None
    assert is_dense == (kind.array(value) is not None) == (kind.raster(value) is not None)
    assert is_dense == (kind.picture(Prompt.parse(written_), value) is not None)
    larger = kind.sized(value, (48, 64))
    assert kind.size_hw(larger) == ((48, 64) if is_dense else None)


def test_boxes_are_rows_in_source_pixels_with_the_models_own_scores_and_without_masks() -> None:
    first, second = Rows([result(0, {Prompt.parse("detect:car,person"): BOXES})], "run").table("objects")
    assert [first[name] for name in ("x1", "y1", "x2", "y2", "area_px")] == [2, 4, 10, 12, 64]
    assert [first["label"], first["score"], first["track_id"], first["distance_m"]] == ["car", 0.75, 3, 12.5]
    assert (second["rle_h"], second["rle_w"], second["rle_counts"]) == (None, None, None)


def test_boxes_cannot_be_drawn_by_a_model() -> None:
    with pytest.raises(CodecError, match="is no drawing: ask a model that gives boxes"):
        codec_for(Prompt.parse("detect:car"))


def test_a_box_is_as_far_as_the_depth_in_its_middle() -> None:
    depth_m = np.full((12, 16), 40.0, np.float32)  # what is behind
    depth_m[3:5, 2:4] = 6.0
    wall = DepthMap(depth_m, np.ones((12, 16), np.bool_), 0.0)
    boxes = Boxes(
        np.array([[2, 4, 10, 12], [30, 22, 32, 24]], np.float32), ("car",) * 2, np.ones(2, np.float32)
    )
    prompt = Prompt.parse("detect:car")
    seen, _ = Distance().step(result(0, {prompt: boxes, DEPTH: wall}))
    assert seen.predictions[0].value.distances_m == (6.0, 40.0)


def config(out: Path, prompts: list[str], **options: Any):
    return check(
        {
            "streams": [
                {"url": "synthetic://street?seed=6&frames=6&width=192&height=112&stamp=1", "id": "street"}
            ],
            "prompts": prompts,
            "model": {"name": "fake", "options": options, "canvas": {"width": 192, "height": 112}},
            "output": {"out": str(out), "sinks": ["parquet", "overlay"]},
            "executor": "inline",
        }
    )


def test_boxes_go_all_the_way_through_a_run(tmp_path: Path) -> None:
    outcome = run_job(config(tmp_path, ["instances:car", "detect:car", "depth"], usd=0.5))
    assert outcome.exit_code == 0
    assert [stream.start.durable.cost_usd for stream in outcome.streams] == [0.5 * 3 * 6]
    for frame in read_results(tmp_path, "street"):
        found, boxes, _ = (prediction.value for prediction in frame.predictions)
        assert isinstance(boxes, Boxes)
        overlap = iou(
            kind_of(CARS).places(found, frame.info.fit), boxes.xyxy
        )  # a drawing loses the smallest cars
        assert overlap.max(axis=1).min() > 0.8
        assert len(boxes.track_ids) == len(boxes.distances_m) == len(boxes.names) >= len(found.names)
        assert None not in boxes.track_ids
        assert {prediction.cost_usd for prediction in frame.predictions} == {0.5}
    assert (tmp_path / "overlay" / "street.mp4").stat().st_size > 0
    page = write_report(str(tmp_path)).read_text(encoding="utf-8")
    assert "detect:car" in page
    assert "found</span>" in page


def test_words_go_all_the_way_through_a_run(tmp_path: Path) -> None:
    question = "ask:how many cars, and how many trees?"
    assert run_job(config(tmp_path, [question, "detect:car,tree"])).exit_code == 0
    for frame in read_results(tmp_path, "street"):
        said, boxes = (prediction.value for prediction in frame.predictions)
        assert said == Text(f"{boxes.names.count('car')} car, {boxes.names.count('tree')} tree")
    table = pq.read_table(tmp_path / "frames", partitioning=None)
    assert set(table.filter(pc.equal(table["task"], "ask"))["prompt"].to_pylist()) == {question}
    assert (tmp_path / "overlay" / "street.mp4").stat().st_size > 0
    assert said.text in write_report(str(tmp_path)).read_text(encoding="utf-8")


def test_the_model_in_the_docs_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "answers.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "documented.py").write_text(example)
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = {
        "streams": [{"url": "synthetic://street?seed=6&frames=2&width=192&height=112", "id": "street"}],
        "prompts": ["detect:sun", "depth"],
        "model": {"name": "documented:Sun"},
        "output": {"out": str(tmp_path / "out")},
        "executor": "inline",
    }
    run_job(check(settings))
    for frame in read_results(tmp_path / "out", "street"):
        sun, refused = (prediction.value for prediction in frame.predictions)
        assert sun.names == ("sun",)
        assert refused.error == "depth: I only detect"
    for name in KINDS:
        assert f"`{kind_called(name).value.__name__}`" in page
