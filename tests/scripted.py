"""A camera that follows a script, in a time that passes when the script says so, and a live source on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction

import av

from plantain.operators.errors import SourceError
from plantain.operators.health import HealthEvent
from plantain.operators.segments import Position
from plantain.operators.sources.live.connection import Picture
from plantain.operators.sources.live.source import LiveSource
from plantain.operators.streams import Sampling, StreamSpec, View
from plantain.operators.types import Frame
from tests.assets import clips

VIEW = View((36, 64), "stretch")
URL = "rtsp://guard:hunter2@camera.example:554/user=guard&password=hunter2"
SECRET = "hunter2"
TICK = 3600  # of 1/90000 s: 25 frames a second
LONG_S = 30.0  # for a machine that is busy with other things; nothing waits so long when all is well


class ManualClock:
    """Passes only when someone waits for it or says so."""

    def __init__(self) -> None:
        self._now_s = 1000.0
        self._lock = threading.Lock()
        self.pauses: list[float] = []

    def monotonic_s(self) -> float:
        with self._lock:
            return self._now_s

    def wall_ns(self) -> int:
        return 1_700_000_000_000_000_000 + round(self.monotonic_s() * 1e9)

    def sleep(self, seconds: float, stop: threading.Event) -> bool:
        self.pauses.append(seconds)
        self.advance(max(0.0, seconds))
        return stop.is_set()

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now_s += seconds


Step = Picture | Exception | Callable[[], object] | None


class ScriptedConnection:
    """Hands out the steps of a script: pictures, signs of life (None), errors, and things to do in between."""

    def __init__(self, steps: list[Step], codec: str = "h264", start_realtime_ns: int | None = None) -> None:
        self.codec = codec
        self.time_base = Fraction(1, 90000)
        self.fps: float | None = 25.0
        self.start_realtime_ns = start_realtime_ns
        self.num_damaged = self.num_skipped = 0
        self.is_endless = True
        self.is_closed = False
        self._steps = steps

    def pictures(self) -> Iterator[Picture | None]:
        for step in self._steps:
            if isinstance(step, Exception):
                raise step
            if callable(step):
                step()
            else:
                yield step

    def close(self) -> None:
        self.is_closed = True


class ScriptedCamera:
    """Opens one scripted connection, or fails with one error, at each attempt; after the last act it stays silent."""

    def __init__(self, *acts: Exception | ScriptedConnection) -> None:
        self._acts = list(acts)
        self.has_finished = threading.Event()
        self.is_over = threading.Event()
        self.before_failing: Callable[[], None] = lambda: None

    def __call__(self) -> ScriptedConnection:
        if not self._acts:
            self.has_finished.set()
            assert self.is_over.wait(LONG_S)
            raise ConnectionRefusedError
        act = self._acts.pop(0)
        if isinstance(act, Exception):
            self.before_failing()
            raise act
        return act


def picture(
    number: int,
    pts: int | None = -1,
    *,
    key: bool = True,
    size: tuple[int, int] = (64, 36),
    still: bool = False,
) -> Picture:
    pixels = clips.numbered(0 if still else number % 256, *size)
    return Picture(
        av.VideoFrame.from_ndarray(pixels, format="rgb24"), number * TICK if pts == -1 else pts, key
    )


def shots(first: int, last: int) -> list[Step]:
    return [picture(number) for number in range(first, last)]


@contextmanager
def live(
    camera: ScriptedCamera,
    clock: ManualClock | None = None,
    position: Position | None = None,
    sampling: Sampling | None = None,
    view: View = VIEW,
    finish: bool = True,
    name: str = "gate",
    **options: str,
) -> Iterator[LiveSource]:
    """A source on a scripted camera, after the whole script was played."""
    patient = {"ring": "1000", "max_staleness_s": "1000000"}
    spec = StreamSpec(name, URL, sampling=sampling or Sampling(), options=patient | options)
    source = LiveSource(spec, view, position or Position(), opener=camera, clock=clock or ManualClock())
    try:
        if finish:
            assert camera.has_finished.wait(LONG_S)
        yield source
    finally:
        source.stop()
        camera.is_over.set()
        source.close()
        assert not named_threads(name)
        holds(source)


def named_threads(stream_id: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == f"plantain-live-{stream_id}"]


def holds(source: LiveSource) -> None:
    """Every decoded frame is somewhere."""
    counts = source.counts
    assert counts.decoded == counts.delivered + counts.waiting + sum(counts.dropped.values())


def read_on(source: LiveSource) -> list[Frame]:
    """All frames until the end, in whatever way it ends."""
    frames: list[Frame] = []
    with suppress(SourceError):
        while not source.ended:
            source.wait(LONG_S)
            frames += source.read(5)
    return frames


def states(events: list[HealthEvent]) -> list[str]:
    return [event.state for event in events]


def indices(frames: list[Frame]) -> list[int]:
    return [frame.header.frame_index for frame in frames]
