"""What befalls a camera: each fault is named, told once, survived, and tells no secret."""

from __future__ import annotations

import threading

import av
import pytest

from plantain.operators.errors import NoVideoError, SourceError
from plantain.operators.streams import Sampling
from tests.scripted import (
    LONG_S,
    SECRET,
    TICK,
    URL,
    ManualClock,
    ScriptedCamera,
    ScriptedConnection,
    Step,
    indices,
    live,
    picture,
    read_on,
    shots,
    states,
)

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
    (OSError(24, "Too many open files", URL), 0.0, "refused"),
    (OSError(23, "Too many open files in system", URL), 0.0, "refused"),
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
        assert "rtsp://camera.example:554/*** " in events[1].sentence
        assert not [event for event in events if SECRET in event.sentence]
        lasting = state in ("unauthorised", "not_found")
        assert [pause > 5 for pause in clock.pauses[:2]] == [lasting, lasting]


@pytest.mark.parametrize(
    ("error", "after_s", "state"),
    [
        (None, 0.0, "lost"),
        (ConnectionResetError(104, "Connection reset by peer", URL), 0.1, "lost"),
        (av.error.TimeoutError(110, "timed out", URL), 5.0, "silent"),
        (av.error.ExitError(1, "Immediate exit requested", URL), 12.5, "silent"),
        (av.error.InvalidDataError(1, "Invalid data", URL), 5.0, "silent"),
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
        assert source.state == "silent"
        go_on.set()
        while "lost" not in states(events := source.events()):
            assert source.wait(LONG_S)
            go_on.wait(0.001)
        assert states(events)[-1] == "lost"


@pytest.mark.parametrize("signs", [("stop",), ("stop", None), (None, "stop")])
def test_a_time_in_which_nothing_was_read_is_told_though_nobody_could_tell_of_it_then(signs) -> None:
    clock = ManualClock()
    between: list[Step] = [None if sign is None else lambda: clock.advance(300.0) for sign in signs]
    steps = [picture(0), *between, picture(1), lambda: clock.advance(4.0), picture(2)]
    with live(ScriptedCamera(ScriptedConnection(steps)), clock) as source:
        events = source.events()
        assert states(events) == ["connecting", "live", "silent", "live", "lost"]
        assert "was not read for 300.0 s (limit 5 s)" in events[2].sentence
        taken_ns = [frame.info.captured_ns for frame in source.read(99)]
        assert [at_ns is not None and at_ns >= events[2].at_ns for at_ns in taken_ns] == [False, True, True]


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


def test_another_resolution_or_codec_is_told_and_taken() -> None:
    first = ScriptedConnection([picture(0), picture(1, size=(128, 72))])
    with live(ScriptedCamera(first, ScriptedConnection(shots(0, 1), codec="hevc"))) as source:
        frames = source.read(9)
        assert [frame.info.fit.source_hw for frame in frames] == [(36, 64), (72, 128), (36, 64)]
        assert {frame.image.shape for frame in frames} == {(36, 64, 3)}
        told = [event.sentence for event in source.events() if event.state == "changed"]
        assert [("h264 64x36 to h264 128x72" in told[0]), ("to hevc 64x36" in told[1])] == [True, True]


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
