"""Demux and decode: the pictures of a video in display order, counted, whatever is broken in the file."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain

import av
from av.codec.context import ThreadType
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from plantain.operators.decode.container import FILE_FORMATS
from plantain.operators.decode.damage import decode
from plantain.operators.decode.deinterlace import Deinterlacer
from plantain.operators.decode.index import PacketIndex, is_orderless, scan, tells_order
from plantain.operators.decode.line import Line
from plantain.operators.decode.packets import Packets
from plantain.operators.errors import SourceError
from plantain.operators.redaction import shown

_DEFAULT_FPS = 25
# So many packets that cannot be decoded, or that give neither pictures nor errors (a decoder's own delay is shorter),
# in so much of a file, are no damage here and there.
_MIN_UNDECODED = 3
_MIN_SILENT = 64
_MIN_SHARE = 0.1
_NO_TIMESTAMPS = 0x0080  # AVFMT_NOTIMESTAMPS: a bare elementary stream


@dataclass(frozen=True, slots=True)
class Decoded:
    """One decoded picture, not yet converted.

    Attributes:
        frame: The decoder's picture; its own pts may differ (deinterlaced), use `pts`.
        index: Position in the stream in display order, from 0.
        pts: Presentation time in units of the stream's time base; None where the container gives none.
        is_corrupt: The decoder reported damage in it.
        decode_s: Time spent on getting it, seconds.
        part: How often time had gone back or jumped before it, as where recordings were joined; 0 in a whole one.
        time: Seconds since frame 0, on a line that goes on where time goes back or jumps (`Line`).
        shift: What puts its presentation time on that line, seconds.
    """

    frame: VideoFrame
    index: int
    pts: int | None
    is_corrupt: bool
    decode_s: float
    part: int
    time: Fraction
    shift: Fraction = Fraction(0)


class VideoReader:
    """The decoded pictures of one video stream, in display order.

    A packet that cannot be decoded is counted and passed over. Interlaced pictures are deinterlaced, one for
    one.

    Args:
        url: As for `open_video`.
        stream: Index of the stream in the file; None for the one that a player shows.
        num_threads: Decoder threads. With more than one, several pictures are decoded at once. What stands in
            for damaged pixels depends on it; nothing else does.
        deinterlace: Whether to.
        protocols, formats: As for `open_video`.

    Attributes:
        video: The stream, for what its header says.
        first_pts: Presentation time of frame 0; None before it was read and where the container gives none.

    Raises:
        SourceError: As `open_video` does.
        SourceError: Also from `next`, if the file or its server cannot be read any further.
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
        self._stream = stream
        self._protocols = protocols
        self._formats = formats
        self._num_threads = num_threads
        self._deinterlace = deinterlace
        self.first_pts: int | None
        self._waiting: Decoded | None
        self._pictures: Generator[tuple[VideoFrame, int | None, bool]]
        self._open()

    @property
    def time_base(self) -> Fraction:
        """Seconds per unit of pts."""
        base = self.video.time_base
        return Fraction(1, 1000) if base is None else Fraction(base)

    @property
    def metadata(self) -> dict[str, str]:
        """What the container says about itself."""
        return self._packets.container.metadata

    @property
    def num_damaged(self) -> int:
        """Packets that could not be read or decoded so far."""
        return self._packets.num_damaged + self._num_undecoded

    def start_at(self, frame_index: int, pts: int | None, index: PacketIndex | None = None) -> None:
        """Makes `frame_index` the next picture, exactly as if all before it had been decoded.

        Seeks to the keyframe before it where the index of packets proves that this frame has this pts, and
        decodes from the start where it does not (damage before it, no pts, an edit list that hides frames).

        Args:
            frame_index: Position in the stream, from 0.
            pts: What an earlier reader said of this frame; None where unknown.
            index: Of this file's stream, where the caller has made it already.

        Raises:
            SourceError: If the file has become shorter than `frame_index`.
        """
        if frame_index > 0 and pts is not None:
            index = index or self._scan()
            is_known = frame_index < len(index.pts) and int(index.pts[frame_index]) == pts
            if index.is_trustworthy and is_known and self._seek(index, frame_index):
                self.first_pts = int(index.pts[0])
                return
        self.close()
        self._open()
        for _ in range(frame_index):
            if self.next() is None:
                raise SourceError(
                    f"'{shown(self._url)}' ended before frame {frame_index}, where an earlier run had "
                    "stopped; if the file was replaced, start again without resuming"
                )

    def next(self) -> Decoded | None:
        """The next picture; None at the end."""
        if self._waiting is not None:
            picture, self._waiting = self._waiting, None
            return picture
        started = time.perf_counter()
        found = None if self._next_index == self._end else next(self._pictures, None)
        if found is None:
            return None
        frame, pts, is_corrupt = found
        if self._next_index == 0:
            self.first_pts = pts
        self._next_index += 1
        own = None if pts is None else pts * self.time_base
        part, moment = self._line.place(own)
        shift = Fraction(0) if own is None else moment + self._line.start - own
        decode_s = time.perf_counter() - started
        return Decoded(frame, self._next_index - 1, pts, is_corrupt, decode_s, part, moment, shift)

    def following(self) -> int | None:
        """Index of a video stream that begins behind the end of this one; see `Packets.following`."""
        return self._packets.following()

    def unread_bytes(self) -> int:
        """How much of the file, which was read to its end, is not among its pictures.

        It is a further recording, which FFmpeg does not go on to, or a tenth of the file and more in which packets
        cannot be decoded, as where the codec changes.
        """
        end = self._packets.last_pos
        undecoded = max(self._undecoded_bytes, self._stretch())
        return max(undecoded if undecoded > _MIN_SHARE * end else 0, self._packets.unread_bytes())

    def close(self) -> None:
        """Gives back the file."""
        self._pictures.close()
        self._packets.close()

    def _open(self) -> None:
        """Opens the file at its beginning."""
        self._packets = Packets(self._url, self._stream, protocols=self._protocols, formats=self._formats)
        self.video = self._packets.video
        # Measured on damaged clips: SLICE threads forget to report damage (1 corrupt frame instead of 31);
        # FRAME threads lose the last pictures of a truncated file, and one beside each that cannot be decoded.
        has_pts = not self._packets.container.format.flags & _NO_TIMESTAMPS
        self._is_parallel = self._num_threads > 1 and has_pts
        self.video.codec_context.thread_type = ThreadType.FRAME if self._is_parallel else ThreadType.NONE
        self.video.codec_context.thread_count = self._num_threads if self._is_parallel else 1
        self.first_pts = None
        self._num_undecoded = self._num_undecoded_last = self._num_silent = 0
        self._undecoded_bytes = self._shown_pos = 0
        self._next_index = 0
        self._end: int | None = None
        self._line = Line(1 / Fraction(self.video.average_rate or _DEFAULT_FPS))
        self._waiting = None
        self._pictures = self._deinterlaced(self._frames(self._packets.read()))

    def _scan(self) -> PacketIndex:
        return scan(self._url, self._stream, protocols=self._protocols, formats=self._formats)

    def _seek(self, index: PacketIndex, frame_index: int) -> bool:
        """Makes `frame_index` the next picture by the index; False if the file is not as it says."""
        # yadif looks one picture back, so the one before is decoded too; whether pictures are interlaced, headers do
        # not always know.
        keyframe = index.keyframe_before(int(index.pts[max(0, frame_index - self._deinterlace)]))
        if keyframe is None:
            return False
        key_pts = int(index.keyframe_pts[keyframe])
        self._pictures.close()
        try:
            # mp4 seeks by dts, Matroska by pts: the smaller one lands on this keyframe or on one before it.
            self._packets.container.seek(min(key_pts, int(index.keyframe_dts[keyframe])), stream=self.video)
        except av.FFmpegError:
            return False
        packets = self._packets.read()
        first = next(packets)
        if first is None or first.pts is None or first.pts > key_pts or not first.is_keyframe:
            return False
        if not index.has_keyframe(first.pts, first.pos):
            return False
        self._pictures = self._deinterlaced(self._frames(chain([first], packets)))
        target = int(index.pts[frame_index])
        while (picture := self.next()) is not None and picture.pts is not None:
            if picture.pts >= target:
                break
        if picture is None or picture.pts != target:
            return False
        self._packets.num_damaged = self._num_undecoded = 0  # a sequential decode up to here saw none
        self._line = Line(1 / Fraction(self.video.average_rate or _DEFAULT_FPS))
        self._line.pass_over(index.pts[:frame_index], self.time_base)
        own = target * self.time_base
        part, moment = self._line.place(own)
        shift = moment + self._line.start - own
        self._waiting = replace(picture, index=frame_index, part=part, time=moment, shift=shift)
        self._next_index = frame_index + 1
        self._end = len(index.pts)  # behind a seek a damaged file may show more than all its packets do
        return True

    def _frames(self, packets: Iterator[Packet[VideoStream] | None]) -> Generator[VideoFrame]:
        """What the decoder makes of the packets; None among them empties it."""
        sent = shown = dts = None
        num_shown = 0
        waiting: deque[int] | None = deque() if is_orderless(self._packets.container, self.video) else None
        for packet in packets:
            if packet is not None and packet.dts is not None:
                if dts is not None and packet.dts < dts:
                    sent = None  # another recording begins
                dts = packet.dts
            if packet is not None and packet.pts is not None and not packet.is_discard:
                self._num_silent += 1
                sent = packet.pts if sent is None else max(sent, packet.pts)
                if tells_order(self._packets.container, packet.pts, sent):
                    waiting = None
                if waiting is not None:
                    waiting.append(packet.pts)
            try:
                frames = decode(self.video.codec_context, packet, has_failed=self._num_undecoded_last > 0)
            except av.FFmpegError:
                if self._is_parallel:  # with the damaged picture goes another one, that a thread was at
                    yield from self._again_without_threads(shown, num_shown)
                    return
                self._num_undecoded += 1
                self._num_undecoded_last += 1
                continue
            if frames and packet is not None:
                self._undecoded_bytes = max(self._undecoded_bytes, self._stretch())
                self._num_undecoded_last = self._num_silent = 0
                self._shown_pos = self._packets.last_pos
            for frame in frames:
                if waiting:
                    frame.pts = waiting.popleft()
                shown = frame.pts
                num_shown += 1
                yield frame
        if self._is_parallel and shown is not None and sent is not None and shown < sent:
            yield from self._again_without_threads(shown, num_shown)

    def _stretch(self) -> int:
        """Bytes since a packet that gave a picture, if those since then cannot be decoded."""
        is_silent = (
            self._num_silent >= _MIN_SILENT and self._shown_pos > 0
        )  # before the first keyframe all are
        is_foreign = is_silent or self._num_undecoded_last >= _MIN_UNDECODED
        return self._packets.last_pos - self._shown_pos if is_foreign else 0

    def _again_without_threads(self, shown: int | None, num_shown: int) -> Generator[VideoFrame]:
        """The frames after the one at `shown`, the last of so many, decoded again."""
        tail = VideoReader(
            self._url, self._stream, deinterlace=False, protocols=self._protocols, formats=self._formats
        )
        try:
            index = tail._scan()
            at = len(index.pts) if shown is None else bisect_left(index.pts, shown)
            if index.is_trustworthy and at < len(index.pts) and tail._seek(index, at):
                num_shown = 1
            else:  # not sought, so that all frames from the first were counted
                tail.start_at(0, None)
            while (picture := tail.next()) is not None:
                num_shown -= 1
                if num_shown < 0:
                    yield picture.frame
            self._num_undecoded_last = self._num_silent = 0
            self._undecoded_bytes = max(tail._undecoded_bytes, tail._stretch())
            self._packets.last_pos = max(self._packets.last_pos, tail._packets.last_pos)
            self._num_undecoded = max(self.num_damaged, tail.num_damaged) - self._packets.num_damaged
        finally:
            tail.close()

    def _deinterlaced(self, frames: Generator[VideoFrame]) -> Generator[tuple[VideoFrame, int | None, bool]]:
        """Each frame as a picture with its pts and whether it is corrupt."""
        last: VideoFrame | None = None
        for frame in frames:
            if self._deinterlace and frame.interlaced_frame:
                yield from self._woven(last, frame, frames)
                return
            last = frame
            yield frame, frame.pts, frame.is_corrupt

    def _woven(
        self, last: VideoFrame | None, first: VideoFrame, rest: Generator[VideoFrame]
    ) -> Generator[tuple[VideoFrame, int | None, bool]]:
        """Pictures from the first interlaced one on; `last`, the one before it, was given out already."""
        deinterlacer = Deinterlacer()
        given_out = 0
        for frame in chain([first] if last is None else [last, first], rest):
            for picture in deinterlacer.push(frame):
                given_out += 1
                if last is None or given_out > 1:
                    yield picture
        yield from deinterlacer.flush()
