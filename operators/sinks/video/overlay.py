"""Annotated video: every stream as one mp4 that shows what was found in it.

ROOT/overlay/NAME.mp4                       finished videos; nothing else is ever there
ROOT/overlay/NAME (2).mp4                   what follows where its pictures have another size from then on
ROOT/.plantain/overlay/NAME/part-*.mp4      finished segments
ROOT/.plantain/overlay/NAME/part-*.writing  segments being written
"""

from __future__ import annotations

import contextlib
import glob
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

import av
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from plantain.operators.errors import SinkError
from plantain.operators.redaction import redact, shown
from plantain.operators.render.drawing import draw
from plantain.operators.render.layout import Layout, has_tile, layout_for
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.rows import Rows
from plantain.operators.sinks.store import storage_error, sync, sync_folder
from plantain.operators.types import Prediction, Result

# A frame of 1706x754 on one core, with the conversion to YUV: ultrafast 10 ms, veryfast 20 ms and half the
# bytes, medium 57 ms and no fewer bytes at this quality.
PRESET = "veryfast"
CRF = "22"
# An encoder takes 20 MB: so many are open at a time, whatever the number of streams in flight; a stream that comes
# again goes on in a further piece.
MAX_ENCODERS = 8
# Without a pts, frames are shown at this rate.
DEFAULT_FPS = Fraction(25)
_CLOCK = Fraction(1, 90_000)
_BT709 = 1


@dataclass(slots=True)
class _Piece:
    """A segment that is being written.

    Attributes:
        path: Where.
        container, stream: FFmpeg's side of it.
        first, last: Times of its first and its latest frame, in units of the clock.
    """

    path: Path
    container: OutputContainer
    stream: VideoStream
    first: int
    last: int


@dataclass(slots=True)
class _Life:
    """A connection to a camera, whose times begin anew with each.

    Attributes:
        epoch: Which.
        begin_s: Where on the video's line its time 0 is, seconds.
        latest_s: Of its latest frame on that line, seconds.
    """

    epoch: int
    begin_s: Fraction
    latest_s: Fraction


