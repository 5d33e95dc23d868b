"""A reader that is behind passes packets over until it is in the present again, and never for longer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantain.operators.sources.live.catching_up import CATCH_UP_S, MAX_BEHIND_S, CatchingUp

FPS, GOP = 25, 50


def skipped(arrivals_s: list[float], times_s: list[float] | None = None) -> list[int]:
    """Numbers of the packets that are passed over, one every 40 ms on the camera's line, if not said otherwise."""
    judge = CatchingUp()
    return [
        number
        for number, now_s in enumerate(arrivals_s)
        if judge.skips(
            number / FPS if times_s is None else times_s[number], now_s, is_keyframe=number % GOP == 0
        )
    ]


def in_time(count: int) -> list[float]:
    return [100.0 + number / FPS for number in range(count)]


@given(jitter=st.lists(st.floats(0.0, MAX_BEHIND_S - 0.01), min_size=1, max_size=50))
def test_jitter_passes_nothing_over(jitter: list[float]) -> None:
    arrivals = [at + jitter[number % len(jitter)] for number, at in enumerate(in_time(500))]
    assert skipped(arrivals) == []


@pytest.mark.parametrize("pause_s", [1.5, 4.0, 30.0])
def test_behind_a_pause_it_is_in_the_present_at_the_next_keyframe_but_one(pause_s: float) -> None:
    """The reader slept; what came meanwhile is read at once."""
    begin, late = 110, 110 + round(pause_s * FPS)
    wake_s = 100.0 + late / FPS
    arrivals = [max(at, wake_s) if number >= begin else at for number, at in enumerate(in_time(late + 300))]
    passed = skipped(arrivals)
    assert passed, "it was behind"
    assert min(passed) == begin
    assert max(passed) < late + GOP
    assert not any(number % GOP == 0 for number in passed)


def test_a_camera_that_stood_still_itself_is_not_skipped_for_ever() -> None:
    """Its times go on where they stopped, so that the delay stays: nothing is gained by skipping."""
    arrivals = [at + 5.0 if number >= 100 else at for number, at in enumerate(in_time(2000))]
    passed = skipped(arrivals)
    assert max(passed, default=0) <= 100 + CATCH_UP_S * FPS + GOP


def test_a_camera_that_is_always_slower_than_it_says_is_taken_as_it_is() -> None:
    arrivals = [100.0 + number / FPS * 1.0005 for number in range(100_000)]
    assert skipped(arrivals) == []


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
def test_times_that_jump_begin_a_new_line(jump_s: float) -> None:
    times = [number / FPS + (jump_s if number >= 100 else 0.0) for number in range(400)]
    assert skipped(in_time(400), times) == []
