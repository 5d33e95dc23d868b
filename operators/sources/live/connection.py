"""One connection to a camera, from its opening to its loss."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from time import monotonic, perf_counter
from typing import Protocol

import av
from av.codec.context import ThreadType
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from plantain.operators.decode.damage import decode
from plantain.operators.decode.deinterlace import Deinterlacer
from plantain.operators.errors import NoVideoError
from plantain.operators.sources.live.address import ACCESS, Kind
from plantain.operators.sources.live.catching_up import CatchingUp
from plantain.operators.sources.live.options import LiveOptions
from plantain.operators.sources.pace import Pace

# FFmpeg's log callback takes the GIL, has dead-locked, and would print addresses with their passwords.
av.logging.set_level(None)

# FFmpeg gives the last packet of a silent camera only with its first timeout and raises at the second, so Python's own
# timeout, which costs the GIL at each poll, steps in after that.
_BACKSTOP = 2.5
# HLS waits for segments in a loop of its own, which only Python's timeout ends.
_BACKSTOP_HLS = 1.0


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded picture, not yet converted.

    Attributes:
        frame: The decoder's.
        pts: Presentation time in units of the connection's time base; None where the camera gives none.
        is_keyframe: It needs no other picture.
        is_corrupt: The decoder reported damage in it.
        decode_s: Time spent on decoding it, seconds.
    """

    frame: VideoFrame
    pts: int | None
    is_keyframe: bool
    is_corrupt: bool = False
    decode_s: float = 0.0


class Connection(Protocol):
    """An open stream."""

    @property
    def codec(self) -> str:
        """What it is coded with."""
        ...

    @property
    def time_base(self) -> Fraction:
        """Seconds per unit of pts."""
        ...

    @property
    def fps(self) -> float | None:
        """Average rate that the stream claims; None where it claims none."""
        ...

    @property
    def is_endless(self) -> bool:
        """Whether an end means that it was lost; what has a length is over at its end."""
        ...

    @property
    def start_realtime_ns(self) -> int | None:
        """When pts 0 was captured by the camera's clock, ns since 1970 UTC; None while it has not said."""
        ...

    @property
    def num_damaged(self) -> int:
        """Packets that could not be decoded so far."""
        ...

    @property
    def num_skipped(self) -> int:
        """Packets that were passed over so far, to catch up."""
        ...

    def pictures(self) -> Iterator[Picture | None]:
        """Its pictures in display order until it is lost; None for a sign of life without a picture.

        Raises:
            OSError, ValueError, av.FFmpegError: If it was lost in another way than by its end.
        """
        ...

    def close(self) -> None:
        """Gives back the socket."""
        ...


Opener = Callable[[], Connection]