class OverlaySink:
    """Draws results on the frames and makes H.264 videos of them.

    Frames keep their times, so a video has the pace and the gaps of its stream; a camera's are those of its own clock,
    each connection put where it began by the wall's. Needs the display picture in `FrameInfo.picture`; without it,
    answers are drawn on a plain ground.

    Args:
        root: The output folder, on a local disk.
        fps: Frames a second of the video, whatever the stream's times are; None to keep them.

    Raises:
        SinkError: If `root` is no local folder.
    """

    def __init__(self, root: str, fps: float | None = None) -> None:
        if "://" in root and not root.startswith("file://"):
            raise SinkError(f"overlay videos need a local folder, not {shown(root)}; leave --overlay out")
        folder = Path(root.removeprefix("file://"))
        self._videos = folder / "overlay"
        self._work = folder / ".plantain" / "overlay"
        self._fps = None if fps is None else Fraction(fps).limit_denominator(1_000_000)
        self._layouts: dict[str, Layout] = {}
        self._tiles: dict[str, dict[str, Prediction]] = {}
        self._open: dict[str, tuple[Segment, _Piece]] = {}  # the one that was written to last, last
        self._resting: dict[str, tuple[Segment, list[Path]]] = {}
        self._finished: set[str] = set()
        self._lives: dict[str, _Life] = {}

    def begin(self, stream_id: str, *, is_resumed: bool) -> None:
        """Forgets the piece being written; if the stream starts anew, its earlier pieces and video go too."""
        with _storing(self._videos):
            self.forget(stream_id)
            folder = self._pieces_of(stream_id)
            for left in folder.glob("*.writing"):
                left.unlink()
            self._finished.discard(stream_id)
            if not is_resumed:
                shutil.rmtree(folder, ignore_errors=True)
                for video in (self._video_of(stream_id), *self._further_of(stream_id)):
                    video.unlink(missing_ok=True)

    def write(self, segment: Segment, rows: Rows) -> None:
        """Draws and encodes results of one segment, in frame order.

        Raises:
            SinkError: If the disk does not take them.
        """
        with _storing(self._videos):
            for result in rows.results:
                if result.is_gap:
                    continue
                if segment.stream_id not in self._layouts:
                    self._layouts[segment.stream_id] = layout_for(result)
                layout = self._layouts[segment.stream_id]
                tiles = self._tiles.setdefault(segment.stream_id, {})
                shown = replace(result, predictions=_with_tiles(result, len(layout.tiles), tiles))
                time = self._time(result, is_live=segment.is_live)
                piece = self._piece(segment, time, layout)
                picture = VideoFrame.from_ndarray(draw(shown, layout), format="rgb24")
                _encode(piece, picture, time)

    def commit(self, segment: Segment) -> None:
        """Puts the finished piece in the place of an earlier one of the same segment."""
        with _storing(self._videos):
            if segment.stream_id in self._open:
                self._rest(segment.stream_id)
            written, paths = self._resting.pop(segment.stream_id, (segment, []))
            if not paths or written != segment:
                return
            for path in paths:
                _publish(path, path.with_suffix(".mp4"))
            published = {path.with_suffix(".mp4") for path in paths}
            for left in self._pieces_of(segment.stream_id).glob(f"{segment.name}_*.mp4"):
                if left not in published:  # of an earlier time, which took more pieces
                    left.unlink()

    def finish(self, stream_id: str) -> None:
        """Joins the pieces, without encoding anew, to the stream's video.

        The pieces stay until `close`: a run that is killed before it has noted the stream as complete will
        write its last segment again, and needs the others then.
        """
        with _storing(self._videos):
            folder = self._pieces_of(stream_id)
            pieces = sorted(folder.glob("part-*.mp4"))
            for number, alike in enumerate(_alike(pieces), start=1):
                joined = folder / "joined.writing"
                _join(alike, joined, self._fps)
                self._videos.mkdir(parents=True, exist_ok=True)
                _publish(joined, self._video_of(stream_id, number))
            self._layouts.pop(stream_id, None)
            self._tiles.pop(stream_id, None)
            self._lives.pop(stream_id, None)
            self._finished.add(stream_id)

    def forget(self, stream_id: str) -> None:
        """Drops the piece being written; finished ones stay."""
        self._drop(stream_id)
        self._layouts.pop(stream_id, None)
        self._tiles.pop(stream_id, None)

    def close(self) -> None:
        """Drops the piece that was not committed, and the pieces of finished videos."""
        with _storing(self._videos):
            for stream_id in [*self._open, *self._resting]:
                self._drop(stream_id)
            for stream_id in self._finished:
                shutil.rmtree(self._pieces_of(stream_id), ignore_errors=True)
            self._finished.clear()

    def _piece(self, segment: Segment, first: int, layout: Layout) -> _Piece:
        """The piece of a segment, opened if it is not, whose next frame is shown at `first`."""
        if segment.stream_id in self._open:
            is_open, piece = self._open.pop(segment.stream_id)
            self._open[segment.stream_id] = is_open, piece
            if is_open == segment:
                return piece
            self._drop(segment.stream_id)
        resting = self._resting.setdefault(segment.stream_id, (segment, []))
        if resting[0] != segment:
            self._drop(segment.stream_id)
            resting = self._resting.setdefault(segment.stream_id, (segment, []))
        if len(self._open) >= MAX_ENCODERS:
            self._rest(next(iter(self._open)))
        folder = self._pieces_of(segment.stream_id)
        folder.mkdir(parents=True, exist_ok=True)
        further = f"_{len(resting[1]):04d}" if resting[1] else ""
        piece = _open_piece(folder / f"{segment.name}{further}.writing", layout, first)
        self._open[segment.stream_id] = (segment, piece)
        return piece

    def _time(self, result: Result, *, is_live: bool) -> int:
        """When a frame is shown, in units of the video's clock."""
        header, info = result.header, result.info
        shown_s = header.frame_index / DEFAULT_FPS if info.pts is None else info.pts * info.time_base
        if not is_live:
            return round((shown_s + Fraction(info.shift_s).limit_denominator(1_000_000)) / _CLOCK)
        life = self._lives.get(header.stream_id)
        if life is None or life.epoch != header.epoch:
            begun_s = shown_s if info.captured_ns is None else Fraction(info.captured_ns, 10**9)
            if life is not None:  # somebody may have set the clock back
                begun_s = max(begun_s, life.latest_s + 1 / DEFAULT_FPS)
            life = self._lives[header.stream_id] = _Life(header.epoch, begun_s - shown_s, begun_s)
        life.latest_s = max(life.latest_s, shown_s + life.begin_s)
        return round((shown_s + life.begin_s) / _CLOCK)

    def _rest(self, stream_id: str) -> None:
        """Finishes a stream's piece; what comes next goes into a further one of the same segment."""
        segment, piece = self._open.pop(stream_id)
        with contextlib.closing(piece.container):
            piece.container.mux(piece.stream.encode())
        self._resting.setdefault(stream_id, (segment, []))[1].append(piece.path)

    def _drop(self, stream_id: str) -> None:
        for path in self._resting.pop(stream_id, (None, []))[1]:
            path.unlink(missing_ok=True)
        if stream_id in self._open:
            _, piece = self._open.pop(stream_id)
            piece.container.close()
            piece.path.unlink(missing_ok=True)

    def _pieces_of(self, stream_id: str) -> Path:
        return self._work / quote(stream_id, safe="")

    def _video_of(self, stream_id: str, number: int = 1) -> Path:
        """Of a stream's videos the one with this number; no stream's name is written with a space or a bracket."""
        further = f" ({number})" if number > 1 else ""
        return self._videos / f"{quote(stream_id, safe='')}{further}.mp4"

    def _further_of(self, stream_id: str) -> list[Path]:
        return list(self._videos.glob(f"{glob.escape(quote(stream_id, safe=''))} (*).mp4"))


