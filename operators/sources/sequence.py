"""Pictures by number, at a constant rate: what folders of images and rendered scenes have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plantain.operators.errors import NoVideoError, SourceError, UsageError
from plantain.operators.geometry import Letterbox
from plantain.operators.segments import Position
from plantain.operators.sources.sampler import Sampler
from plantain.operators.streams import Canvas, StreamInfo, StreamSpec, View
from plantain.operators.types import Frame, FrameInfo, Header


class Picture(NamedTuple):
    """A picture as it is displayed.

    Attributes:
        image: RGB, perhaps smaller than the original.
        source_hw: Size of the original, pixels.
        name: Of its own file; empty where it has none.
    """

    image: Image.Image
    source_hw: tuple[int, int]
    name: str = ""

    @classmethod
    def whole(cls, image: Image.Image) -> Picture:
        """A picture that is its own original."""
        return cls(image, (image.height, image.width))


class SequenceSource(ABC):
    """A stream whose frame k is `picture(k)`, at k / fps seconds. Frames that sampling drops are never made.

    Args:
        spec: Whose frames.
        view: What they must look like.
        position: Where to begin.
        num_frames: How many pictures there are.
        fps: Pictures per second.

    Raises:
        UsageError: If the rate is not positive.
        SourceError: If frame 0 cannot be made.
    """

    def __init__(
        self, spec: StreamSpec, view: View, position: Position, num_frames: int, fps: Fraction
    ) -> None:
        if fps <= 0:
            raise UsageError(f"stream '{spec.stream_id}': fps must be above 0, not {fps}")
        self._spec = spec
        self._view = view
        self._num_pictures = num_frames
        self._fps = fps
        self._sampler = Sampler(spec.sampling, position.delivered)
        self._next_index = position.frame_index
        self._num_bad = 0
        self._advance()
        height, width = self.size_hw()
        estimate = self._sampler.estimate(num_frames, float(fps))
        self.info = StreamInfo(spec.stream_id, width, height, float(fps), estimate)

    @abstractmethod
    def picture(self, index: int) -> Picture:
        """Picture `index`.

        Raises:
            NoVideoError: If it is none; it is counted as damaged and passed over.
            SourceError: If it cannot be had just now.
        """

    @abstractmethod
    def size_hw(self) -> tuple[int, int]:
        """Size of the first picture, pixels."""

    def read(self, max_frames: int) -> list[Frame]:
        """The next frames, at most `max_frames`; fewer at the end.

        Raises:
            SourceError: If the next one cannot be had.
        """
        frames: list[Frame] = []
        while not self._ended and len(frames) < max_frames:
            try:
                frames.append(self._frame(self._next_index))
            except NoVideoError:
                self._num_bad += 1
            except SourceError:
                if not frames:
                    raise
                return frames
            self._next_index += 1
            self._advance()
        return frames

    @property
    def ended(self) -> bool:
        """Whether all frames were read."""
        return self._ended

    @property
    def position(self) -> Position:
        """The next frame that `read` gives."""
        if self._ended:
            return Position(self._next_index, None, self._sampler.num_kept)
        return Position(self._next_index, self._next_index, self._sampler.num_kept - 1)

    @property
    def num_damaged(self) -> int:
        """Pictures that could not be made so far."""
        return self._num_bad

    def close(self) -> None:
        """Nothing is held open."""
        self._ended = True

    def _advance(self) -> None:
        """Goes to the next frame that is kept."""
        while self._next_index < self._num_pictures and not self._sampler.is_done:
            if self._sampler.keeps(self._next_index, self._next_index / self._fps):
                self._ended = False
                return
            self._next_index += 1
        self._ended = True

    def _frame(self, index: int) -> Frame:
        started = perf_counter()
        header = Header(self._spec.stream_id, 0, index)
        return frame_of(self.picture(index), self._view, header, 1 / self._fps, started)


@dataclass(frozen=True, slots=True)
class PictureCanvases:
    """A picture on further canvases, when somebody wants it there.

    Attributes:
        picture: At least as large as each of them needs it.
        canvases: Of other pools of models.
    """

    picture: Picture
    canvases: tuple[Canvas, ...]

    def __call__(self, place: int) -> tuple[Letterbox, NDArray[np.uint8]]:
        """Where it lies on one of them, and (h, w, 3) uint8 RGB."""
        canvas = self.canvases[place]
        fit = Letterbox.fit(self.picture.source_hw, canvas.model_hw, canvas.fit)
        image = fit.place(_resized(self.picture.image, (fit.height, fit.width)))
        return fit, np.ascontiguousarray(image)


def frame_of(picture: Picture, view: View, header: Header, time_base: Fraction, started: float) -> Frame:
    """A picture as a frame whose pts is its index.

    Args:
        picture: At least as large as `view` needs it.
        view: What the frame must look like.
        header: Whose frame it is.
        time_base: Seconds from one index to the next.
        started: When the picture was begun to be made, by `perf_counter`.
    """
    fit = Letterbox.fit(picture.source_hw, view.model_hw, view.fit)
    image = np.ascontiguousarray(fit.place(_resized(picture.image, (fit.height, fit.width))))
    shown_hw = view.shown_hw(picture.source_hw)
    display = None if shown_hw is None else _resized(picture.image, shown_hw)
    info = FrameInfo(
        pts=header.frame_index,
        time_base=time_base,
        captured_ns=None,
        captured_by="file",
        fit=fit,
        decode_ms=(perf_counter() - started) * 1e3,
        picture=display,
        image=picture.name,
    )
    return Frame(header, info, image, PictureCanvases(picture, view.more) if view.more else None)


def _resized(picture: Image.Image, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """`picture` at another size, (h, w, 3) uint8; averaged when it shrinks."""
    height, width = size_hw
    shrinks = height < picture.height or width < picture.width
    how = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    return np.asarray(picture.resize((width, height), how))
