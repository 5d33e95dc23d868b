"""A video file as a stream."""

from __future__ import annotations

from datetime import UTC, datetime
from time import perf_counter

from plantain.operators.decode import Decoded, PacketIndex, PictureConverter, VideoReader
from plantain.operators.errors import NoVideoError, SourceError
from plantain.operators.redaction import shown
from plantain.operators.segments import Position
from plantain.operators.sources.identity import Kept
from plantain.operators.sources.options import check_file, number_of
from plantain.operators.sources.sampler import Sampler
from plantain.operators.streams import StreamInfo, StreamSpec, View
from plantain.operators.types import Frame, FrameInfo, Header


class FileSource:
    """The frames of a video file; waits for its reader and never loses a frame.

    Options (`StreamSpec.options`):
        stream: Index of the video stream in the file; the one that a player shows if left out.
        threads: Decoder threads, 1 if left out, which is best where several files are read at once.
        deinterlace: `off` to leave the fields of interlaced video as they are.
        end_frame, end_pts: End before this frame, which must have this pts (a `Range` of `plantain.operators.decode`).

    Args:
        spec: Whose frames.
        view: What they must look like.
        position: Where to begin.
        index: Of the packets, where the caller has made it already.

    Attributes:
        unread_bytes: At its end, how much of the file is not among its frames (`VideoReader.unread_bytes`).

    Raises:
        UsageError: If an option is unknown or no number.
        SourceNotFoundError: If the file does not exist.
        NoVideoError: If no frame of it can be decoded.
        SourceError: If it cannot be read, or is shorter than `position`.
    """

    def __init__(
        self, spec: StreamSpec, view: View, position: Position, index: PacketIndex | None = None
    ) -> None:
        check_file(spec)
        self._spec = spec
        self._sampler = Sampler(spec.sampling, position.delivered)
        self._converter = PictureConverter(view.model_hw, view.fit, view.picture_long_side, view.more)
        self._end_frame = number_of(spec, "end_frame")
        self._end_pts = number_of(spec, "end_pts")
        self._next: Decoded | None = None
        self._next_index = position.frame_index
        self._skipped_s = 0.0
        self._kept = Kept(spec)
        self._trouble: SourceError | None = None
        self.unread_bytes = 0
        self._reader = VideoReader(
            spec.url,
            number_of(spec, "stream"),
            num_threads=number_of(spec, "threads") or 1,
            deinterlace=spec.options.get("deinterlace", "on") != "off",
        )
        try:
            self._reader.start_at(position.frame_index, position.pts, index)
            self._rate = self._reader.video.average_rate or None
            self._started_ns = _creation_ns(
                self._reader.metadata.get("creation_time") or self._reader.video.metadata.get("creation_time")
            )
            self._advance()
            if self._next is None and position.frame_index == 0 and not self._sampler.is_done:
                raise NoVideoError(
                    f"'{shown(spec.url)}' has a video stream but no frame that can be decoded; copy it again"
                )
            self.info = self._info()
        except BaseException:
            self._reader.close()
            raise

    def read(self, max_frames: int) -> list[Frame]:
        """The next frames, at most `max_frames`; fewer at the end.

        Raises:
            SourceError: If the frame at `end_frame` has not `end_pts`: the file is damaged before it. Behind the
                last frame, if that is not the end.
        """
        if self._next is None and self._trouble is not None:
            raise self._trouble
        frames: list[Frame] = []
        while self._next is not None and len(frames) < max_frames:
            frames.append(self._converted(self._next))
            self._advance()
        return frames

    @property
    def ended(self) -> bool:
        """Whether all frames were read."""
        return self._next is None and self._trouble is None

    @property
    def position(self) -> Position:
        """The next frame that `read` gives."""
        if self._next is None:
            return Position(self._next_index, None, self._sampler.num_kept)
        return Position(self._next.index, self._next.pts, self._sampler.num_kept - 1)

    @property
    def num_damaged(self) -> int:
        """Packets that could not be read or decoded so far."""
        return self._reader.num_damaged

    def close(self) -> None:
        """Gives back the file."""
        self._next = self._trouble = None
        self._reader.close()

    def _advance(self) -> None:
        """Decodes up to the next frame that is kept. It is converted when it is read."""
        self._next = None
        while not self._sampler.is_done:
            picture = self._reader.next()
            if picture is None:
                self._trouble = self._wrong_end()
                self.unread_bytes = self._reader.unread_bytes()
                return
            self._next_index = picture.index
            if self._end_frame is not None and picture.index >= self._end_frame:
                if self._end_pts is not None and picture.pts != self._end_pts:
                    raise SourceError(
                        f"'{shown(self._spec.url)}' is damaged before frame {picture.index}, so its parts "
                        "cannot be counted apart; read it as a whole"
                    )
                return
            self._next_index = picture.index + 1
            if self._sampler.keeps(picture.index, picture.time):
                self._next = picture
                return
            self._skipped_s += picture.decode_s

    def _wrong_end(self) -> SourceError | None:
        """Why what looks like the end is none; whoever has named a stream has meant that."""
        name = shown(self._spec.url)
        if self._kept.is_written_over:
            return SourceError(f"'{name}' was cut or written over while it was read: --replace does it anew")
        if "stream" not in self._spec.options and (other := self._reader.following()) is not None:
            return SourceError(
                f"'{name}' goes on in another video stream where this one ends, since recordings were joined: name one "
                f"with the option stream, {self._reader.video.index} or {other}"
            )
        return None

    def _converted(self, picture: Decoded) -> Frame:
        started = perf_counter()
        image = self._converter.canvas(picture.frame)
        display = self._converter.display(picture.frame)
        decode_s = self._skipped_s + picture.decode_s + perf_counter() - started
        self._skipped_s = 0.0
        info = FrameInfo(
            pts=picture.pts,
            time_base=self._reader.time_base,
            captured_ns=None if self._started_ns is None else self._started_ns + round(picture.time * 10**9),
            captured_by="file",
            fit=self._converter.fit(picture.frame),
            is_corrupt=picture.is_corrupt,
            decode_ms=decode_s * 1e3,
            picture=display,
            shift_s=float(picture.shift),
        )
        header = Header(self._spec.stream_id, picture.part, picture.index)
        return Frame(header, info, image, self._converter.canvases(picture.frame))

    def _info(self) -> StreamInfo:
        video = self._reader.video
        fps = None if self._rate is None else float(self._rate)
        num_frames: int | None = video.frames or None
        if num_frames is None and fps and video.duration:
            num_frames = round(float(video.duration * self._reader.time_base) * fps)
        if self._next is None:
            height, width = video.height, video.width
        else:
            height, width = self._converter.fit(self._next.frame).source_hw
        return StreamInfo(self._spec.stream_id, width, height, fps, self._sampler.estimate(num_frames, fps))


def _creation_ns(text: str | None) -> int | None:
    """Nanoseconds since 1970 of a container's creation time; None for none, or a clock never set."""
    try:
        created = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    created = created if created.tzinfo else created.replace(tzinfo=UTC)
    if created.year <= 1970:  # QuickTime counts from 1904, Unix from 1970
        return None
    return int(created.timestamp()) * 10**9 + created.microsecond * 1000
