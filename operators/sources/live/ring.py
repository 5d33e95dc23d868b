"""Where a camera's frames wait for their reader: bounded, and every frame that falls out is counted."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import Literal

from plantain.operators.sources.clock import Clock
from plantain.operators.types import Frame

Policy = Literal["latest", "drop_oldest", "block"]
POLICIES: tuple[Policy, ...] = ("latest", "drop_oldest", "block")

Reason = Literal[
    "before keyframe", "late", "held back", "not sampled", "damaged", "overtaken", "stale", "stopped"
]
"""Why a frame was not delivered.

before keyframe: A join in the middle of a group of pictures; the frame shows grey or old pixels.
late: Its packet was passed over, to catch up with the camera (`CatchingUp`).
held back: It came in a burst after a silence of the camera (`HeldBack`), and newer ones needed its place.
not sampled: `fps` or `every` of the stream's sampling passed it over.
damaged: It could not be converted to RGB.
overtaken: A newer frame needed its place (`latest`, `drop_oldest`).
stale: It had waited longer than `max_staleness_s` when it was asked for.
stopped: The stream was stopped, or had its `max_frames`, before it was read.
"""


@dataclass(frozen=True, slots=True)
class Counts:
    """Where a stream's decoded frames are at one moment: decoded = delivered + waiting + all that were dropped.

    Attributes:
        decoded: Frames that came out of the decoder.
        delivered: Frames that were read.
        waiting: Frames in the ring.
        dropped: Frames that will never be read, by reason.
    """

    decoded: int
    delivered: int
    waiting: int
    dropped: dict[str, int]


class Ring:
    """Frames on their way from one decoder to one reader.

    Args:
        size: How many may wait; `latest` keeps one, whatever is said here.
        policy: What happens to a frame when the ring is full: `latest` and `drop_oldest` drop the oldest one,
            `block` makes the decoder wait.
        max_staleness_s: Frames that have waited longer are dropped when they would be read, seconds; None for any age.
        clock: Tells how long they have waited.
    """

    def __init__(self, size: int, policy: Policy, max_staleness_s: float | None, clock: Clock) -> None:
        self._size = 1 if policy == "latest" else size
        self._is_blocking = policy == "block"
        self._max_staleness_s = max_staleness_s
        self._clock = clock
        self._waiting: deque[tuple[float, Frame]] = deque()
        self._changed = threading.Condition()
        self._listeners: set[threading.Event] = set()
        self._decoded = 0
        self._delivered = 0
        self._dropped: Counter[str] = Counter()
        self._is_stopped = False

    def offer(self, frame: Frame, arrived_s: float, lost_as: Reason = "overtaken") -> None:
        """Puts a frame in; with `block`, waits for room.

        Args:
            frame: The newest one.
            arrived_s: When it came, on the monotonic clock, seconds.
            lost_as: How frames are counted that make room for it.
        """
        with self._changed:
            if self._is_blocking:
                self._changed.wait_for(lambda: self._is_stopped or len(self._waiting) < self._size)
            self._decoded += 1
            if self._is_stopped:
                self._dropped["stopped"] += 1
                return
            while len(self._waiting) >= self._size:
                self._waiting.popleft()
                self._dropped[lost_as] += 1
            self._waiting.append((arrived_s, frame))
            self._wake()

    def drop(self, reason: Reason, count: int = 1) -> None:
        """Counts frames that are not put in: decoded ones, or with `late` such as would have been."""
        with self._changed:
            self._decoded += count
            self._dropped[reason] += count

    def take(self, max_frames: int) -> list[Frame]:
        """The oldest frames that are fresh enough, at most `max_frames`; returns at once."""
        frames: list[Frame] = []
        with self._changed:
            self._drop_stale()
            now_s = self._clock.monotonic_s()
            while self._waiting and len(frames) < max_frames:
                arrived_s, frame = self._waiting.popleft()
                frames.append(replace(frame, header=replace(frame.header, waited_s=now_s - arrived_s)))
            self._delivered += len(frames)
            self._changed.notify_all()
        return frames

    def wait(self, timeout_s: float) -> bool:
        """Sleeps until a frame is there or none will come; whether one is there."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or self._waiting, timeout_s)
            return bool(self._waiting)

    def listen(self, event: threading.Event) -> None:
        """Sets `event` whenever a frame arrives or the ring is stopped; at once if one is there."""
        with self._changed:
            self._listeners.add(event)
            if self._waiting or self._is_stopped:
                event.set()

    def forget(self, event: threading.Event) -> None:
        """Undoes `listen`."""
        with self._changed:
            self._listeners.discard(event)

    def stop(self) -> None:
        """Takes no more frames; those in it can still be read."""
        with self._changed:
            self._is_stopped = True
            self._wake()

    def clear(self) -> None:
        """Drops what is in it, as `stopped`."""
        with self._changed:
            self._dropped["stopped"] += len(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()

    @property
    def is_stopped(self) -> bool:
        """Whether no frame will be put in any more."""
        with self._changed:
            return self._is_stopped

    @property
    def counts(self) -> Counts:
        """All counts of one moment."""
        with self._changed:
            dropped = {reason: number for reason, number in self._dropped.items() if number}
            return Counts(self._decoded, self._delivered, len(self._waiting), dropped)

    def _drop_stale(self) -> None:
        if self._max_staleness_s is None:
            return
        oldest_s = self._clock.monotonic_s() - self._max_staleness_s
        while self._waiting and self._waiting[0][0] < oldest_s:
            self._waiting.popleft()
            self._dropped["stale"] += 1

    def _wake(self) -> None:
        self._changed.notify_all()
        for event in self._listeners:
            event.set()
