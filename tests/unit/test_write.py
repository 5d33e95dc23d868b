from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from plantain.operators.errors import SinkBackpressureError, SinkError
from plantain.operators.segments import Barrier, Durable, Position
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.memory import MemorySink
from plantain.operators.streams import Start, StreamSpec
from plantain.operators.write import Write
from tests.results import DEPTH, result

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


def opened(
    *sinks: MemorySink, durable: Durable | None = None, pauses: list[float] | None = None, segment: int = 0
) -> Write:
    write = Write(sinks, "run", sleep=(pauses if pauses is not None else []).append)
    start = Start.fresh(SPEC, (DEPTH,))
    write.open(start if durable is None else Start(SPEC, (DEPTH,), durable, segment=segment))
    return write


def put(write: Write, *indexes: int) -> list[Any]:
    """What one call gives."""
    return list(write([result(index) for index in indexes]))


def cut(write: Write, following: int, at: int, stream_id: str = "clip", epoch: int = 0) -> Durable:
    """Ends a segment before frame `at`."""
    (durable,) = write.cut([Barrier(following, Durable(stream_id, epoch, Position(at), f"before {at}"))])
    return durable


def complete(num_frames: int) -> Durable:
    return Durable("clip", 0, Position(num_frames, delivered=num_frames), is_complete=True)


def test_a_segment_is_committed_where_a_barrier_says_that_it_ends_and_only_then_durable():
    sink = Noted()
    write = opened(sink)
    put(write, 0, 1, 2)
    put(write, 3)
    assert sink.results == []
    assert cut(write, 1, 4) == Durable("clip", 0, Position(4), "before 4")
    assert [each.header.frame_index for each in sink.results] == [0, 1, 2, 3]
    put(write, 4, 5)
    assert sink.calls == ["begin anew", "write 0: [0, 1, 2]", "write 0: [3]", "commit 0", "write 1: [4, 5]"]


def test_a_segment_without_results_costs_the_sinks_nothing():
    sink = Noted()
    write = opened(sink)
    assert cut(write, 7, 30).position.frame_index == 30
    put(write, 30)
    assert sink.calls == ["begin anew", "write 7: [30]"]


def test_a_camera_that_was_connected_anew_begins_segments_of_that_epoch():
    sink = Noted()
    write = opened(sink)
    put(write, 0)
    cut(write, 0, 5, epoch=1)
    put(write, 5)
    cut(write, 1, 6, epoch=1)
    assert [(segment.epoch, segment.index) for segment in sink._committed] == [(0, 0), (1, 0)]


def test_finishing_a_stream_that_reached_its_end_makes_it_complete():
    sink = Noted()
    write = opened(sink)
    put(write, 0, 1, 2, 3)
    cut(write, 1, 4)
    put(write, 4, 5)
    assert write.finish("clip", complete(6)) == replace(complete(6), state="before 4")
    assert sink.calls[-2:] == ["commit 1", "finish"]


def test_an_interrupted_stream_shows_its_last_segment_but_will_make_it_again():
    sink = Noted()
    write = opened(sink)
    put(write, 0, 1, 2, 3)
    cut(write, 1, 4)
    put(write, 4, 5)
    durable = write.finish("clip", None)
    assert durable is not None
    assert (durable.is_complete, durable.position.frame_index) == (False, 4)
    assert len(sink.results) == 6
    again = opened(sink, durable=durable, segment=1)
    put(again, 4, 5, 6)
    again.finish("clip", complete(7))
    assert [each.header.frame_index for each in sink.results] == list(range(7))
    assert "begin again" in sink.calls


def test_a_sink_that_is_full_for_a_moment_is_waited_for_and_the_others_see_everything_once():
    first, second = Noted(), Noted()
    pauses: list[float] = []
    second.refusals = {
        "write 1: [4]": [SinkBackpressureError("full", 1.5), SinkBackpressureError("full", 2.5)],
        "commit 0": [SinkBackpressureError("full", 0.5)],
    }
    write = opened(first, second, pauses=pauses)
    put(write, 0, 1, 2, 3)
    cut(write, 1, 4)
    put(write, 4)
    write.finish("clip", complete(5))
    assert pauses == [0.5, 1.5, 2.5]
    assert first.calls == second.calls
    assert [each.header.frame_index for each in first.results] == list(range(5))


def test_a_sink_that_is_away_for_long_is_waited_for_however_long():
    sink = Noted()
    pauses: list[float] = []
    sink.refusals = {"commit 0": [SinkBackpressureError("the brokers are away", 1.0) for _ in range(1000)]}
    write = opened(sink, pauses=pauses)
    put(write, 0, 1, 2, 3)
    cut(write, 1, 4)
    put(write, 4)
    write.finish("clip", complete(5))
    assert pauses == [1.0] * 1000
    assert [each.header.frame_index for each in sink.results] == list(range(5))


def test_a_sink_that_refuses_for_good_is_an_error():
    sink = Noted()
    sink.refusals = {"commit 0": [SinkError("disk full")]}
    write = opened(sink)
    put(write, 0, 1, 2, 3)
    with pytest.raises(SinkError, match="disk full"):
        cut(write, 1, 4)


def test_streams_are_kept_apart():
    sink = Noted()
    write = opened(sink)
    write.open(Start.fresh(StreamSpec("other", "other.mp4"), (DEPTH,)))
    put(write, 0, 1)
    list(write([result(0, stream_id="other"), result(2)]))
    cut(write, 1, 3)
    assert {each.header.stream_id for each in sink.results} == {"clip"}
    cut(write, 1, 1, "other")
    assert len(sink.results) == 4


def test_names_of_parts_sort_as_the_frames_do():
    names = [Segment("clip", epoch, index).name for epoch in (0, 1) for index in (0, 9, 10, 123456)]
    assert names == sorted(names)
