"""What is told of a camera: how it is, in states and sentences, by what its pictures and its silence show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plantain.operators.health import FLOWING, HealthEvent, HealthState
from plantain.operators.redaction import shown
from plantain.operators.sources.clock import Clock
from plantain.operators.sources.live.connection import Connection, Picture
from plantain.operators.sources.live.health import Health
from plantain.operators.sources.live.options import LiveOptions
from plantain.operators.sources.live.stillness import Stillness
from plantain.operators.sources.live.trouble import Trouble
from plantain.operators.streams import StreamSpec

# A camera whose clock keeps jumping says so at most this often.
REPEAT_S = 10.0


class Telling:
    """See the module. The camera's thread tells; anybody may ask.

    Args:
        spec: Which camera.
        options: Its.
        clock: Tells the time.
        is_realtime: It is a file, which is only waiting for its time while nothing comes.

    Attributes:
        epoch: Of the connection that is open, or was last.
        silent_since_s: Since when the camera is waited for; None while it is not.
    """

    def __init__(self, spec: StreamSpec, options: LiveOptions, clock: Clock, *, is_realtime: bool) -> None:
        self._spec = spec
        self._options = options
        self._clock = clock
        self._is_realtime = is_realtime
        self._health = Health(spec.stream_id, clock)
        self._stillness = Stillness()
        self._shape: tuple[str, int, int] | None = None
        self._backwards_told_s = -REPEAT_S
        self.epoch = options.epoch
        self.silent_since_s: float | None = None

    @property
    def state(self) -> HealthState:
        """How the camera is now."""
        self._look()
        return self._health.state

    @property
    def is_flowing(self) -> bool:
        """Whether it was said last that frames come."""
        return self._health.state in FLOWING

    def events(self) -> list[HealthEvent]:
        """The changes of state since the last call, oldest first."""
        self._look()
        return self._health.drain()

    def say(self, state: HealthState, what: str) -> None:
        """Tells of a state."""
        self._health.enter(state, self.epoch, self.sentence(what))

    def sentence(self, what: str) -> str:
        """What is said of this camera."""
        return f"stream '{self._spec.stream_id}': {what}"

    def fail(self, sentence: str) -> None:
        """It ended for a reason that time does not heal."""
        self._health.enter("failed", self.epoch, sentence)

    def trouble(self, trouble: Trouble, longest_s: float) -> None:
        """A connection could not be had, or was lost; attempts come after pauses that are never longer than that."""
        where = f"{shown(self._spec.url)} {trouble.what}"
        self.say(
            trouble.state, f"{where}; trying again for ever, at least every {longest_s:g} s; {trouble.advice}"
        )

    def unread(self, for_s: float) -> None:
        """Frames come again after a time in which nothing was read, and nobody was there to tell of it.

        So it is where this process was stopped and continued, or had no turn.
        """
        if not self._is_realtime and for_s > self._options.timeout_s:
            was = self.sentence(
                f"{shown(self._spec.url)} was not read for {for_s:.1f} s (limit {self._options.timeout_s:g} s); "
                "this process did not run, or nothing came; going on"
            )
            self._health.enter("silent", self.epoch, was, FLOWING)

    def backwards(self, back_s: float, index: int, now_s: float) -> None:
        """A frame's time was before that of the one before it."""
        if now_s - self._backwards_told_s >= REPEAT_S:
            self._backwards_told_s = now_s
            self.say("clock_backwards", f"its clock went back by {back_s:.3f} s at frame {index}; going on")

    def has_changed(self, picture: Picture, connection: Connection) -> bool:
        """Whether the resolution or codec is another than before, of which it tells."""
        shape = connection.codec, picture.frame.width, picture.frame.height
        if shape == self._shape:
            return False
        if self._shape is not None:
            before, after = (f"{codec} {width}x{height}" for codec, width, height in (self._shape, shape))
            self.say("changed", f"changed from {before} to {after}; going on")
        self._shape = shape
        return True

    def compare(self, image: NDArray[np.uint8], now_s: float) -> None:
        """Tells of a picture that stands still, and of one that moves again."""
        still_s = self._stillness.of(image, now_s)
        if still_s is None:
            moves = self.sentence("the picture moves again")
            self._health.enter("live", self.epoch, moves, frozenset(("frozen",)))
        elif still_s >= self._options.frozen_s:
            stands = self.sentence(
                f"the same picture for {still_s:.1f} s (limit {self._options.frozen_s:g} s); "
                "restart the camera if it should move"
            )
            self._health.enter("frozen", self.epoch, stands, frozenset(("live",)))

    def _look(self) -> None:
        """Tells of silence while the thread is still waiting for the camera."""
        silent_since_s = self.silent_since_s
        if silent_since_s is None or self._is_realtime:
            return
        silent_s = self._clock.monotonic_s() - silent_since_s
        if silent_s > self._options.timeout_s:
            what = f"sent nothing for {silent_s:.1f} s (limit {self._options.timeout_s:g} s); waiting for it"
            silent = self.sentence(f"{shown(self._spec.url)} {what}")
            self._health.enter("silent", self.epoch, silent, FLOWING | {"connecting"})
