"""Two fields to one picture, frame by frame."""

from __future__ import annotations

from collections import deque
from fractions import Fraction

import av
from av.filter import Graph
from av.video.frame import VideoFrame

# The graph must have one, and the last frames of a decoder have none; times go round the graph anyway.
_ANY_TIME_BASE = Fraction(1, 1000)


class Deinterlacer:
    """FFmpeg's `yadif`, one frame out for one frame in, progressive frames untouched.

    A frame comes out after the next one went in, as yadif looks one frame ahead and one behind.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._shape: tuple[int, int, str] | None = None
        # yadif doubles the time base and the pts; the originals are kept here.
        self._times: deque[tuple[int | None, bool]] = deque()

    def push(self, frame: VideoFrame) -> list[tuple[VideoFrame, int | None, bool]]:
        """The pictures that are complete now, each with its pts and whether it is corrupt."""
        shape = (frame.width, frame.height, frame.format.name)
        done = [] if shape == self._shape else self.flush()
        if self._graph is None:
            self._graph, self._shape = _graph(frame), shape
        self._times.append((frame.pts, frame.is_corrupt))
        self._graph.push(frame)
        return done + self._pull(self._graph)

    def flush(self) -> list[tuple[VideoFrame, int | None, bool]]:
        """The pictures that are still inside."""
        graph, self._graph = self._graph, None
        if graph is None:
            return []
        graph.push(None)
        return self._pull(graph)

    def _pull(self, graph: Graph) -> list[tuple[VideoFrame, int | None, bool]]:
        pictures: list[tuple[VideoFrame, int | None, bool]] = []
        while True:
            try:
                frame = graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return pictures
            assert isinstance(frame, VideoFrame)
            pictures.append((frame, *self._times.popleft()))


def _graph(frame: VideoFrame) -> Graph:
    """The filters buffer -> yadif -> buffersink for frames like `frame`."""
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=_ANY_TIME_BASE
    )
    yadif = graph.add("yadif", "mode=send_frame:deint=interlaced")
    sink = graph.add("buffersink")
    source.link_to(yadif)
    yadif.link_to(sink)
    graph.configure()
    return graph
