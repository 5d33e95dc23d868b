"""Cameras of any other kind: whatever gives pictures one after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, islice
from time import monotonic_ns
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from plantain.operators.errors import SourceError
from plantain.operators.segments import Position
from plantain.operators.sources.live.connection import Picture
from plantain.operators.sources.live.source import LiveSource
from plantain.operators.streams import StreamSpec, View


class PictureSource(LiveSource, ABC):
    """A camera that FFmpeg does not open, such as one with a library of its maker's.

    A subclass says how its pictures are had. Sampling, the ring, health, epochs and further attempts are those of every
    camera, and so are the options. Made as `Class(spec, view, position)`, which begins at once.
    """

    def __init__(self, spec: StreamSpec, view: View, position: Position) -> None:
        super().__init__(spec, view, position, opener=lambda: _Connection(self.pictures(spec)))

    @abstractmethod
    def pictures(self, spec: StreamSpec) -> Iterator[NDArray[np.uint8] | None]:
        """Connects, and gives pictures (H, W, 3) uint8 RGB as they are captured, until the camera is lost.

        None is a sign of life without a picture. It runs in a thread of its own and is closed when the stream ends;
        once the camera is lost it is called again, for ever, after pauses that grow.

        Args:
            spec: Which camera: `spec.url` is the stream's address as the user wrote it.

        Raises:
            OSError: If the camera is away: of the types of `OSError`, PermissionError is told as `unauthorised`,
                FileNotFoundError as `not_found`, TimeoutError as `silent`.
            SourceError: If it is of no use to try again; the stream fails with this sentence.
        """


class _Connection:
    """What a `PictureSource` gives, until it is lost; it is open once there is a first picture."""

    codec, is_endless, start_realtime_ns, num_damaged, num_skipped = "rawvideo", True, None, 0, 0
    time_base = Fraction(1, 1_000_000)
    fps: float | None = None

    def __init__(self, pictures: Iterator[NDArray[np.uint8] | None]) -> None:
        self._given = pictures
        self._first = list(islice(pictures, 1))
        self._began_ns = monotonic_ns()

    def pictures(self) -> Iterator[Picture | None]:
        """As of `Connection`; the time of a picture is that at which it came."""
        for given in chain(self._first, self._given):
            if given is None:
                yield None
                continue
            pts = (monotonic_ns() - self._began_ns) // 1000
            yield Picture(VideoFrame.from_ndarray(_checked(given), format="rgb24"), pts, is_keyframe=True)

    def close(self) -> None:
        """Ends the generator, if it is one."""
        if (close := getattr(self._given, "close", None)) is not None:
            close()


def _checked(given: Any) -> NDArray[np.uint8]:
    """A picture, as FFmpeg takes it.

    Raises:
        SourceError: If it is none.
    """
    array = np.asarray(given)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or not array.size:
        raise SourceError(f"pictures must be (H, W, 3) uint8 RGB, not {array.shape} {array.dtype}")
    return np.ascontiguousarray(array)
