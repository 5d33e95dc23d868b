"""One long file, decoded in parts from keyframe to keyframe, side by side."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from plantain.operators.decode import PacketIndex, Range, scan
from plantain.operators.errors import SourceError
from plantain.operators.segments import Position
from plantain.operators.sources.file.source import FileSource
from plantain.operators.streams import Sampling, StreamSpec, View
from plantain.operators.types import Frame

# Frames of a part: enough that opening the file again (2 ms) does not count, few enough that the parts in memory
# stay small (17 MB each at 384x224). A part is never shorter than the distance between two keyframes.
PART_FRAMES = 64


@dataclass(frozen=True, slots=True)
class _Part:
    frames: list[Frame]
    num_damaged: int
    unread_bytes: int


class FileInParts:
    """The frames of a video file as `FileSource` gives them, in the same order, from several decoders at once.

    FFmpeg's own threads decode side by side but leave the conversion to the model's size to one thread; parts share
    out both, which pays on many cores (`operators.read`). A file that cannot be cut (no trustworthy index, damage,
    sampling by time) is read as a whole.

    Options are those of `FileSource`; `threads` is the number of decoders.

    Args:
        spec: Whose frames.
        view: What they must look like.
        position: Where to begin.

    Raises:
        UsageError, SourceError: As `FileSource` does.
    """

    def __init__(self, spec: StreamSpec, view: View, position: Position) -> None:
        self._spec = spec
        self._view = view
        self._whole: FileSource | None = FileSource(spec, view, position)
        self.info = self._whole.info
        self._position = position
        self._num_damaged = self._unread_bytes = 0
        self._ready: deque[Frame] = deque()
        self._parts: deque[Range] = deque()
        self._running: deque[tuple[Range, Future[_Part]]] = deque()
        self._num_decoders = int(spec.options.get("threads", "1"))
        self._pool: ThreadPoolExecutor | None = None
        self._index: PacketIndex | None = None
        if self._num_decoders > 1 and spec.sampling == Sampling() and "end_frame" not in spec.options:
            self._cut(position)

    def read(self, max_frames: int) -> list[Frame]:
        """The next frames, at most `max_frames`; fewer only at the end."""
        if self._whole is not None:
            return self._whole.read(max_frames)
        while len(self._ready) < max_frames and self._running:
            self._take_part()
            if self._whole is not None:  # the file turned out to be damaged
                return [self._ready.popleft() for _ in range(len(self._ready))] or self._whole.read(
                    max_frames
                )
        frames = [self._ready.popleft() for _ in range(min(max_frames, len(self._ready)))]
        if frames:
            self._position = Position(
                frames[-1].header.frame_index + 1,
                self._ready[0].info.pts if self._ready else None,
                self._position.delivered + len(frames),
            )
        return frames

    @property
    def ended(self) -> bool:
        """Whether all frames were read."""
        if self._whole is not None:
            return not self._ready and self._whole.ended
        return not self._ready and not self._running

    @property
    def position(self) -> Position:
        """The next frame that `read` gives."""
        return self._position if self._whole is None else self._whole.position

    @property
    def num_damaged(self) -> int:
        """Packets that could not be read or decoded so far."""
        return self._num_damaged + (0 if self._whole is None else self._whole.num_damaged)

    @property
    def unread_bytes(self) -> int:
        """At its end, how much of the file is not among its frames."""
        return self._unread_bytes if self._whole is None else self._whole.unread_bytes

    def close(self) -> None:
        """Waits for the decoders and gives back the file."""
        self._stop()
        if self._whole is not None:
            self._whole.close()

    def _cut(self, position: Position) -> None:
        """Goes over to parts, if the file can be cut into more than one."""
        stream = self._spec.options.get("stream")
        index = scan(self._spec.url, None if stream is None else int(stream))
        parts = index.ranges(max(1, len(index.pts) // PART_FRAMES))
        todo = [part for part in parts if part.end is None or part.end > position.frame_index]
        if self._whole is None or not index.is_trustworthy or len(todo) < 2:
            return
        if position.frame_index > todo[0].first:
            if position.pts is None:
                return
            todo[0] = replace(todo[0], first=position.frame_index, pts=position.pts)
        self._whole.close()
        self._whole = None
        self._index = index
        self._parts.extend(todo)
        self._pool = ThreadPoolExecutor(self._num_decoders, thread_name_prefix="plantain-decode")
        for _ in range(self._num_decoders):
            self._begin_part()

    def _begin_part(self) -> None:
        if self._parts and self._pool is not None and self._index is not None:
            part = self._parts.popleft()
            self._running.append((part, self._pool.submit(self._decode, part, self._index)))

    def _take_part(self) -> None:
        """The next part's frames; reads the rest as a whole if it shows that the file is damaged."""
        part, future = self._running.popleft()
        try:
            done = future.result()
        except SourceError:
            self._stop()
            self._whole = FileSource(
                self._spec, self._view, replace(self._position, frame_index=part.first, pts=part.pts)
            )
            return
        self._begin_part()
        self._ready.extend(done.frames)
        self._num_damaged += done.num_damaged
        self._unread_bytes = done.unread_bytes

    def _decode(self, part: Range, index: PacketIndex) -> _Part:
        options = {**self._spec.options, "threads": "1"}
        if part.end is not None:
            options |= {"end_frame": str(part.end), "end_pts": str(part.end_pts)}
        source = FileSource(
            replace(self._spec, options=options), self._view, Position(part.first, part.pts), index
        )
        frames: list[Frame] = []
        try:
            while not source.ended:
                frames.extend(source.read(PART_FRAMES))
            return _Part(frames, source.num_damaged, source.unread_bytes)
        finally:
            source.close()

    def _stop(self) -> None:
        self._parts.clear()
        self._running.clear()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
