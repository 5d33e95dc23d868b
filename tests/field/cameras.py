"""A camera whose state a test sets: it gives frames while it flows, and says what it is told to say."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
from PIL import Image

from plantain.operators.health import FLOWING, HealthEvent, HealthState
from plantain.operators.segments import Position
from plantain.operators.sources.sequence import Picture, frame_of
from plantain.operators.streams import StreamInfo, StreamSpec, View
from plantain.operators.types import Frame, Header
from tests.assets.clips import numbered

STATES: dict[str, HealthState] = {}
"""What each camera is, by its address; `live` for those that nobody has set. At `dark` there is nothing to be seen."""

FPS = 10.0


class Camera:
    """A live source, to be named as `tests.field.cameras:Camera`."""

    is_live = True

    def __init__(self, spec: StreamSpec, view: View, position: Position) -> None:
        self._spec, self._view = spec, view
        self._epoch = int(spec.options.get("epoch", "0"))
        self.info = StreamInfo(spec.stream_id, 320, 180, FPS, None)
        self._said: HealthState = "connecting"
        self._events = [self._event("connecting")]
        self._index = position.frame_index
        self._due_s = time.monotonic()
        self._arrived_s: float | None = None
        self._newest: Frame | None = None
        self._long_side = 0

    @property
    def newest(self) -> Frame | None:
        if self._newest is None or self._arrived_s is None:
            return None
        waited_s = time.monotonic() - self._arrived_s
        return replace(self._newest, header=replace(self._newest.header, waited_s=waited_s))

    def read(self, max_frames: int) -> list[Frame]:
        self._look()
        if self._said not in FLOWING or time.monotonic() < self._due_s:
            return []
        self._due_s = time.monotonic() + 1 / FPS
        number = 1 if self._said == "frozen" else self._index % 250
        view = View(self._view.model_hw, self._view.fit, self._long_side or self._view.picture_long_side)
        header = Header(self._spec.stream_id, self._epoch, self._index)
        is_dark = self._spec.url == "dark"
        pixels = np.zeros((180, 320, 3), np.uint8) if is_dark else numbered(number, 320, 180)
        picture = Picture.whole(Image.fromarray(pixels))
        frame = frame_of(picture, view, header, Fraction(1, 10), time.perf_counter())
        taken = replace(frame.info, captured_ns=time.time_ns(), captured_by="arrival")
        frame = replace(frame, info=taken)
        self._index += 1
        self._newest, self._arrived_s = frame, time.monotonic()
        return [frame]

    def events(self) -> list[HealthEvent]:
        self._look()
        events, self._events = self._events, []
        return events

    @property
    def ended(self) -> bool:
        return False

    @property
    def position(self) -> Position:
        return Position(self._index)

    @property
    def num_damaged(self) -> int:
        return 0

    def listen(self, event: threading.Event) -> None:
        if time.monotonic() >= self._due_s and STATES.get(self._spec.url, "live") in FLOWING:
            event.set()

    def forget(self, event: threading.Event) -> None:
        pass

    def show(self, long_side: int) -> None:
        self._long_side = long_side

    def close(self) -> None:
        pass

    def _look(self) -> None:
        state = STATES.get(self._spec.url, "live")
        if state != self._said:
            self._said = state
            self._events.append(self._event(state))

    def _event(self, state: HealthState) -> HealthEvent:
        sentence = f"stream '{self._spec.stream_id}': is {state}; look at it"
        return HealthEvent(self._spec.stream_id, self._epoch, state, sentence, time.time_ns())
