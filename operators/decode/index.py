"""What the packets alone tell: where every frame is, and where decoding can begin."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from plantain.operators.decode.container import FILE_FORMATS, is_unreadable, open_video
from plantain.operators.decode.wrap import Wrap
from plantain.operators.errors import SourceError
from plantain.operators.redaction import shown

# Their decoders show a picture that others refer to when the next one of its kind comes, whatever times say.
_SHOWN_BY_ORDER = frozenset(("mpeg1video", "mpeg2video", "mpeg4"))


@dataclass(frozen=True, slots=True)
class Range:
    """A part of a file that can be decoded apart from the rest.

    Attributes:
        first, pts: Index and presentation time of its first frame, a keyframe.
        end, end_pts: Of the frame after its last; None for the last range, which goes to the end of the file.
    """

    first: int
    pts: int
    end: int | None
    end_pts: int | None


@dataclass(frozen=True, slots=True)
class PacketIndex:
    """The frames of a file by presentation time, from its packets, without decoding.

    Attributes:
        pts: (N,) int64, sorted: frame k of an undamaged file has `pts[k]`.
        keyframe_pts, keyframe_dts: (K,) int64, in the file's order; decoding can begin at each of them.
        keyframe_pos: (K,) int64, where they begin in the file, bytes; -1 where the container does not say.
        doubt: Why `pts[k]` may not be the time of frame k; empty where there is no reason to doubt.
    """

    pts: NDArray[np.int64]
    keyframe_pts: NDArray[np.int64]
    keyframe_dts: NDArray[np.int64]
    keyframe_pos: NDArray[np.int64]
    doubt: str = ""

    @property
    def is_trustworthy(self) -> bool:
        """Whether frame k of a sequential decode has `pts[k]`, as far as packets can tell."""
        return not self.doubt

    def keyframe_before(self, pts: int) -> int | None:
        """Number of the keyframe from which the frame at `pts` is decoded; None where there is none.

        Pictures that follow a keyframe in the file but precede it on the screen may need pictures before it:
        their pts is smaller than the keyframe's, so they belong to the keyframe before.
        """
        found = bisect_right(self.keyframe_pts, pts) - 1
        return found if found >= 0 else None

    def has_keyframe(self, pts: int, pos: int | None) -> bool:
        """Whether a keyframe of this time begins there: files without an index of their own are sought by guess."""
        number = bisect_left(self.keyframe_pts, pts)
        if number == len(self.keyframe_pts) or int(self.keyframe_pts[number]) != pts:
            return False
        return int(self.keyframe_pos[number]) in (-1, -1 if pos is None else pos)

    def ranges(self, num: int) -> list[Range]:
        """The file cut at keyframes into at most `num` parts of about the same number of frames.

        One part for a file whose index is not trustworthy: there only counting from the start is right.
        """
        total = len(self.pts)
        if total == 0:
            return []
        if not self.is_trustworthy:
            return [Range(0, int(self.pts[0]), None, None)]
        starts = np.searchsorted(self.pts, self.keyframe_pts)
        wanted = np.linspace(0, total, max(1, num), endpoint=False)
        cuts = sorted({0} | {int(starts[np.abs(starts - cut).argmin()]) for cut in wanted[1:]})
        starts_at = [(cut, int(self.pts[cut])) for cut in cuts]
        return [
            Range(*start, *end) for start, end in zip(starts_at, [*starts_at[1:], (None, None)], strict=True)
        ]


def is_orderless(container: InputContainer, video: VideoStream) -> bool:
    """Whether packets may say when they are decoded and not when they are shown: H.264 with B-frames in AVI and MXF.

    Pictures then have the times of the packets, in order, as players show them; FFmpeg gives each its own packet's. MXF
    says it nevertheless where one of them `tells_order`.
    """
    context = video.codec_context
    return (
        container.format.name in ("avi", "mxf")
        and context.name in ("h264", "hevc")
        and bool(context.has_b_frames)
    )


def tells_order(container: InputContainer, pts: int, last_pts: int | None) -> bool:
    """Whether a packet of a container that may be orderless shows that it is not: it is shown before the last one."""
    return container.format.name == "mxf" and last_pts is not None and pts < last_pts


def scan(
    url: str, stream: int | None = None, *, protocols: str = "", formats: str = FILE_FORMATS
) -> PacketIndex:
    """The index of a video stream, by reading all of its packets (about 2 ms for each 100 of a local mp4).

    The arguments are those of `open_video`.

    Raises:
        SourceError: As `open_video` does.
    """
    container, video = open_video(url, stream, protocols=protocols, formats=formats)
    pts: list[int] = []
    keyframes: list[tuple[int, int, int]] = []
    lacks_order = is_orderless(container, video)
    doubt = ""
    wrap = Wrap(container)
    last_dts: int | None = None
    held: int | None = None  # time of the last picture that others refer to, where some do not
    try:
        for packet in container.demux(video):
            if packet.size == 0:
                continue
            if wrap.put_right(packet):
                doubt = doubt or "a clock that FFmpeg takes for full"  # it would seek by its own time
            if packet.pts is None:
                doubt = doubt or "packets without pts"
                continue
            if packet.dts is not None:
                if last_dts is not None and packet.dts < last_dts:
                    doubt = doubt or "time that goes back"
                last_dts = packet.dts
                if video.codec_context.name in _SHOWN_BY_ORDER:
                    if packet.pts > packet.dts:
                        held = packet.pts
                    elif held is not None and packet.pts > held:
                        doubt = doubt or "a picture is missing that others refer to"
            lacks_order = lacks_order and not tells_order(container, packet.pts, pts[-1] if pts else None)
            if packet.is_discard:
                doubt = doubt or "an edit list that hides frames"
            if packet.is_corrupt:
                doubt = doubt or "damaged packets"
            if packet.is_keyframe:
                pos = -1 if packet.pos is None else packet.pos
                keyframes.append((packet.pts, packet.pts if packet.dts is None else packet.dts, pos))
            elif not pts:
                doubt = doubt or "it does not begin with a keyframe"
            pts.append(packet.pts)
    except av.FFmpegError as error:
        if is_unreadable(url, error):
            raise SourceError(f"'{shown(url)}' broke off while it was looked through: try again") from error
        doubt = doubt or "damaged packets"
    finally:
        container.close()
    times = np.sort(np.array(pts, np.int64))
    key_times, key_dts, key_pos = np.array(keyframes, np.int64).reshape(-1, 3).T
    if not doubt:
        if lacks_order:
            doubt = "a container that does not say in which order pictures are shown"
        elif len(times) == 0:
            doubt = "no packets"
        elif (np.diff(times) == 0).any():
            doubt = "two packets with the same pts"
        elif times[0] != key_times[0]:
            doubt = "pictures before the first keyframe"
        elif (np.diff(key_times) <= 0).any():
            doubt = "keyframes out of order"
    return PacketIndex(times, key_times, key_dts, key_pos, doubt)
