"""What a live source lets go when its reader is slow, and that it is counted."""

from __future__ import annotations

import threading

import pytest

from plantain.operators.sources.live.options import STALENESS_S, LiveOptions
from plantain.operators.sources.live.source import LiveSource
from plantain.operators.sources.live.waking import wait_for_any
from plantain.operators.streams import Sampling, StreamSpec
from plantain.operators.types import Frame
from tests.scripted import (
    LONG_S,
    URL,
    ManualClock,
    ScriptedCamera,
    ScriptedConnection,
    holds,
    indices,
    live,
    picture,
    shots,
)


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


def woken(sources: list[LiveSource], timeout_s: float) -> list[LiveSource]:
    """Those that have a frame or have ended when the wait is over."""
    wait_for_any(sources, timeout_s)
    return [source for source in sources if source.counts.waiting or source.ended]


def test_a_reader_of_many_cameras_sleeps_until_one_has_a_frame() -> None:
    go_on = threading.Event()
    quiet, busy = (
        ScriptedCamera(),
        ScriptedCamera(ScriptedConnection([lambda: go_on.wait(LONG_S), picture(0)])),
    )
    with live(quiet) as one, live(busy, finish=False, name="door") as other:
        assert woken([one, other], 0.01) == []
        go_on.set()
        assert woken([one, other], LONG_S) == [other]
        other.read(1)
        one.stop()
        assert woken([one, other], LONG_S) == [one]
    assert woken([], LONG_S) == []


def test_a_frame_says_how_long_it_waited_whatever_the_camera_takes_for_the_time() -> None:
    clock = ManualClock()
    steps = [*shots(0, 1), lambda: clock.advance(0.3), *shots(1, 2)]
    with live(ScriptedCamera(ScriptedConnection(steps)), clock) as source:
        older, newer = (frame.header.waited_s for frame in source.read(9))
        assert older - newer == pytest.approx(0.3)
