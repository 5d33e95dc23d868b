"""The first step: streams to frames."""

from __future__ import annotations

from dataclasses import replace

from operators.sources import is_live, open_source, source_for
from operators.sources.base import ReadState, Source, Start, StreamInfo, View
from operators.types import Frame


class Read:
    """Open streams and their next frames.

    Args:
        view: What a frame must look like when it leaves the source.
        decoder_threads: Of each file, unless its options say otherwise. One is best where several files are read at
            once; a single file is decoded in parts, with a decoder for each core.
    """

    def __init__(self, view: View, decoder_threads: int = 1) -> None:
        self._view = view
        self._decoder_threads = str(decoder_threads)
        self._sources: dict[str, Source] = {}

    def open(self, start: Start) -> StreamInfo:
        """Opens a stream, again if it is open already, to be read from where it starts."""
        self.close(start.spec.stream_id)
        spec = start.spec
        if source_for(spec) == "file":
            how = "file" if self._decoder_threads == "1" else "parts"
            spec = replace(spec, source=how, options={"threads": self._decoder_threads, **spec.options})
        elif is_live(spec):
            spec = replace(spec, options={**spec.options, "epoch": str(start.durable.epoch)})
        source = open_source(spec, self._view, start.durable.position)
        self._sources[start.spec.stream_id] = source
        return source.info

    def __call__(self, stream_id: str, max_frames: int) -> list[Frame]:
        """The stream's next frames; fewer than asked for at its end."""
        return self._sources[stream_id].read(max_frames)

    def state(self, stream_id: str) -> ReadState:
        """How far reading the stream has come."""
        source = self._sources[stream_id]
        # Only live sources let frames go, and tell how they are; a user's own may do so, too.
        dropped = tuple(sorted(getattr(source, "dropped", {}).items()))
        events = tuple(source.events()) if hasattr(source, "events") else ()
        return ReadState(stream_id, source.ended, source.position, source.num_damaged, dropped, events)

    def close(self, stream_id: str | None = None) -> None:
        """Closes one stream, or all."""
        for name in list(self._sources) if stream_id is None else [stream_id]:
            source = self._sources.pop(name, None)
            if source is not None:
                source.close()
