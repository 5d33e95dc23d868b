"""How a live stream's connections are opened, by the kind of its address."""

from __future__ import annotations

import threading
from dataclasses import replace

from plantain.operators.decode import VideoReader
from plantain.operators.errors import UsageError
from plantain.operators.redaction import shown
from plantain.operators.sources.clock import Clock
from plantain.operators.sources.live.address import kind_of
from plantain.operators.sources.live.connection import AvConnection, Connection
from plantain.operators.sources.live.guard import GuardedConnection
from plantain.operators.sources.live.options import LiveOptions
from plantain.operators.sources.live.realtime import RealtimeFile
from plantain.operators.sources.pace import Pace
from plantain.operators.streams import StreamInfo, StreamSpec


class Opening:
    """Opens one connection after the other.

    Args:
        spec: Of the stream.
        options: How.
        clock: Sets the pace of what is to be had before its time.
        stop: Ends the waiting for that.

    Attributes:
        kind: Of the address.

    Raises:
        UsageError: If the address is no camera's.
    """

    def __init__(self, spec: StreamSpec, options: LiveOptions, clock: Clock, stop: threading.Event) -> None:
        kind = kind_of(spec.url, options.realtime)
        if kind is None:
            raise UsageError(
                f"stream '{spec.stream_id}': '{shown(spec.url)}' is no camera; give an rtsp://, http:// or udp:// "
                "address or /dev/video0, or the option realtime for a file"
            )
        self.kind = kind
        self._spec, self._options, self._clock, self._stop = spec, options, clock, stop

    def __call__(self) -> Connection:
        """A further connection.

        Raises:
            NoVideoError: If there is no video in it.
            OSError, ValueError, av.FFmpegError: If it cannot be opened.
        """
        options, url = self._options, self._spec.url
        pace = Pace(self._clock, self._stop)
        if self.kind == "realtime":
            return RealtimeFile(url, options.loop, options.deinterlace, pace)
        connect = GuardedConnection if options.hosts else AvConnection
        return connect(url, self.kind, options, pace)

    def info(self) -> StreamInfo:
        """What is known of the stream before it was opened: of a camera nothing.

        Raises:
            SourceError: If it is a file that cannot be opened.
        """
        unknown = StreamInfo(self._spec.stream_id, 0, 0, None, None)
        if self.kind != "realtime":
            return unknown
        reader = VideoReader(self._spec.url)
        try:
            video = reader.video
            rate = float(video.average_rate) if video.average_rate else None
            return replace(unknown, width=video.width, height=video.height, fps=rate)
        finally:
            reader.close()