def _open_piece(path: Path, layout: Layout, first: int) -> _Piece:
    """An empty piece whose first frame is shown at `first`."""
    container = av.open(str(path), "w", format="mp4")
    try:
        container.metadata["comment"] = str(first)  # where `_join` puts it
        # No B-frames: packets are in display order, so that pieces can be joined packet by packet.
        options = {"preset": PRESET, "crf": CRF, "bf": "0", "threads": "1"}
        stream = container.add_stream("libx264", rate=DEFAULT_FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = layout.width, layout.height, "yuv420p"
        context = stream.codec_context
        context.time_base = _CLOCK
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = ColorRange.MPEG
    except BaseException:
        container.close()
        raise
    return _Piece(path, container, stream, first, first - 1)


def _encode(piece: _Piece, picture: VideoFrame, time: int) -> None:
    """Adds a frame; one that is not later than the one before comes right after it."""
    time = max(time, piece.last + 1)
    frame = picture.reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        threads=1,
    )
    frame.pts = time - piece.first
    frame.time_base = _CLOCK
    piece.last = time
    piece.container.mux(piece.stream.encode(frame))


def _with_tiles(result: Result, num_tiles: int, tiles: dict[str, Prediction]) -> tuple[Prediction, ...]:
    """What to draw: where a prompt is not asked of every frame, its tile keeps its last answer.

    Args:
        result: Of the frame.
        num_tiles: As many as the layout has; a video cannot change its size.
        tiles: The last answer of each prompt with a tile, brought up to date; where other prompts are asked since, they
            take the places of those that are not.
    """
    asked = {str(each.prompt): each for each in result.predictions if has_tile(each.prompt)}
    tiles.update(asked)
    for prompt in [prompt for prompt in tiles if prompt not in asked] + list(reversed(asked)):
        if len(tiles) > num_tiles:
            del tiles[prompt]
    return (*(each for each in result.predictions if not has_tile(each.prompt)), *tiles.values())


def _alike(pieces: Sequence[Path]) -> Iterator[list[Path]]:
    """Neighbours that can be one video: a camera's pictures may have another size after it was away."""

    def coding(piece: Path) -> bytes | None:
        with av.open(str(piece)) as container:
            return container.streams.video[0].codec_context.extradata

    for _, alike in groupby(pieces, coding):
        yield list(alike)


def _join(pieces: Sequence[Path], path: Path, fps: Fraction | None) -> None:
    """One video of pieces that are alike: each frame at its own time, or `fps` frames a second."""
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as joined:
        stream: VideoStream | None = None
        begin, last, number = 0, -1, 0
        for piece in pieces:
            with av.open(str(piece)) as container:
                video = container.streams.video[0]
                first = int(container.metadata.get("comment", "0"))
                if stream is None:
                    stream = joined.add_stream_from_template(video)
                    begin = first
                for packet in container.demux(video):
                    if packet.size == 0 or packet.pts is None:
                        continue
                    shown = first - begin + round(packet.pts * packet.time_base / _CLOCK)
                    last = max(shown, last + 1) if fps is None else round(number / fps / _CLOCK)
                    number += 1
                    packet.stream = stream
                    packet.time_base = _CLOCK
                    packet.pts = packet.dts = last
                    joined.mux(packet)


def _publish(written: Path, path: Path) -> None:
    """Makes a finished file durable and gives it its name."""
    with written.open("rb") as file:
        sync(file.fileno())
    written.replace(path)
    sync_folder(path.parent)


@contextlib.contextmanager
def _storing(folder: Path) -> Iterator[None]:
    """Errors of the disk as SinkError, with what a user can do."""
    try:
        yield
    except OSError as error:
        raise storage_error(str(folder), error) from error
    except av.FFmpegError as error:
        raise SinkError(f"the overlay video in {folder} cannot be written: {redact(str(error))}") from error
