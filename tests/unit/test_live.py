"""Frames of a live source: how they are numbered, sampled and timed."""

from __future__ import annotations

import pytest

from plantain.operators.errors import UsageError
from plantain.operators.segments import Position
from plantain.operators.sources.live.source import LiveSource
from plantain.operators.streams import Sampling, StreamSpec
from tests.assets import clips
from tests.scripted import (
    TICK,
    URL,
    VIEW,
    ManualClock,
    ScriptedCamera,
    ScriptedConnection,
    Step,
    indices,
    live,
    picture,
    shots,
    states,
)


def test_a_reconnected_camera_counts_on_in_a_new_epoch() -> None:
    camera = ScriptedCamera(ScriptedConnection(shots(0, 3)), ScriptedConnection(shots(0, 2)))
    with live(camera, epoch="4") as source:
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


@pytest.mark.parametrize("pts", [None, 7])
def test_a_rate_is_kept_where_times_are_missing_or_stand_still(pts: int | None) -> None:
    clock = ManualClock()
    steps: list[Step] = []
    for number in range(50):
        steps += [picture(number, pts), lambda: clock.advance(0.04)]
    with live(ScriptedCamera(ScriptedConnection(steps)), clock, sampling=Sampling(fps=5.0)) as source:
        assert len(source.read(99)) == pytest.approx(10, abs=1)
        assert "clock_backwards" not in states(source.events())


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
