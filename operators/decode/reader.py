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
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from plantain.operators.decode.container import FILE_FORMATS, is_unreadable, open_video, version_of
from plantain.operators.decode.deinterlace import Deinterlacer
from plantain.operators.decode.index import PacketIndex, is_orderless, scan
from plantain.operators.decode.line import Line
from plantain.operators.errors import SourceError
from plantain.operators.redaction import shown

# Reading goes on after a failed read, as a hole in a file is not its end. This many in a row are its end.
MAX_FAILED_READS = 64

_DEFAULT_FPS = 25
# Containers that still play when their bytes are put one behind the other.
_JOINABLE = frozenset(("mpegts", "mpeg"))
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
        part: How often time had gone back before it, as it does where recordings were joined; 0 in a whole one.
        time: Seconds since frame 0, on a line that goes on where time goes back (`Line`).
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
        num_damaged: Packets that could not be read or decoded so far.

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
        self.num_damaged: int
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
        return self._container.metadata

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
        """Index of a video stream that begins behind the end of this one, which was read to there; None if none does.

        So it is where transport streams of two cameras were joined, whose packets have different numbers.
        """
        if self._container.format.name not in _JOINABLE or len(self._container.streams.video) < 2:
            return None
        container, _ = open_video(self._url, self._stream, protocols=self._protocols, formats=self._formats)
        with container:
            waiting = {video.index for video in container.streams.video} - {self.video.index}
            for packet in container.demux(*(container.streams[index] for index in waiting)):
                if packet.pos is not None and packet.size and packet.stream_index in waiting:
                    if packet.pos > self._last_pos:
                        return packet.stream_index
                    waiting.discard(packet.stream_index)
                if not waiting:
                    break
        return None

    def close(self) -> None:
        """Gives back the file."""
        self._pictures.close()
        self._container.close()
        if self._again is not None:
            self._again.close()

    def _open(self) -> None:
        """Opens the file at its beginning."""
        self._container, self.video = open_video(
            self._url, self._stream, protocols=self._protocols, formats=self._formats
        )
        self._again: InputContainer | None = None
        _alone(self._container, self.video)
        # Measured on damaged clips: SLICE threads forget to report damage (1 corrupt frame instead of 31);
        # FRAME threads lose the last pictures of a truncated file, and one beside each that cannot be decoded.
        has_pts = not self._container.format.flags & _NO_TIMESTAMPS
        self._is_parallel = self._num_threads > 1 and has_pts
        self.video.codec_context.thread_type = ThreadType.FRAME if self._is_parallel else ThreadType.NONE
        self.video.codec_context.thread_count = self._num_threads if self._is_parallel else 1
        self.first_pts = None
        self.num_damaged = 0
        self._next_index = 0
        self._last_pos = -1
        self._end: int | None = None
        self._line = Line(1 / Fraction(self.video.average_rate or _DEFAULT_FPS))
        self._waiting = None
        self._pictures = self._deinterlaced(self._frames(self._packets()))

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
            self._container.seek(min(key_pts, int(index.keyframe_dts[keyframe])), stream=self.video)
        except av.FFmpegError:
            return False
        packets = self._packets()
        first = next(packets)
        if first is None or first.pts is None or first.pts > key_pts or not first.is_keyframe:
            return False
        self._pictures = self._deinterlaced(self._frames(chain([first], packets)))
        target = int(index.pts[frame_index])
        while (picture := self.next()) is not None and picture.pts is not None:
            if picture.pts >= target:
                break
        if picture is None or picture.pts != target:
            return False
        self.num_damaged = 0  # a sequential decode up to here saw none
        self._line = Line(1 / Fraction(self.video.average_rate or _DEFAULT_FPS))
        self._line.place(int(index.pts[0]) * self.time_base)
        part, moment = self._line.place(target * self.time_base) if frame_index else (0, Fraction(0))
        self._waiting = replace(picture, index=frame_index, part=part, time=moment, shift=Fraction(0))
        self._next_index = frame_index + 1
        self._end = len(index.pts)  # behind a seek a damaged file may show more than all its packets do
        return True

    def _packets(self) -> Generator[Packet[VideoStream] | None]:
        """The stream's packets from where the container stands, then None.

        A file that broke off where another reading of it does not was not damaged: its disk was away.
        """
        container, video = self._container, self.video
        waiting: Iterator[Packet[VideoStream]] = iter(())
        num_failed = 0
        last: tuple[int | None, int | None] | None = None
        readable: tuple[int, ...] | None = None  # the file as it was when it could be read to its end
        while num_failed < MAX_FAILED_READS:
            try:
                for packet in chain(waiting, container.demux(video)):
                    num_failed = 0
                    if packet.size > 0:
                        last = packet.pos, packet.dts
                        self._last_pos = max(self._last_pos, packet.pos or -1)
                        yield packet
                break
            except av.FFmpegError as error:
                version = version_of(self._url)
                is_known = version is not None and version == readable
                # Looked at once more before it is taken for the end: the disk may have gone behind the damage.
                if (not is_known or num_failed + 1 == MAX_FAILED_READS) and is_unreadable(self._url, error):
                    raise SourceError(
                        f"'{shown(self._url)}' broke off while it was read ({error.strerror}), also when asked again; "
                        "what was read is stored: run the same command again to go on"
                    ) from error
                if isinstance(error, OSError) and not is_known:
                    if (again := self._behind(last)) is not None:
                        container, video, waiting = again
                        continue
                    readable = version
                num_failed += 1
                self.num_damaged += 1
        yield None

    def _behind(
        self, last: tuple[int | None, int | None] | None
    ) -> tuple[InputContainer, VideoStream, Iterator[Packet[VideoStream]]] | None:
        """The file opened anew behind a packet, and the next one of it; None if it breaks off there, too.

        Args:
            last: Position in the file and dts of that packet; None for the beginning.
        """
        try:
            container, video = open_video(
                self._url, self.video.index, protocols=self._protocols, formats=self._formats
            )
        except SourceError:
            return None
        _alone(container, video)
        try:
            packets = container.demux(video)
            is_there = last is None or any((packet.pos, packet.dts) == last for packet in packets)
            following = next(packets, None) if is_there else None
        except av.FFmpegError:
            following = None
        if following is None:
            container.close()
            return None
        if self._again is not None:
            self._again.close()
        self._again = container
        return container, video, iter([following])

    def _frames(self, packets: Iterator[Packet[VideoStream] | None]) -> Generator[VideoFrame]:
        """What the decoder makes of the packets; None among them empties it."""
        sent = shown = dts = None
        num_shown = 0
        waiting: deque[int] | None = deque() if is_orderless(self._container, self.video) else None
        for packet in packets:
            if packet is not None and packet.dts is not None:
                if dts is not None and packet.dts < dts:
                    sent = None  # another recording begins
                dts = packet.dts
            if packet is not None and packet.pts is not None and not packet.is_discard:
                sent = packet.pts if sent is None else max(sent, packet.pts)
                if waiting is not None:
                    waiting.append(packet.pts)
            try:
                frames = self.video.codec_context.decode(packet)
            except av.FFmpegError:
                if self._is_parallel:  # with the damaged picture goes another one, that a thread was at
                    yield from self._again_without_threads(shown, num_shown)
                    return
                self.num_damaged += 1
                continue
            for frame in frames:
                if waiting:
                    frame.pts = waiting.popleft()
                shown = frame.pts
                num_shown += 1
                yield frame
        if self._is_parallel and shown is not None and sent is not None and shown < sent:
            yield from self._again_without_threads(shown, num_shown)

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
            self.num_damaged = max(self.num_damaged, tail.num_damaged)
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


def _alone(container: InputContainer, video: VideoStream) -> None:
    """Of other streams nothing is even read from the disk."""
    for other in container.streams:
        if other.index != video.index:
            other.discard = Discard.all
