"""The first step: streams to frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from plantain.operators.errors import SourceError
from plantain.operators.redaction import sentence_of
from plantain.operators.render.looks import Look
from plantain.operators.sources import is_live, open_source, source_for
from plantain.operators.sources.base import Dropping, Partial, Source, Telling
from plantain.operators.sources.live.waking import Waking, wait_for_any
from plantain.operators.streams import ReadState, Start, StreamInfo, View
from plantain.operators.types import Frame

log = structlog.get_logger()

# A single file is decoded in parts from so many decoders on. Below, FFmpeg's own threads are faster (two cores, 1080p:
# 197 frames/s against 166), but they leave the conversion to one thread, and 0.9 ms of it for 5.1 ms of decoding (both
# measured 2026-11-21) are its limit from the seventh on.
MIN_DECODERS_FOR_PARTS = 7


@dataclass(frozen=True)
class _Opened:
    """A source, and what else it can do: looked at once, since looking costs as much as a poll."""

    source: Source
    waking: Waking | None
    dropping: Dropping | None
    telling: Telling | None
    partial: Partial | None

    @classmethod
    def of(cls, source: Source) -> _Opened:
        return cls(
            source,
            source if isinstance(source, Waking) else None,
            source if isinstance(source, Dropping) else None,
            source if isinstance(source, Telling) else None,
            source if isinstance(source, Partial) else None,
        )


class Read:
    """Open streams and their next frames.

    Args:
        view: What a frame must look like when it leaves the source.
        decoder_threads: Of each file, unless its options say otherwise. One is best where several files are read at
            once, one for each core where it is a single one.
    """

    def __init__(self, view: View, decoder_threads: int = 1) -> None:
        self._view = view
        self._decoder_threads = decoder_threads
        self._sources: dict[str, _Opened] = {}
        self._ends: dict[str, ReadState] = {}  # of files that were read to their end, and are closed
        self._newest: dict[str, Frame] = {}
        self._watched: dict[str, int] = {}
        self._epochs: dict[str, int] = {}  # of live streams: the first in which frames may come

    def open(self, start: Start) -> StreamInfo:
        """Opens a stream, again if it is open already, to be read from where it starts."""
        self.close(start.spec.stream_id)
        spec = start.spec
        if source_for(spec) == "file":
            how = "parts" if self._decoder_threads >= MIN_DECODERS_FOR_PARTS else "file"
            spec = replace(spec, source=how, options={"threads": str(self._decoder_threads), **spec.options})
        elif is_live(spec):
            spec = replace(spec, options={**spec.options, "epoch": str(start.durable.epoch)})
            self._epochs[spec.stream_id] = start.durable.epoch
        source = open_source(spec, self._view, start.durable.position)
        self._sources[spec.stream_id] = _Opened.of(source)
        return source.info

    def __call__(self, stream_id: str, max_frames: int) -> list[Frame]:
        """The stream's next frames; fewer than asked for at its end, and of a camera that has no more just now.

        Raises:
            SourceError: If a live source gives frames of an epoch that an earlier life of the stream has used up.
        """
        if stream_id in self._ends:
            return []
        frames = self._sources[stream_id].source.read(max_frames)
        if frames:
            if (epoch := frames[0].header.epoch) < (first := self._epochs.get(stream_id, 0)):
                raise SourceError(
                    f"stream '{stream_id}': its source gives frames of epoch {epoch}, which is over; "
                    f"it must begin at its option epoch ({first})"
                )
            self._newest[stream_id] = frames[-1]
        return [_with_picture(frame) for frame in frames] if stream_id in self._watched else frames

    def wait(self, stream_ids: Sequence[str], timeout_s: float) -> None:
        """Sleeps until one of several cameras has a frame or has ended."""
        opened = [self._sources[name] for name in stream_ids if name in self._sources]
        waking = [each.waking for each in opened if each.waking is not None]
        if timeout_s > 0 and waking:
            wait_for_any(waking, timeout_s)

    def peek(self, stream_id: str) -> list[Frame]:
        """The newest frame that is there, or nothing; it will be read all the same."""
        opened = self._sources.get(stream_id)
        newest = opened.waking.newest if opened is not None and opened.waking is not None else None
        frame = newest or self._newest.get(stream_id)
        return [] if frame is None else [frame]

    def watch(self, stream_id: str, looks: Sequence[Look]) -> None:
        """Keeps the picture with each frame while somebody wants to see it."""
        long_side = max((look.long_side for look in looks), default=0)
        self._watched.pop(stream_id, None)
        if long_side:
            self._watched[stream_id] = long_side
        opened = self._sources.get(stream_id)
        if opened is not None and opened.waking is not None:
            opened.waking.show(long_side)

    def state(self, stream_id: str) -> ReadState:
        """How far reading the stream has come. A file is closed at its end, since its frames are in flight for long."""
        if stream_id in self._ends:
            return self._ends[stream_id]
        opened = self._sources[stream_id]
        source = opened.source
        dropped = tuple(sorted(opened.dropping.dropped.items())) if opened.dropping is not None else ()
        events = tuple(opened.telling.events()) if opened.telling is not None else ()
        size = (source.info.width, source.info.height)
        unread_bytes = opened.partial.unread_bytes if opened.partial is not None else 0
        state = ReadState(
            stream_id, source.ended, source.position, source.num_damaged, dropped, events, size, unread_bytes
        )
        if state.has_ended and stream_id not in self._epochs:
            self._ends[stream_id] = state
            del self._sources[stream_id]
            try:
                source.close()
            except Exception as error:  # noqa: BLE001 - a user's source may raise anything; what was read stands
                log.warning("close", stream=stream_id, error=sentence_of(error))
        return state

    def close(self, stream_id: str | None = None) -> None:
        """Closes one stream, or all."""
        for name in [*self._sources, *self._ends] if stream_id is None else [stream_id]:
            opened = self._sources.pop(name, None)
            self._ends.pop(name, None)
            self._newest.pop(name, None)
            self._watched.pop(name, None)
            self._epochs.pop(name, None)
            if opened is not None:
                opened.source.close()


def _with_picture(frame: Frame) -> Frame:
    """A frame with a picture to draw on; where its source gives none, what the model sees is enough."""
    if frame.info.picture is not None:
        return frame
    return replace(frame, info=replace(frame.info, picture=frame.info.fit.crop(frame.image)))
