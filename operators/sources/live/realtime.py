"""A file that plays at its own pace, as a camera for tests and demonstrations."""

from __future__ import annotations

from collections.abc import Generator
from fractions import Fraction

from plantain.operators.decode import VideoReader
from plantain.operators.sources.live.connection import Picture
from plantain.operators.sources.pace import Pace

_DEFAULT_FPS = Fraction(25)


class RealtimeFile:
    """A video file as a connection: each picture comes when its time has come, and none before.

    Played again, its times go on where they were, as they do where recordings were joined in it.

    Args:
        url: Path of the file.
        loop: Play it for ever.
        deinterlace: Make one picture of two fields.
        pace: Holds its pictures back.

    Raises:
        SourceError: If it cannot be opened.
    """

    is_endless = False
    start_realtime_ns: int | None = None
    num_skipped = 0

    def __init__(self, url: str, loop: bool, deinterlace: bool, pace: Pace) -> None:
        self._loop = loop
        self._pace = pace
        self._reader = VideoReader(url, deinterlace=deinterlace)
        self._num_damaged = 0
        rate = self._reader.video.average_rate
        self._period = 1 / Fraction(rate or _DEFAULT_FPS)
        self.codec = self._reader.video.codec_context.name
        self.time_base = self._reader.time_base
        self.fps = float(1 / self._period)

    @property
    def num_damaged(self) -> int:
        """Packets that could not be decoded so far."""
        return self._num_damaged + self._reader.num_damaged

    def pictures(self) -> Generator[Picture | None]:
        """Its pictures, each in its time, until the file ends or for ever."""
        offset = Fraction(0)
        while True:
            time = Fraction(0)
            num_pictures = 0
            while (decoded := self._reader.next()) is not None:
                num_pictures += 1
                time = decoded.time
                if self._pace.wait(offset + time):
                    return
                pts = (
                    None
                    if decoded.pts is None
                    else decoded.pts + int((offset + decoded.shift) / self.time_base)
                )
                is_keyframe = bool(decoded.frame.key_frame)
                yield Picture(decoded.frame, pts, is_keyframe, decoded.is_corrupt, decoded.decode_s)
            if not self._loop or num_pictures == 0:
                return
            offset += time + self._period
            self._num_damaged += self._reader.num_damaged
            self._reader.start_at(0, None)

    def close(self) -> None:
        """Gives back the file."""
        self._reader.close()