class AvConnection:
    """A stream opened by FFmpeg, with its own socket timeouts and nothing allowed that its kind does not need.

    Args:
        url: Where.
        kind: What it is.
        options: How.
        pace: Holds back pictures that are to be had before their time: HLS brings them by the segment, a recording as
            fast as it is read.

    Raises:
        NoVideoError: If there is no video in it.
        OSError, ValueError, av.FFmpegError: If it cannot be opened.
    """

    def __init__(self, url: str, kind: Kind, options: LiveOptions, pace: Pace) -> None:
        self._num_damaged = 0
        self._has_failed = False
        self.num_skipped = 0
        self._deinterlacer: Deinterlacer | None = None
        self._deinterlace = options.deinterlace
        access = ACCESS[kind]
        self._container: InputContainer = av.open(
            url,
            format=access.container or None,
            options=ffmpeg_options(kind, options),
            timeout=options.timeout_s * (_BACKSTOP_HLS if kind == "hls" else _BACKSTOP),
            metadata_errors="replace",
        )
        try:
            self._video = _best(self._container)
            context = self._video.codec_context
            # A camera's frames are due now: one decoder thread neither delays them nor competes with 1,000 others.
            context.thread_type = ThreadType.NONE
            context.thread_count = 1
            if options.keyframes_only:
                context.skip_frame = "NONKEY"
            self.codec = context.name
            self.time_base = Fraction(self._video.time_base or Fraction(1, 1000))
            rate = self._video.average_rate
            self.fps = float(rate) if rate else None
            # An RTSP server names the length of what it happens to play; on the web only a recording has one.
            self.is_endless = kind not in ("hls", "http") or self._container.duration is None
            self._pace = pace if kind == "hls" or not self.is_endless else None
            # What comes by the segment comes late; what is paced, too.
            self._catching_up = None if self._pace or options.policy == "block" else CatchingUp()
        except BaseException:
            self._container.close()
            raise

    @property
    def start_realtime_ns(self) -> int | None:
        """When pts 0 was captured by the camera's clock (RTCP), ns since 1970 UTC; None while it has not said."""
        start_us = self._container.start_time_realtime
        return start_us * 1000 if start_us else None

    @property
    def num_damaged(self) -> int:
        """Packets that could not be decoded so far."""
        return self._num_damaged

    def pictures(self) -> Generator[Picture | None]:
        """Its pictures until it is lost; None for a packet that completes none."""
        for packet in self._container.demux(self._video):
            if packet.size == 0:
                continue
            if self._is_passed_over(packet):
                self.num_skipped += 1
                yield None
                continue
            started = perf_counter()
            pictures = self._decoded(packet)
            decode_s = (perf_counter() - started) / max(1, len(pictures))
            if not pictures:
                yield None
            for picture in pictures:
                if self._pace and picture.pts is not None and self._pace.wait(picture.pts * self.time_base):
                    return
                yield replace(picture, decode_s=decode_s)

    def close(self) -> None:
        """Gives back the socket."""
        self._container.close()

    def _is_passed_over(self, packet: Packet[VideoStream]) -> bool:
        if self._catching_up is None or packet.pts is None:
            return False
        time_s = float(packet.pts * self.time_base)
        return self._catching_up.skips(time_s, monotonic(), is_keyframe=packet.is_keyframe)

    def _decoded(self, packet: Packet[VideoStream]) -> list[Picture]:
        try:
            frames = decode(self._video.codec_context, packet, has_failed=self._has_failed)
            self._has_failed = False
        except av.FFmpegError:
            self._num_damaged += 1
            self._has_failed = True
            return []
        pictures: list[Picture] = []
        for frame in frames:
            if self._deinterlace and self._deinterlacer is None and frame.interlaced_frame:
                self._deinterlacer = Deinterlacer()
            if self._deinterlacer is None:
                pictures.append(Picture(frame, frame.pts, bool(frame.key_frame), frame.is_corrupt))
            else:
                woven = self._deinterlacer.push(frame)
                pictures += [
                    Picture(done, pts, bool(done.key_frame), damaged) for done, pts, damaged in woven
                ]
        return pictures


def ffmpeg_options(kind: Kind, options: LiveOptions) -> dict[str, str]:
    """What FFmpeg is told when it opens a stream of this kind."""
    access = ACCESS[kind]
    timeout_us = str(round(options.timeout_s * 1e6))
    told = {"protocol_whitelist": access.protocols, "format_whitelist": access.formats, **access.options}
    match kind:
        case "rtsp" | "rtsps":
            # `stimeout`, which most tutorials name, is not an option any more and would be ignored.
            told |= {"rtsp_transport": options.transport, "timeout": timeout_us}
        case "http" | "hls" | "tcp":
            told |= {"timeout": timeout_us, "rw_timeout": timeout_us}
        case "udp":
            told["timeout"] = timeout_us
        case _:
            pass
    return told


def _best(container: InputContainer) -> VideoStream:
    """The video that a player shows; the others are not even received."""
    best = container.streams.best("video")
    if not isinstance(best, VideoStream):
        kinds = sorted({stream.type for stream in container.streams})
        raise NoVideoError(f"only {' and '.join(kinds)}" if kinds else "no streams")
    if best.codec_context is None or not best.codec_context.is_decoder:
        raise NoVideoError("video coded in a way that this build cannot decode")
    for other in container.streams:
        if other.index != best.index:
            other.discard = Discard.all
    return best
