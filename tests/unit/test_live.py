"""A live source against a camera that follows a script, in a time that passes when the script says so."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from operators.errors import NoVideoError, SourceError, SourceNotFoundError, UsageError
from operators.sources import open_source, source_for
from operators.sources.base import Sampling, StreamSpec, View
from operators.sources.connection import Picture
from operators.sources.live import LiveSource, wait_for_frames
from operators.sources.options import STALENESS_S, LiveOptions
from operators.types import Frame, HealthEvent, Position
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
        self.num_damaged = 0
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


def test_a_reconnected_camera_counts_on_in_a_new_epoch() -> None:
    camera = ScriptedCamera(ScriptedConnection(shots(0, 3)), ScriptedConnection(shots(0, 2)))
    with live(camera, epoch="4") as source:
        assert source.info.is_live
        frames = source.read(100)
        assert [(f.header.epoch, f.header.frame_index) for f in frames] == [
            (4, 0),
            (4, 1),
            (4, 2),
            (5, 3),
            (5, 4),
        ]
        assert source.epoch == 5
        assert (source.info.width, source.info.height, source.info.fps) == (64, 36, 25.0)
        assert [clips.number_of(frame.image) for frame in frames] == [0, 1, 2, 0, 1]
        assert source.position == Position(5, None, 5)
        events = source.events()
        assert states(events) == ["connecting", "live", "lost", "live", "lost"]
        assert [event.epoch for event in events] == [4, 4, 4, 5, 5]
        assert events == sorted(events, key=lambda event: event.at_ns)
        assert source.events() == []


def test_a_position_goes_on_counting_but_never_seeks() -> None:
    with live(ScriptedCamera(ScriptedConnection(shots(0, 3))), position=Position(70, 5, 9)) as source:
        assert source.position == Position(70, None, 9)
        assert indices(source.read(2)) == [70, 71]
        assert source.position == Position(72, None, 11)


def test_the_oldest_frames_give_way_and_are_counted() -> None:
    with live(ScriptedCamera(ScriptedConnection(shots(0, 10))), ring="3") as source:
        assert source.counts.waiting == 3
        holds(source)
        assert indices(source.read(2)) == [7, 8]
        assert source.dropped == {"overtaken": 7}
        holds(source)


def test_the_latest_frame_is_the_only_one() -> None:
    with live(ScriptedCamera(ScriptedConnection(shots(0, 10))), policy="latest") as source:
        assert indices(source.read(5)) == [9]
        assert source.read(5) == []
        assert source.dropped == {"overtaken": 9}


def test_a_blocking_ring_loses_nothing_however_slow_its_reader() -> None:
    camera = ScriptedCamera(ScriptedConnection(shots(0, 30)))
    with live(camera, policy="block", ring="2", finish=False) as source:
        frames: list[Frame] = []
        while len(frames) < 30:
            assert source.wait(LONG_S)
            frames += source.read(1)
            holds(source)
        assert indices(frames) == list(range(30))
        assert source.dropped == {}


def test_a_blocked_camera_can_be_stopped() -> None:
    camera = ScriptedCamera(ScriptedConnection(shots(0, 30)))
    with live(camera, policy="block", ring="2", finish=False) as source:
        assert source.wait(LONG_S)
        source.close()
        assert source.ended
        assert set(source.dropped) == {"stopped"}


def test_stale_frames_are_dropped_when_they_are_asked_for() -> None:
    clock = ManualClock()
    steps = [*shots(0, 3), lambda: clock.advance(2.0), *shots(3, 5)]
    with live(ScriptedCamera(ScriptedConnection(steps)), clock, max_staleness_s="1.9") as source:
        assert indices(source.read(9)) == [3, 4]
        assert source.dropped == {"stale": 3}


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, STALENESS_S), ({"max_staleness_s": "0.2"}, 0.2), ({"policy": "block"}, None)],
)
def test_what_is_old_is_let_go_unless_said_otherwise(options: dict[str, str], expected: float | None) -> None:
    assert LiveOptions.of(StreamSpec("gate", URL, options=options)).max_staleness_s == expected


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(), list(range(50))),
        (Sampling(every=20), [0, 20, 40]),
        (Sampling(fps=5.0), list(range(0, 50, 5))),
    ],
)
def test_sampling_happens_before_the_ring(sampling: Sampling, expected: list[int]) -> None:
    with live(ScriptedCamera(ScriptedConnection(shots(0, 50))), sampling=sampling) as source:
        # The stream begins at second 0, so ticks fall on the pts.
        assert indices(source.read(99)) == expected
        assert source.dropped.get("not sampled", 0) == 50 - len(expected)


def test_a_rate_is_kept_across_connections_whose_times_begin_anew() -> None:
    clock = ManualClock()
    one = ScriptedConnection([*shots(0, 30), lambda: clock.advance(10.0)])
    with live(
        ScriptedCamera(one, ScriptedConnection(shots(0, 30))), clock, sampling=Sampling(fps=5.0)
    ) as source:
        frames = source.read(99)
        assert [len([f for f in frames if f.header.epoch == epoch]) for epoch in (0, 1)] == [
            6,
            pytest.approx(6, abs=1),
        ]


def test_it_ends_after_the_frames_that_were_asked_for() -> None:
    camera = ScriptedCamera(ScriptedConnection(shots(0, 9)))
    with live(camera, sampling=Sampling(max_frames=6), position=Position(3, None, 3)) as source:
        assert indices(source.read(2)) == [3, 4]
        assert not source.ended
        assert indices(source.read(9)) == [5]
        assert source.ended
        assert source.dropped == {"stopped": 6}
    with live(ScriptedCamera(), sampling=Sampling(max_frames=0), finish=False) as source:
        assert source.ended


def test_frames_before_the_first_keyframe_are_dropped_at_each_join() -> None:
    torn: list[Step] = [picture(0, key=False), picture(1, key=False), picture(2), picture(3, key=False)]
    with live(ScriptedCamera(ScriptedConnection(torn), ScriptedConnection(list(torn)))) as source:
        assert indices(source.read(9)) == [2, 3, 6, 7]
        assert source.dropped == {"before keyframe": 4}


def test_a_stream_without_keyframes_is_taken_as_it_is_after_a_while() -> None:
    clock = ManualClock()
    steps = [picture(0, key=False), lambda: clock.advance(21.0), picture(1, key=False)]
    with live(ScriptedCamera(ScriptedConnection(steps)), clock) as source:
        assert indices(source.read(9)) == [1]


def test_a_first_frame_without_pts_is_a_frame_like_others() -> None:
    steps: list[Step] = [picture(0, None), picture(1, 0), picture(2, TICK)]
    with live(ScriptedCamera(ScriptedConnection(steps))) as source:
        frames = source.read(9)
        assert [frame.info.pts for frame in frames] == [None, 0, TICK]


def test_the_row_says_whose_clock_it_is() -> None:
    clock = ManualClock()
    near = clock.wall_ns() - 40_000_000
    never_set = ScriptedConnection(shots(0, 1), start_realtime_ns=10**9)
    says = ScriptedConnection([picture(0, None), picture(25)], start_realtime_ns=near)
    with live(ScriptedCamera(says, never_set), clock) as source:
        frames = source.read(9)
        assert [frame.info.captured_by for frame in frames] == ["arrival", "camera", "arrival"]
        assert frames[1].info.captured_ns == near + 10**9
        assert frames[0].info.captured_ns == pytest.approx(near + 40_000_000, abs=10**6)


ENDINGS = [
    (ConnectionRefusedError(111, "Connection refused", URL), 0.0, "refused"),
    (av.error.HTTPUnauthorizedError(1, "Server returned 401", URL), 0.0, "unauthorised"),
    (av.error.HTTPForbiddenError(1, "Server returned 403", URL), 0.0, "unauthorised"),
    (av.error.HTTPNotFoundError(1, "Server returned 404", URL), 0.0, "not_found"),
    (av.error.FileNotFoundError(2, "No such file", URL), 0.0, "not_found"),
    (av.error.InvalidDataError(1, "Invalid data", URL), 0.0, "no_video"),
    (av.error.InvalidDataError(1, "Invalid data", URL), 5.0, "silent"),
    (av.error.TimeoutError(110, "timed out", URL), 5.0, "silent"),
    (av.error.ExitError(1, "Immediate exit requested", URL), 12.5, "silent"),
    (av.error.OSError(5, "Input/output error", URL), 0.0, "refused"),
    (OSError(113, "No route to host", URL), 0.0, "refused"),
    (NoVideoError("only audio"), 0.0, "no_video"),
    (av.error.EOFError(1, "End of file", URL), 0.0, "lost"),
    (ConnectionResetError(104, "Connection reset by peer", URL), 0.0, "lost"),
]


@pytest.mark.parametrize(("error", "after_s", "state"), ENDINGS)
def test_what_keeps_a_camera_away_is_named_survived_and_tells_no_secret(
    error: Exception, after_s: float, state: str
) -> None:
    clock = ManualClock()
    camera = ScriptedCamera(error, error, ScriptedConnection(shots(0, 2)))
    camera.before_failing = lambda: clock.advance(after_s)
    with live(camera, clock) as source:
        events = source.events()
        # The second failure is the first one over again, and is not told again.
        assert states(events) == ["connecting", state, "live", "lost"]
        assert "'gate'" in events[1].sentence
        assert "rtsp://camera.example:554 " in events[1].sentence
        assert not [event for event in events if SECRET in event.sentence]
        lasting = state in ("unauthorised", "not_found")
        assert [pause > 5 for pause in clock.pauses[:2]] == [lasting, lasting]


@pytest.mark.parametrize(
    ("error", "after_s", "state"),
    [
        (None, 0.0, "lost"),
        (ConnectionResetError(104, "Connection reset by peer", URL), 0.1, "lost"),
        (av.error.TimeoutError(110, "timed out", URL), 5.0, "stalled"),
        (av.error.ExitError(1, "Immediate exit requested", URL), 12.5, "stalled"),
        (av.error.InvalidDataError(1, "Invalid data", URL), 5.0, "stalled"),
        (av.error.InvalidDataError(1, "Invalid data", URL), 0.0, "lost"),
    ],
)
def test_what_ends_a_connection_is_named_and_healed(
    error: Exception | None, after_s: float, state: str
) -> None:
    clock = ManualClock()
    steps: list[Step] = [*shots(0, 2), lambda: clock.advance(after_s)]
    first = ScriptedConnection(steps if error is None else [*steps, error])
    with live(ScriptedCamera(first, ScriptedConnection(shots(0, 2))), clock) as source:
        events = source.events()
        assert states(events)[:4] == ["connecting", "live", state, "live"]
        assert not [event for event in events if SECRET in event.sentence]
        assert first.is_closed
        assert indices(source.read(9)) == [0, 1, 2, 3]


def test_a_recording_is_over_at_its_end() -> None:
    recording = ScriptedConnection(shots(0, 3))
    recording.is_endless = False
    with live(ScriptedCamera(recording), finish=False) as source:
        assert indices(read_on(source)) == [0, 1, 2]
        assert source.ended


def test_pauses_double_up_to_a_cap_differ_by_stream_and_begin_anew_after_a_good_connection() -> None:
    refusals = [ConnectionRefusedError() for _ in range(9)]
    clock = ManualClock()
    with live(ScriptedCamera(*refusals), clock, backoff_s="1", backoff_max_s="8"):
        assert all(
            0.7 * full <= pause <= full for pause, full in zip(clock.pauses, [1, 2, 4, 8, 8], strict=False)
        )
        assert len(set(clock.pauses)) == len(clock.pauses)
    again = ManualClock()
    steady: list[Step] = [*shots(0, 2), lambda: again.advance(6.0), picture(3)]
    camera = ScriptedCamera(*refusals[:4], ScriptedConnection(steady), *refusals[:1])
    with live(camera, again, backoff_s="1", backoff_max_s="8"):
        assert again.pauses[:4] == clock.pauses[:4]
        assert again.pauses[4] <= 1


def test_a_connection_that_breaks_at_once_does_not_shorten_the_pauses() -> None:
    clock = ManualClock()
    with live(
        ScriptedCamera(*(ScriptedConnection(shots(0, 1)) for _ in range(5))),
        clock,
        backoff_s="1",
        backoff_max_s="60",
    ):
        assert clock.pauses[4] > 8


def test_silence_is_told_before_the_socket_notices() -> None:
    clock, go_on = ManualClock(), threading.Event()
    reached = threading.Event()

    def wait() -> None:
        reached.set()
        assert go_on.wait(LONG_S)

    with live(
        ScriptedCamera(ScriptedConnection([picture(0), wait, picture(1)])), clock, finish=False
    ) as source:
        assert reached.wait(LONG_S)
        assert source.state == "live"
        clock.advance(5.1)
        assert source.state == "stalled"
        go_on.set()
        while "lost" not in states(events := source.events()):
            assert source.wait(LONG_S)
            go_on.wait(0.001)
        assert states(events)[-1] == "lost"


def test_a_picture_that_stands_still_is_frozen_until_it_moves() -> None:
    clock = ManualClock()
    steps: list[Step] = [picture(0)]
    for number in range(1, 5):
        steps += [lambda: clock.advance(1.0), picture(number, still=True)]
    steps += [picture(7)]
    with live(ScriptedCamera(ScriptedConnection(steps)), clock, frozen_s="3") as source:
        assert states(source.events()) == ["connecting", "live", "frozen", "live", "lost"]
        assert len(source.read(99)) == 6


def test_a_clock_that_goes_back_is_told_once_in_a_while_and_survived() -> None:
    numbers = [50, 51, 10, 11, 5, 6]
    with live(
        ScriptedCamera(ScriptedConnection([picture(number) for number in numbers])),
        sampling=Sampling(fps=25.0),
    ) as source:
        frames = source.read(99)
        assert len(frames) >= 3
        assert frames[0].info.pts == 50 * TICK
        events = source.events()
        assert states(events) == ["connecting", "live", "clock_backwards", "lost"]
        assert "1.640 s" in events[2].sentence
        assert source.state == "lost"


@pytest.mark.parametrize("pts", [None, 7])
def test_a_rate_is_kept_where_times_are_missing_or_stand_still(pts: int | None) -> None:
    clock = ManualClock()
    steps: list[Step] = []
    for number in range(50):
        steps += [picture(number, pts), lambda: clock.advance(0.04)]
    with live(ScriptedCamera(ScriptedConnection(steps)), clock, sampling=Sampling(fps=5.0)) as source:
        assert len(source.read(99)) == pytest.approx(10, abs=1)
        assert "clock_backwards" not in states(source.events())


def test_another_resolution_or_codec_is_told_and_taken() -> None:
    first = ScriptedConnection([picture(0), picture(1, size=(128, 72))])
    with live(ScriptedCamera(first, ScriptedConnection(shots(0, 1), codec="hevc"))) as source:
        frames = source.read(9)
        assert [frame.info.fit.source_hw for frame in frames] == [(36, 64), (72, 128), (36, 64)]
        assert {frame.image.shape for frame in frames} == {(36, 64, 3)}
        told = [event.sentence for event in source.events() if event.state == "changed"]
        assert [("h264 64x36 to h264 128x72" in told[0]), ("to hevc 64x36" in told[1])] == [True, True]


def test_counts_hold_at_every_moment() -> None:
    wrong: list[object] = []
    camera = ScriptedCamera(*(ScriptedConnection([picture(0, key=False), *shots(1, 60)]) for _ in range(4)))
    with live(camera, ring="4", finish=False, sampling=Sampling(every=2)) as source:

        def check() -> None:
            while not camera.has_finished.is_set():
                counts = source.counts
                if counts.decoded != counts.delivered + counts.waiting + sum(counts.dropped.values()):
                    wrong.append(counts)

        checker = threading.Thread(target=check, name="checker")
        checker.start()
        while not camera.has_finished.is_set():
            source.read(3)
        checker.join(LONG_S)
        assert wrong == []
        assert source.decoded == 240
        assert set(source.dropped) <= {"before keyframe", "not sampled", "overtaken"}


def test_a_reader_of_many_cameras_sleeps_until_one_has_a_frame() -> None:
    go_on = threading.Event()
    quiet, busy = (
        ScriptedCamera(),
        ScriptedCamera(ScriptedConnection([lambda: go_on.wait(LONG_S), picture(0)])),
    )
    with live(quiet) as one, live(busy, finish=False, name="door") as other:
        assert wait_for_frames([one, other], 0.01) == []
        go_on.set()
        assert wait_for_frames([one, other], LONG_S) == [other]
        other.read(1)
        one.stop()
        assert wait_for_frames([one, other], LONG_S) == [one]
    assert wait_for_frames([], LONG_S) == []


def test_events_that_nobody_collects_make_room_and_are_counted() -> None:
    acts = [act for _ in range(150) for act in (ScriptedConnection(shots(0, 1)), ConnectionRefusedError())]
    with live(ScriptedCamera(*acts)) as source:
        assert len(source.events()) == 256


def test_an_error_that_nobody_thought_of_reaches_the_owner() -> None:
    camera = ScriptedCamera(ScriptedConnection([picture(0), KeyError(URL)]))
    with live(camera, finish=False) as source:
        read_on(source)
        with pytest.raises(SourceError, match="broke") as caught:
            source.read(1)
        assert SECRET not in str(caught.value)
        assert source.events()[-1].state == "failed"


def test_damaged_packets_are_counted_over_all_connections() -> None:
    one, two = ScriptedConnection(shots(0, 2)), ScriptedConnection(shots(0, 2))
    one.num_damaged, two.num_damaged = 3, 4
    with live(ScriptedCamera(one, two)) as source:
        assert source.num_damaged == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"polcy": "latest"}, "no option polcy"),
        ({"policy": "newest"}, "policy is one of latest, drop_oldest, block"),
        ({"ring": "0"}, "ring is at least 1"),
        ({"ring": "2.5"}, "ring is a whole number"),
        ({"timeout_s": "0"}, "timeout_s is a number of seconds above 0"),
        ({"timeout_s": "nan"}, "timeout_s is a number of seconds above 0"),
        ({"max_staleness_s": "soon"}, "max_staleness_s is a number of seconds"),
        ({"loop": "perhaps"}, "loop is true or false"),
        ({"transport": "pigeon"}, "transport is one of tcp, udp"),
    ],
)
def test_options_are_checked(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LiveSource(StreamSpec("gate", URL, options=options), VIEW, Position())


def test_what_is_no_camera_is_refused() -> None:
    with pytest.raises(UsageError, match="is no camera"):
        LiveSource(StreamSpec("gate", "clip.mp4"), VIEW, Position())


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.make(tmp_path_factory.mktemp("live") / "clip.mp4", 12, size=(64, 36), gop=6)


def realtime(url: object, clock: ManualClock, sampling: Sampling | None = None, **options: str) -> LiveSource:
    spec = StreamSpec(
        "file", str(url), sampling=sampling or Sampling(), options={"realtime": "true", **options}
    )
    assert source_for(spec) == "live"
    return LiveSource(spec, VIEW, Position(), clock=clock)


def played(source: LiveSource) -> list[Frame]:
    frames = read_on(source)
    source.close()
    return frames


def test_a_realtime_file_plays_at_its_own_pace_and_ends(clip: Path) -> None:
    clock = ManualClock()
    source = realtime(clip, clock, policy="block")
    assert (source.info.is_live, source.info.width, source.info.fps) == (True, 64, 25.0)
    frames = played(source)
    assert [clips.number_of(frame.image) for frame in frames] == list(range(12))
    assert clock.monotonic_s() == pytest.approx(1000 + 11 / 25, abs=1e-6)
    assert {frame.info.captured_by for frame in frames} == {"arrival"}
    assert states(source.events()) == ["connecting", "live", "ended"]
    holds(source)


def test_a_looped_file_goes_on_in_the_same_epoch_with_times_that_go_on(clip: Path) -> None:
    source = realtime(clip, ManualClock(), Sampling(max_frames=30), policy="block", loop="true")
    frames = played(source)
    assert [clips.number_of(frame.image) for frame in frames] == [number % 12 for number in range(30)]
    assert {frame.header.epoch for frame in frames} == {0}
    times = [frame.info.time_s or 0.0 for frame in frames]
    assert np.diff(times) == pytest.approx(np.full(29, 0.04))


def test_a_realtime_file_that_waits_for_its_time_is_not_stalled(clip: Path) -> None:
    spec = StreamSpec("file", str(clip), options={"realtime": "true", "timeout_s": "0.01", "policy": "block"})
    source = LiveSource(spec, VIEW, Position())
    seen = set()
    while not source.ended:
        source.wait(0.02)
        seen.add(source.state)
        source.read(5)
    source.close()
    assert seen <= {"connecting", "live", "ended"}


def test_only_keyframes_of_a_realtime_file(clip: Path) -> None:
    assert indices(played(realtime(clip, ManualClock(), policy="block", keyframes_only="yes"))) == [0, 6]


def test_a_realtime_file_that_is_not_there_or_no_video_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError):
        realtime(tmp_path / "missing.mp4", ManualClock())
    with pytest.raises(NoVideoError):
        realtime(clips.sound(tmp_path / "sound.wav"), ManualClock())


def test_a_realtime_file_that_breaks_between_two_loops_fails(clip: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(clip.read_bytes())
    source = realtime(copy, ManualClock(), policy="block", loop="true", ring="1")
    assert source.wait(LONG_S)
    copy.unlink()
    read_on(source)
    with pytest.raises(SourceError, match="does not exist"):
        source.read(1)
    source.close()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("rtsp://camera/1", "live"),
        ("RTSPS://camera/1", "live"),
        ("udp://239.0.0.1:1234", "live"),
        ("tcp://encoder:1234", "live"),
        ("https://camera/live.m3u8?token=1", "live"),
        ("/dev/video0", "live"),
        ("https://camera/clip.mp4", "file"),
        ("clip.mp4", "file"),
    ],
)
def test_the_form_of_an_address_says_whether_it_is_live(url: str, name: str) -> None:
    assert source_for(StreamSpec("s", url)) == name


def test_a_hundred_cameras_leave_nothing_behind(clip: Path) -> None:
    def resources() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    def cycle() -> None:
        spec = StreamSpec("file", str(clip), options={"realtime": "true", "loop": "true"})
        source = open_source(spec, VIEW, Position())
        assert isinstance(source, LiveSource)
        assert source.wait(LONG_S)
        source.close()
        holds(source)

    for _ in range(20):
        cycle()
    before, pages_before = resources(), resident_pages()
    for _ in range(100):
        cycle()
    assert resources() == before
    assert (resident_pages() - pages_before) * os.sysconf("SC_PAGE_SIZE") < 8 * 2**20


def resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])
