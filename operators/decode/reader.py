"""Demux and decode: the pictures of a video in display order, counted, whatever is broken in the file."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from operators.decode.container import FILE_FORMATS, open_video
from operators.decode.deinterlace import Deinterlacer
from operators.decode.index import PacketIndex, scan
from operators.errors import SourceError, redact

# Reading goes on after a failed read, as a hole in a file is not its end. This many in a row are its end.
MAX_FAILED_READS = 64


@dataclass(frozen=True, slots=True)
class Decoded:
    """One decoded picture, not yet converted.

    Attributes:
        frame: The decoder's picture; its own pts may differ (deinterlaced), use `pts`.
        index: Position in the stream in display order, from 0.
        pts: Presentation time in units of the stream's time base; None where the container gives none.
        is_corrupt: The decoder reported damage in it.
        decode_s: Time spent on getting it, seconds.
    """

    frame: VideoFrame
    index: int
    pts: int | None
    is_corrupt: bool
    decode_s: float


class VideoReader:
    """The decoded pictures of one video stream, in display order.

    A packet that cannot be decoded is counted and passed over. Interlaced pictures are deinterlaced, one for one.

    Args:
        url: As for `open_video`.
        stream: Index of the stream in the file; None for the one that a player shows.
        num_threads: Decoder threads. With more than one, pictures are decoded in parallel, and come out that many
            pictures later. Which pixels stand in for damaged ones depends on it; nothing else does.
        deinterlace: Whether to.
        protocols, formats: As for `open_video`.

    Raises:
        SourceError: As `open_video` does.
    """

    def __init__(
        self,
        url: str,
        stream: int | None = None,
        *,
        num_threads: int = 1,
        deinterlace: bool = True,
        protocols: str = "",
        formats: str = FILE_FORMATS,
    ) -> None:
        self._url = url
        self._stream_index = stream
        self._limits = {"protocols": protocols, "formats": formats}
        self._num_threads = max(1, num_threads)
        self._deinterlace = deinterlace
        self.num_damaged = 0
        self._open(self._num_threads)

    @property
    def video(self) -> VideoStream:
        """The stream, for what its header says."""
        return self._video

    @property
    def time_base(self) -> Fraction:
        """Seconds per unit of pts."""
        base = self._video.time_base
        return Fraction(1, 1000) if base is None else Fraction(base)

    def start_at(self, frame_index: int, pts: int | None) -> PacketIndex | None:
        """Makes `frame_index` the next picture, exactly as if all before it had been decoded.

        Seeks to the keyframe before it where the index of packets proves that this frame has this pts, and decodes
        from the start where it does not (damage before it, no pts, an edit list that hides frames).

        Returns:
            The index, where it was trustworthy.

        Raises:
            SourceError: If the file has become shorter than `frame_index`.
        """
        index = None
        if pts is not None and frame_index > 0:
            index = scan(self._url, self._stream_index, protocols=self._limits["protocols"], formats=self._limits["formats"])
            if not (index.is_trustworthy and frame_index < len(index.pts) and index.pts[frame_index] == pts):
                index = None
        if index is not None and self._seek(index, frame_index):
            return index
        self.close()
        self.num_damaged = 0
        self._open(self._num_threads)
        for _ in range(frame_index):
            if self.next() is None:
                raise SourceError(
                    f"'{redact(self._url)}' ended before frame {frame_index}, where an earlier run had stopped; "
                    "if the file was replaced, start again without resuming"
                )
        return None

    def next(self) -> Decoded | None:
        """The next picture; None at the end."""
        while not self._ready:
            picture = next(self._pictures, None)
            if picture is None:
                return None
            self._ready.append(picture)
        return self._ready.popleft()

    def close(self) -> None:
        """Gives back the file."""
        self._pictures.close()
        self._container.close()

    def _open(self, num_threads: int) -> None:
        """Opens the file at its beginning."""
        self._container, self._video = open_video(self._url, self._stream_index, **self._limits)
        # Measured on the damaged clips: SLICE threads forget to report damage (1 corrupt frame instead of 31), FRAME
        # threads lose the last pictures of a truncated file, which `_pictures_of` gets back.
        self._video.thread_type = "FRAME" if num_threads > 1 else "NONE"
        self._video.codec_context.thread_count = num_threads
        self._next_index = 0
        self._ready: deque[Decoded] = deque()
        self._pictures = self._pictures_from(0)

    def _seek(self, index: PacketIndex, frame_index: int) -> bool:
        """Goes to `frame_index` by the index; False if the file does not hold what the index promised."""
        # yadif looks one picture back, so the one before an interlaced picture is decoded too.
        is_interlaced = self._deinterlace and self._video.codec_context.field_order > 1
        keyframe = index.keyframe_before(int(index.pts[max(0, frame_index - is_interlaced)]))
        target = int(index.pts[frame_index])
        while keyframe is not None and keyframe >= 0:
            offset = min(int(index.keyframe_pts[keyframe]), int(index.keyframe_dts[keyframe]))
            ...
        return False
