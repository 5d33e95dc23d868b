"""The first step: streams to frames."""

from __future__ import annotations

from operators.sources import open_source
from operators.sources.base import Source, StreamInfo, StreamSpec, View
from operators.types import Frame, Position


class Read:
    """Open streams and their next frames.

    Args:
        view: What a frame must look like when it leaves the source.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._sources: dict[str, Source] = {}

    def open(self, spec: StreamSpec, position: Position) -> StreamInfo:
        """Opens a stream, again if it is open already, to be read from `position`."""
        self.close(spec.stream_id)
        source = open_source(spec, self._view, position)
        self._sources[spec.stream_id] = source
        return source.info

    def __call__(self, stream_id: str, max_frames: int) -> list[Frame]:
        """The stream's next frames; fewer than asked for at its end."""
        return self._sources[stream_id].read(max_frames)

    def source(self, stream_id: str) -> Source:
        """The open source, for its position and counters."""
        return self._sources[stream_id]

    def close(self, stream_id: str | None = None) -> None:
        """Closes one stream, or all."""
        for name in list(self._sources) if stream_id is None else [stream_id]:
            source = self._sources.pop(name, None)
            if source is not None:
                source.close()
