"""Events on their way out: rows, parts, messages, and a whole run."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import pytest
from pyarrow import fs

from plantain.deploy.job import run_job
from plantain.operators.errors import SinkError
from plantain.operators.sinks.base import Segment, Sink
from plantain.operators.sinks.columns import EVENT_COLUMNS
from plantain.operators.sinks.events import event_row
from plantain.operators.sinks.kafka.messages import event_messages, json_schema
from plantain.operators.sinks.memory import MemorySink
from plantain.operators.sinks.parquet import sink as parquet
from plantain.operators.sinks.parquet.reading import read_events
from plantain.operators.sinks.parquet.sink import ParquetSink
from plantain.operators.types import Result
from plantain.pipeline.config import check
from tests.assets import clips
from tests.results import result, stay, written
from tests.stored import rows_in


def busy(index: int, *track_ids: int, **times: Any) -> Result:
    return replace(result(index), events=tuple(stay(each, index, **times) for each in track_ids))


# -- rows ----------------------------------------------------------------------------------------------------


def test_a_row_says_what_who_when_and_where() -> None:
    row = event_row(stay(7, 90, since=10, until=60), "run")
    assert set(row) == {column.name for column in EVENT_COLUMNS}
    assert (row["event_id"], row["revision"], row["kind"]) == ("clip/presence/7/0.10", 1, "left")
    assert (row["start_time_s"], row["end_time_s"], row["time_s"]) == (0.4, 2.4, 3.6)
    assert (row["x_px"], row["y_px"], row["distance_m"]) == (12.5, 40.0, 7.25)
    assert (row["start_captured_at"], row["zone"], row["detail"], row["snapshot"]) == (None,) * 4


def test_the_time_of_a_camera_is_on_the_wall_clock() -> None:
    event = stay(7, 90)
    at = replace(event.start, captured_ns=1_700_000_000_123_456_789)
    row = event_row(replace(event, start=at, end=at, evidence=at), "run")
    moment = datetime(2023, 11, 14, 22, 13, 20, 123456, UTC)
    assert [row[name] for name in ("start_captured_at", "end_captured_at", "captured_at")] == [moment] * 3


def test_an_event_is_the_same_whoever_states_it_and_another_where_anything_of_its_identity_differs() -> None:
    one = stay(7, 90, since=10)
    assert one.identity == stay(7, 95, since=10, until=20).identity
    others = [
        stay(8, 90, since=10),
        stay(7, 90, since=11),
        stay(7, 90, since=10, stream_id="gate"),
        replace(one, rule="line"),
        replace(one, start=replace(one.start, epoch=1)),
        replace(one, track_id=None, zone="yard"),
    ]
    assert len({one.identity, *(other.identity for other in others)}) == 7


# -- parts ---------------------------------------------------------------------------------------------------


def store(sink: Sink, index: int, *results: Result) -> None:
    segment = Segment("clip", 0, index)
    sink.write(segment, written(*results))
    sink.commit(segment)


def ids_in(out: Path) -> list[tuple[int, int]]:
    return [(row["frame_index"], row["track_id"]) for row in rows_in(out)["events"]]


def test_events_become_visible_with_their_segment_and_only_where_something_happened(tmp_path: Path) -> None:
    sink = ParquetSink(str(tmp_path))
    sink.begin("clip", is_resumed=False)
    sink.write(Segment("clip", 0, 0), written(busy(0, 7, 8)))
    assert ids_in(tmp_path) == []
    sink.commit(Segment("clip", 0, 0))
    store(sink, 1, result(4))
    store(sink, 2, busy(8, 7, until=5))
    assert ids_in(tmp_path) == [(0, 7), (0, 8), (8, 7)]
    parts = [path.name for path in sorted(tmp_path.glob("events/*/*"))]
    assert parts == ["part-0000-000000.parquet", "part-0000-000002.parquet"]
    assert len(list(tmp_path.glob("frames/*/*"))) == len(list(tmp_path.glob("objects/*/*"))) == 3


@pytest.mark.parametrize("before", [(), (7,), (7, 8)])
@pytest.mark.parametrize("after", [(), (7,), (9,)])
def test_a_segment_that_is_made_again_replaces_its_events(
    tmp_path: Path, before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    for number, tracks in enumerate((before, after)):
        sink = ParquetSink(str(tmp_path))
        sink.begin("clip", is_resumed=number > 0)
        store(sink, 0, busy(0, *tracks))
        sink.close()
    assert ids_in(tmp_path) == [(0, each) for each in after]
    assert not list((tmp_path / ".plantain" / "segments" / "clip").iterdir())


def test_on_an_object_store_a_segment_that_is_made_again_replaces_its_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_ = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    monkeypatch.setattr(parquet, "open_filesystem", lambda url: (store_, "out"))
    for number, tracks in enumerate(((), (7, 8), (9,), ())):
        sink = ParquetSink("s3://bucket/out")
        sink.begin("clip", is_resumed=number > 0)
        store(sink, 0, busy(0, *tracks))
        assert ids_in(tmp_path / "out") == [(0, each) for each in tracks]


def test_a_stream_that_starts_anew_leaves_no_event_of_earlier_runs(tmp_path: Path) -> None:
    sink = ParquetSink(str(tmp_path))
    sink.begin("clip", is_resumed=False)
    store(sink, 0, busy(0, 7))
    sink.begin("clip", is_resumed=False)
    assert ids_in(tmp_path) == []


def test_events_are_read_as_columns(tmp_path: Path) -> None:
    sink = ParquetSink(str(tmp_path))
    sink.begin("clip", is_resumed=False)
    store(sink, 0, result(0))
    assert len(read_events(tmp_path)["event_id"]) == 0
    store(sink, 1, busy(4, 7))
    found = read_events(tmp_path, ["kind", "track_id", "distance_m"], stream_id="clip")
    assert {name: column.tolist() for name, column in found.items()} == {
        "kind": ["appeared"],
        "track_id": [7],
        "distance_m": [7.25],
    }


def test_a_sink_in_memory_has_them_in_their_order() -> None:
    sink = MemorySink()
    sink.begin("clip", is_resumed=False)
    store(sink, 0, busy(0, 8, 7), busy(1, 9))
    assert [row["track_id"] for row in sink.rows("events")] == [8, 7, 9]


# -- messages ------------------------------------------------------------------------------------------------


def test_a_message_is_the_row_and_its_identity_counts_revisions() -> None:
    (first, second) = event_messages(busy(90, 7, 8, since=10, until=60), "run")
    value = json.loads(first.value)
    jsonschema.Draft202012Validator(json_schema()).validate(value)
    assert value == json.loads(json.dumps(event_row(stay(7, 90, since=10, until=60), "run")))
    headers = dict(first.headers)
    assert headers["ce_id"] == b"clip/presence/7/0.10/1"
    assert (headers["ce_type"], headers["ce_subject"]) == (b"plantain.event.v1", b"left")
    assert (first.key, first.topic, first.position, first.fingerprint) == (b"clip", "events", (0, 90), "")
    assert dict(second.headers)["ce_id"] == b"clip/presence/8/0.10/1"


# -- a whole run ---------------------------------------------------------------------------------------------


class Stumbling(MemorySink):
    """A sink of the user that refuses some segments once each, and so ends the run."""

    refuses: ClassVar[set[int]] = set()

    def __init__(self, url: str, run_id: str) -> None:
        super().__init__()

    def commit(self, segment: Segment) -> None:
        if segment.index in self.refuses:
            self.refuses.discard(segment.index)
            raise SinkError("no room")
        super().commit(segment)


def run(out: Path, clip: Path) -> int:
    config = {
        "streams": [{"url": str(clip), "id": "clip"}],
        "prompts": ["instances:car"],
        "model": {"name": "fake"},
        "executor": "inline",
        "output": {
            "out": str(out),
            "segment_frames": 8,
            "sinks": ["tests.unit.test_events:Stumbling", "parquet"],
            "rasters": False,
        },
        "analytics": [{"name": "presence", "options": {"min_s": 0.0, "lost_s": 0.2}}],
    }
    return run_job(check(config)).exit_code


def test_a_run_that_is_cut_twice_and_resumed_states_what_a_whole_one_states(tmp_path: Path) -> None:
    from tests.unit.test_events import Stumbling as Refusing  # as the sink's name is imported

    clip = clips.make(tmp_path / "clip.mp4", 30)
    assert run(tmp_path / "whole", clip) == 0
    whole = rows_in(tmp_path / "whole")["events"]
    assert {row["kind"] for row in whole} == {"appeared", "left"}
    assert len({(row["event_id"], row["revision"]) for row in whole}) == len(whole)
    Refusing.refuses |= {1, 2}
    assert [run(tmp_path / "cut", clip) for _ in range(3)] == [1, 1, 0]
    assert rows_in(tmp_path / "cut")["events"] == whole
