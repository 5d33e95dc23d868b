"""One suite over every sink: what is committed is there once, and nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import av
import pytest

from plantain.operators.errors import UsageError
from plantain.operators.sinks import make_sink
from plantain.operators.sinks.base import Segment, Sink
from plantain.operators.sinks.memory import MemorySink
from plantain.operators.sinks.parquet.sink import ParquetSink
from plantain.operators.sinks.video.overlay import OverlaySink
from tests.results import result, written
from tests.stored import rows_in

SIZE = 4


class Kept(ABC):
    """A place for results that outlives a sink object, and a way to look into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def sink(self) -> Sink:
        """A sink that writes there, as a new process would make it."""

    @abstractmethod
    def times(self, stream_id: str) -> list[int]:
        """Milliseconds of the frames that a user finds there once the stream has finished."""


class InMemory(Kept):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._sink = MemorySink()

    def sink(self) -> Sink:
        return self._sink

    def times(self, stream_id: str) -> list[int]:
        return [each.info.pts for each in self._sink.results if each.header.stream_id == stream_id]


class InParquet(Kept):
    def sink(self) -> Sink:
        return ParquetSink(str(self.folder))

    def times(self, stream_id: str) -> list[int]:
        rows = rows_in(self.folder)["frames"]
        return [row["pts"] for row in rows if row["stream_id"] == stream_id and row["task"] == "depth"]


class InVideo(Kept):
    def sink(self) -> Sink:
        return OverlaySink(str(self.folder))

    def times(self, stream_id: str) -> list[int]:
        path = self.folder / "overlay" / f"{stream_id}.mp4"
        if not path.exists():
            return []
        with av.open(str(path)) as container:
            times = [frame.time for frame in container.decode(video=0)]
        return [round((time - times[0]) * 1000) for time in times]


@pytest.fixture(params=[InMemory, InParquet, InVideo], ids=["memory", "parquet", "overlay"])
def kept(request, tmp_path) -> Kept:
    return request.param(tmp_path / "out")


def write(sink: Sink, first: int, last: int, stream_id: str = "clip", *, commit: bool = True) -> None:
    """Writes frames, and commits the segment of each last one of a segment and of `last`."""
    for index in range(first, last):
        segment = Segment(stream_id, 0, index // SIZE)
        sink.write(segment, written(result(index, stream_id=stream_id, size_hw=(96, 128), model_hw=(48, 64))))
        if commit and (index + 1 == last or (index + 1) % SIZE == 0):
            sink.commit(segment)


def times(count: int) -> list[int]:
    return [40 * index for index in range(count)]


def test_committed_segments_are_there_in_order(kept):
    sink = kept.sink()
    sink.begin("clip", is_resumed=False)
    write(sink, 0, 10)
    sink.finish("clip")
    sink.close()
    assert kept.times("clip") == times(10)


def test_streams_may_interleave(kept):
    sink = kept.sink()
    for name in ("anna", "bert"):
        sink.begin(name, is_resumed=False)
    for first in (0, SIZE):
        for name in ("anna", "bert"):
            write(sink, first, first + SIZE, name)
    write(sink, 2 * SIZE, 2 * SIZE + 1, "bert")
    for name in ("anna", "bert"):
        sink.finish(name)
    sink.close()
    assert kept.times("anna") == times(8)
    assert kept.times("bert") == times(9)


def test_what_was_not_committed_is_forgotten_by_a_new_begin(kept):
    sink = kept.sink()
    sink.begin("clip", is_resumed=False)
    write(sink, 0, SIZE)
    write(sink, SIZE, SIZE + 2, commit=False)
    sink.begin("clip", is_resumed=True)
    write(sink, SIZE, 6)
    sink.finish("clip")
    sink.close()
    assert kept.times("clip") == times(6)


def test_a_repeated_segment_replaces_itself_also_in_another_process(kept):
    sink = kept.sink()
    sink.begin("clip", is_resumed=False)
    write(sink, 0, 6)
    sink.close()
    again = kept.sink()
    again.begin("clip", is_resumed=True)
    write(again, SIZE, 10)
    again.finish("clip")
    again.close()
    assert kept.times("clip") == times(10)


def test_a_stream_that_starts_anew_leaves_nothing_of_earlier_runs(kept):
    sink = kept.sink()
    sink.begin("clip", is_resumed=False)
    write(sink, 0, 10)
    sink.finish("clip")
    sink.close()
    again = kept.sink()
    again.begin("clip", is_resumed=False)
    assert kept.times("clip") == []
    write(again, 0, 3)
    again.finish("clip")
    again.close()
    assert kept.times("clip") == times(3)


def test_a_stream_without_frames_is_nothing_special(kept):
    sink = kept.sink()
    sink.begin("clip", is_resumed=False)
    sink.finish("clip")
    sink.close()
    assert kept.times("clip") == []


def test_closing_twice_does_no_harm(kept):
    sink = kept.sink()
    sink.begin("clip", is_resumed=False)
    write(sink, 0, 2, commit=False)
    sink.close()
    sink.close()


def test_sinks_are_made_by_name_or_by_dotted_path(tmp_path):
    assert isinstance(make_sink("memory", {}), MemorySink)
    assert isinstance(make_sink("plantain.operators.sinks.memory:MemorySink", {}), MemorySink)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("printer", {}, "sink 'printer' is unknown: use .*memory, overlay, parquet"),
        ("memory", {"ink": "blue"}, "sink 'memory' cannot be made"),
        ("no.such.module:Sink", {}, "sink 'no.such.module:Sink' cannot be imported"),
        ("plantain.operators.sinks.memory:Sunk", {}, "Sunk"),
    ],
)
def test_a_sink_that_cannot_be_made_is_explained(name, options, said):
    with pytest.raises(UsageError, match=said):
        make_sink(name, options)


def test_a_stream_that_is_forgotten_keeps_what_was_committed_and_the_others_go_on(kept):
    sink = kept.sink()
    for stream_id in ("clip", "other"):
        sink.begin(stream_id, is_resumed=False)
    write(sink, 0, SIZE)
    write(sink, SIZE, SIZE + 2, commit=False)
    write(sink, 0, SIZE + 1, "other", commit=False)
    sink.forget("clip")
    sink.forget("nobody")
    sink.commit(Segment("other", 0, 0))
    sink.begin("clip", is_resumed=True)
    write(sink, SIZE, SIZE + 3)
    sink.finish("clip")
    sink.close()
    assert kept.times("clip") == times(SIZE + 3)
