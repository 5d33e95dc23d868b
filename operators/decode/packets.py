"""The packets of one video stream, whatever is broken in the file, and how far in the file they came."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import chain
from urllib.parse import urlsplit

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from plantain.operators.decode.container import is_unreadable, open_video, version_of
from plantain.operators.decode.rest import unread_bytes
from plantain.operators.decode.wrap import JOINABLE, Wrap
from plantain.operators.errors import SourceError
from plantain.operators.paths import local_path
from plantain.operators.redaction import shown

# Reading goes on after a failed read, as a hole in a file is not its end. This many in a row are its end.
MAX_FAILED_READS = 64


class Packets:
    """The packets of one video stream in the order of the file.

    Args:
        url: As for `open_video`.
        stream: Index of the stream in the file; None for the one that a player shows.
        protocols, formats: As for `open_video`.

    Attributes:
        container, video: The file and its stream, for what their headers say.
        num_damaged: Reads that failed so far.
        last_pos: Where the last packet so far begins in the file, bytes; -1 if none says.

    Raises:
        SourceError: As `open_video` does; also while they are read, if the file or its server cannot be any further.
    """

    def __init__(self, url: str, stream: int | None, *, protocols: str, formats: str) -> None:
        self._url = url
        self._stream = stream
        self._protocols = protocols
        self._formats = formats
        self.container, self.video = open_video(url, stream, protocols=protocols, formats=formats)
        self._again: InputContainer | None = None
        self.num_damaged = 0
        self.last_pos = -1
        _alone(self.container, self.video)

    def unread_bytes(self) -> int:
        """How much of the file belongs to a further recording, which FFmpeg does not go on to."""
        if urlsplit(self._url).scheme in ("http", "https"):
            return 0
        return unread_bytes(local_path(self._url), self.container.format.name, self.last_pos)

    def close(self) -> None:
        """Gives back the file."""
        self.container.close()
        if self._again is not None:
            self._again.close()

    def following(self) -> int | None:
        """Index of a video stream that begins behind the end of this one, which was read to there; None if none does.

        So it is where transport streams of two cameras were joined, whose packets have different numbers.
        """
        if self.container.format.name not in JOINABLE or len(self.container.streams.video) < 2:
            return None
        container, _ = open_video(self._url, self._stream, protocols=self._protocols, formats=self._formats)
        with container:
            waiting = {video.index for video in container.streams.video} - {self.video.index}
            for packet in container.demux(*(container.streams[index] for index in waiting)):
                if packet.pos is not None and packet.size and packet.stream_index in waiting:
                    if packet.pos > self.last_pos:
                        return packet.stream_index
                    waiting.discard(packet.stream_index)
                if not waiting:
                    break
        return None

    def read(self) -> Generator[Packet[VideoStream] | None]:
        """Those from where the container stands, then None.

        A file that broke off where another reading of it does not was not damaged: its disk was away.
        """
        container, video = self.container, self.video
        wrap = Wrap(container)
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
                        self.last_pos = max(self.last_pos, packet.pos or -1)
                        wrap.put_right(packet)
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


def _alone(container: InputContainer, video: VideoStream) -> None:
    """Of other streams nothing is even read from the disk."""
    for other in container.streams:
        if other.index != video.index:
            other.discard = Discard.all
