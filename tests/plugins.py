"""What a user of Plantain might bring: a model and a source of their own, named by dotted path."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
from av import VideoFrame

from plantain.operators.errors import ModelUnavailableError
from plantain.operators.models.base import ModelSpec, Pixels
from plantain.operators.models.fake import FakeModel
from plantain.operators.prompts import Prompt
from plantain.operators.sources.file.source import FileSource
from plantain.operators.sources.live.connection import Picture as ConnectionPicture
from plantain.operators.sources.live.source import LiveSource
from plantain.operators.streams import StreamSpec, View
from plantain.operators.types import Frame, Position
from tests.assets.clips import number_of


class PickyModel(FakeModel):
    """Answers numbered pictures (`tests.assets.clips`), except for some.

    Args:
        refuses: Numbers, separated by commas, that raise.
        cost_ms: Time that a batch takes, milliseconds.
    """

    name = "picky"
    fingerprint = "picky-1"
    spec = ModelSpec(model_hw=(48, 64))

    def __init__(self, refuses: str = "", cost_ms: float = 0.0) -> None:
        super().__init__()
        self._refuses = {int(number) for number in refuses.split(",") if number}
        self._pause_s = cost_ms / 1e3

    def render(self, images: Pixels, image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
        time.sleep(self._pause_s)
        for image in images:
            if (number := number_of(image)) in self._refuses:
                raise ValueError(f"I will not look at {number}")
        return super().render(images, image_of, prompts)


class TornSource(FileSource):
    """A file that breaks at frame 13, wherever reading begins."""

    def __init__(self, spec: StreamSpec, view: View, position: Position) -> None:
        super().__init__(spec, view, position)
        self._left = 13 - position.frame_index

    def read(self, max_frames: int) -> list[Frame]:
        if self._left <= 0:
            raise OSError("the tape is torn")
        frames = super().read(min(max_frames, self._left))
        self._left -= len(frames)
        return frames


class Cam(LiveSource):
    """A camera without a network: small pictures, so many a second, from a thread of its own as every camera's.

    The URL is `cam://RATE`.
    """

    def __init__(self, spec: StreamSpec, view: View, position: Position) -> None:
        rate = float(spec.url.removeprefix("cam://"))
        named = replace(spec, url="udp://127.0.0.1:1", source="")
        super().__init__(named, view, position, opener=lambda: _Lens(rate, self._stop))


class _Lens:
    """The connection of a Cam."""

    codec, is_endless, start_realtime_ns, num_damaged, num_skipped = "rawvideo", True, None, 0, 0
    time_base = Fraction(1, 1000)

    def __init__(self, fps: float, stop: threading.Event) -> None:
        self.fps = fps
        self._stop = stop

    def pictures(self) -> Iterator[ConnectionPicture]:
        begin = time.monotonic()
        for number in itertools.count():
            pause_s = begin + number / self.fps - time.monotonic()
            if self._stop.wait(max(0.0, pause_s)):
                return
            pixels = np.full((48, 64, 3), number % 256, np.uint8)
            yield ConnectionPicture(
                VideoFrame.from_ndarray(pixels, format="rgb24"), round(number * 1000 / self.fps), True
            )

    def close(self) -> None:
        pass


class HeavyModel(FakeModel):
    """Takes time for each drawing, and less for a smaller one.

    Args:
        cost_ms: Of a drawing at full size, milliseconds.
    """

    name = "heavy"
    fingerprint = "heavy-1"
    spec = ModelSpec(model_hw=(96, 128))

    def __init__(self, cost_ms: float) -> None:
        super().__init__()
        self._cost_s = 0.0
        self._full_cost_s = cost_ms / 1e3

    def render(self, images: Pixels, image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
        share = images.shape[1] * images.shape[2] / (self.spec.model_hw[0] * self.spec.model_hw[1])
        time.sleep(self._full_cost_s * share * len(prompts))
        return super().render(images, image_of, prompts)


class Unavailable:
    """A backend that cannot run on any machine of today."""

    def __init__(self, refuses: str = "") -> None:
        raise ModelUnavailableError("this model needs a quantum computer")
