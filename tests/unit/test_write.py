from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from plantain.operators.errors import SinkBackpressureError, SinkError
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.memory import MemorySink
from plantain.operators.streams import Start, StreamSpec
from plantain.operators.types import Durable, Failure, Position, Result
from plantain.operators.write import Write
from tests.results import CARS, DEPTH, depth, result

SEGMENT = 4
SPEC = StreamSpec("clip", "clip.mp4")


class Noted(MemorySink):
    """Also notes what was asked of it, and refuses what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.refusals: dict[str, list[Exception]] = {}

    def _note(self, call: str) -> None:
        if self.refusals.get(call):
            raise self.refusals[call].pop(0)
        self.calls.append(call)

    def begin(self, stream_id, *, is_resumed):
        self._note(f"begin {'again' if is_resumed else 'anew'}")
        super().begin(stream_id, is_resumed=is_resumed)

    def write(self, segment, rows):
        self._note(f"write {segment.index}: {[each.header.frame_index for each in rows.results]}")
        super().write(segment, rows)

    def commit(self, segment):
        self._note(f"commit {segment.index}")
        super().commit(segment)

    def finish(self, stream_id):
        self._note("finish")


def opened(*sinks: MemorySink, durable: Durable | None = None, pauses: list[float] | None = None) -> Write:
    write = Write(sinks, SEGMENT, sleep=(pauses if pauses is not None else []).append)
    start = Start.fresh(SPEC, (DEPTH,))
    write.open(start if durable is None else Start(SPEC, (DEPTH,), durable))
    return write


def put(write: Write, results: Sequence[Result]) -> list[Any]:
    """What one call gives."""
    return list(write(results))


def test_a_segment_is_committed_when_the_next_one_begins_and_only_then_durable():
    sink = Noted()
    write = opened(sink)
    assert put(write, [result(index) for index in range(3)]) == []
    (durable,) = put(write, [result(index) for index in range(3, 6)])
    answers = (("depth", "", 4), ("instances:car", "", 4))
    assert durable == Durable("clip", 0, Position(4, 160, delivered=4, previous_pts=120), answers=answers)
    assert sink.calls == ["begin anew", "write 0: [0, 1, 2]", "write 0: [3]", "commit 0", "write 1: [4, 5]"]


def test_one_call_may_commit_several_segments():
    write = opened(Noted())
    durables = put(write, [result(index) for index in range(10)])
    assert [durable.position.frame_index for durable in durables] == [4, 8]


def test_segments_follow_frame_indexes_also_where_frames_are_left_out():
    sink = Noted()
    (durable,) = put(opened(sink), [result(index) for index in (0, 3, 9, 11)])
    assert durable.position == Position(9, 360, delivered=2, previous_pts=120)
    assert sink.calls[1:] == ["write 0: [0, 3]", "commit 0", "write 2: [9, 11]"]


def test_finishing_a_stream_that_reached_its_end_makes_it_complete():
    sink = Noted()
    write = opened(sink)
    put(write, [result(index) for index in range(6)])
    durable = write.finish("clip", is_complete=True)
    assert (durable.is_complete, durable.position.delivered) == (True, 6)
    assert sink.calls[-2:] == ["commit 1", "finish"]


def test_an_interrupted_stream_shows_its_last_segment_but_will_make_it_again():
    sink = Noted()
    write = opened(sink)
    put(write, [result(index) for index in range(6)])
    durable = write.finish("clip", is_complete=False)
    assert (durable.is_complete, durable.position.frame_index) == (False, 4)
    assert len(sink.results) == 6
    again = opened(sink, durable=durable)
    put(again, [result(index) for index in range(4, 7)])
    again.finish("clip", is_complete=True)
    assert [each.header.frame_index for each in sink.results] == list(range(7))
    assert "begin again" in sink.calls


def test_failed_frames_are_counted_by_stage_up_to_where_the_stream_is_durable():
    failure = Failure("infer", "no", retryable=False)
    frames = [
        result(index, {CARS: failure, DEPTH: depth(1)} if index in (1, 5) else None) for index in range(6)
    ]
    write = opened(Noted())
    (durable,) = put(write, frames)
    assert durable.failed == (("infer", 1),)
    assert write.finish("clip", is_complete=True).failed == (("infer", 2),)


def test_what_the_tracker_knew_goes_into_the_checkpoint():
    frames = [
        replace(result(index), state_before=f"before {index}" if index % SEGMENT == 0 else None)
        for index in range(5)
    ]
    (durable,) = put(opened(Noted()), frames)
    assert durable.state == "before 4"


def test_a_sink_that_is_full_for_a_moment_is_waited_for_and_the_others_see_everything_once():
    first, second = Noted(), Noted()
    pauses: list[float] = []
    second.refusals = {
        "write 1: [4]": [SinkBackpressureError("full", 1.5), SinkBackpressureError("full", 2.5)],
        "commit 0": [SinkBackpressureError("full", 0.5)],
    }
    write = opened(first, second, pauses=pauses)
    put(write, [result(index) for index in range(5)])
    write.finish("clip", is_complete=True)
    assert pauses == [0.5, 1.5, 2.5]
    assert first.calls == second.calls
    assert [each.header.frame_index for each in first.results] == list(range(5))


def test_a_sink_that_is_away_for_long_is_waited_for_however_long():
    sink = Noted()
    pauses: list[float] = []
    sink.refusals = {"commit 0": [SinkBackpressureError("the brokers are away", 1.0) for _ in range(1000)]}
    write = opened(sink, pauses=pauses)
    put(write, [result(index) for index in range(5)])
    write.finish("clip", is_complete=True)
    assert pauses == [1.0] * 1000
    assert [each.header.frame_index for each in sink.results] == list(range(5))


def test_a_sink_that_refuses_for_good_is_an_error():
    sink = Noted()
    sink.refusals = {"commit 0": [SinkError("disk full")]}
    with pytest.raises(SinkError, match="disk full"):
        put(opened(sink), [result(index) for index in range(5)])


def test_what_became_durable_before_an_error_is_given():
    sink = Noted()
    sink.refusals = {"write 1: [4]": [SinkError("disk full")]}
    given = opened(sink)([result(index) for index in range(5)])
    assert next(given).position.frame_index == 4
    with pytest.raises(SinkError, match="disk full"):
        next(given)


def test_streams_are_kept_apart():
    sink = Noted()
    write = opened(sink)
    write.open(Start.fresh(StreamSpec("other", "other.mp4"), (DEPTH,)))
    put(write, [result(0), result(1)])
    put(write, [result(0, stream_id="other")])
    assert put(write, [result(4)])[0].stream_id == "clip"
    assert write.finish("other", is_complete=True).position.delivered == 1


def test_names_of_parts_sort_as_the_frames_do():
    names = [Segment("clip", epoch, index).name for epoch in (0, 1) for index in (0, 9, 10, 123456)]
    assert names == sorted(names)
