from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from plantain.operators.analytics.track import GAP, MAX_LOST_S, Track
from plantain.operators.answers.masks.value import Masks
from plantain.operators.geometry import Letterbox
from plantain.operators.prompts import Prompt
from plantain.operators.types import Failure, FrameInfo, Header, Prediction, Result, Timing
from tests.results import CARS, DEPTH, depth, result

PEOPLE = Prompt.parse("instances:person")
SOURCE = (400, 2000)
STEP_MS = 40


def squares(*columns: int, row: int = 10) -> Masks:
    """Squares of 8 x 8 pixels at these columns of a canvas of 40 x 200."""
    labels = np.zeros((40, 200), np.uint16)
    for number, column in enumerate(columns, start=1):
        labels[row : row + 8, column : column + 8] = number
    return Masks(labels, ("car",) * len(columns), np.ones(len(columns), np.float32), 0.0)


def frame(index: int, *columns: int, prompt: Prompt = CARS) -> Result:
    return result(index, {prompt: squares(*columns)}, model_hw=(40, 200))


def street(
    time_s: float,
    *lefts: float,
    epoch: int = 0,
    index: int | None = None,
    scale: float = 0.1,
    source_hw: tuple[int, int] = SOURCE,
    captured_s: float | None = None,
    has_pts: bool = True,
) -> Result:
    """Cars of 200 x 80 source pixels, their left edges at `lefts`, on a canvas of `scale` times the source."""
    model_hw = (round(source_hw[0] * scale), round(source_hw[1] * scale))
    labels = np.zeros(model_hw, np.uint16)
    across, down = model_hw[1] / SOURCE[1], model_hw[0] / SOURCE[0]
    for number, left in enumerate(lefts, start=1):
        rows = slice(round(100 * down), round(180 * down))
        labels[rows, round(left * across) : round((left + 200) * across)] = number
    masks = Masks(labels, ("car",) * len(lefts), np.ones(len(lefts), np.float32), 0.0)
    info = FrameInfo(
        round(time_s * 90_000) if has_pts else None,
        Fraction(1, 90_000),
        None if captured_s is None else round(captured_s * 1e9),
        "file" if captured_s is None else "camera",
        Letterbox.fit(source_hw, model_hw),
    )
    header = Header("gate", epoch, round(time_s * 25) if index is None else index)
    return Result(header, info, (Prediction(CARS, masks, "hand", "0", Timing()),))


def ids(track: Track, frames: list[Result]) -> list[tuple[int | None, ...]]:
    return [track.step(each)[0].predictions[0].value.track_ids for each in frames]


def test_an_object_keeps_its_identity_while_it_moves_and_others_cross_it():
    frames = [frame(index, 10 + 4 * index, 150 - 4 * index) for index in range(15)]
    assert ids(Track(), frames) == [(1, 2)] * 15


def test_the_order_in_which_regions_are_listed_does_not_matter():
    assert ids(Track(), [frame(0, 10, 100), frame(1, 100, 10)]) == [(1, 2), (2, 1)]


def test_a_new_object_gets_a_number_that_was_never_used():
    frames = [frame(0, 10), frame(1), frame(2, 150), frame(3, 150, 80)]
    assert ids(Track(), frames) == [(1,), (), (2,), (2, 3)]


def test_an_object_that_was_hidden_for_a_while_is_the_same_one():
    seen = [frame(index, 10 + 4 * index) for index in range(4)]
    hidden = [frame(index) for index in range(4, 9)]
    assert ids(Track(), [*seen, *hidden, frame(9, 10 + 4 * 9)])[-1] == (1,)


def test_an_object_that_was_gone_for_long_is_a_new_one():
    last = round(MAX_LOST_S * 1000 / STEP_MS)
    gone = [frame(0, 10), *(frame(index) for index in range(1, last + 1))]
    assert ids(Track(), [*gone, frame(last, 10)])[-1] == (1,)
    assert ids(Track(), [*gone, frame(last + 2, 10)])[-1] == (2,)


def test_prompts_are_followed_apart_but_identities_are_unique_in_the_stream():
    both = result(0, {CARS: squares(10), PEOPLE: squares(10)}, model_hw=(40, 200))
    out, events = Track().step(both)
    assert [prediction.value.track_ids for prediction in out.predictions] == [(1,), (2,)]
    assert events == ()


def test_other_tasks_and_failures_pass_untouched():
    failure = Failure("infer", "no", retryable=False)
    mixed = result(
        0, {CARS: failure, DEPTH: depth(1), Prompt.parse("semantic:car"): squares(10)}, model_hw=(40, 200)
    )
    out, _ = Track().step(mixed)
    assert out.predictions == mixed.predictions


# -- source pixels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scales", [(0.1, 0.05), (0.05, 0.1), (0.2, 0.1, 0.05, 0.2), (0.04, 0.1)])
def test_identities_outlive_a_change_of_the_canvas(scales):
    """What the overload ladder's step `size` does, and takes back."""
    frames = [
        street(k / 5, 100 + 60 * k, 1500 - 60 * k, scale=scales[k * len(scales) // 12]) for k in range(12)
    ]
    assert ids(Track(), frames) == [(1, 2)] * 12


@pytest.mark.parametrize("source_hw", [(200, 1000), (800, 4000), (400, 1000)])
def test_identities_outlive_a_change_of_the_camera_s_own_resolution(source_hw):
    scales = {True: 0.1, False: 0.1 * SOURCE[1] / source_hw[1]}
    frames = [
        street(k / 5, 100 + 60 * k, scale=scales[k < 6], source_hw=SOURCE if k < 6 else source_hw)
        for k in range(12)
    ]
    assert ids(Track(), frames) == [(1,)] * 12


# -- seconds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [(1, 1, 1), (1, 2, 1, 2), (2, 2, 1, 1, 4), (1, 4, 1, 4)])
def test_velocity_is_per_second_however_many_frames_are_looked_at(times):
    """A car that drives 700 pixels a second, looked at in steps of so many tenths of a second."""
    moments = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    for step in times:
        moments.append(moments[-1] + step / 10)
    assert ids(Track(), [street(at, 50 + 700 * at) for at in moments]) == [(1,)] * len(moments)


@pytest.mark.parametrize("outage_s", [4.0, 40.0, 4000.0])
@pytest.mark.parametrize("index", [None, 26])
def test_an_outage_ends_identities_whatever_the_frames_are_numbered(outage_s, index):
    before = [street(k / 25, 500) for k in range(26)]
    assert ids(Track(), [*before, street(1 + outage_s, 500, index=index)])[-1] == (2,)


@pytest.mark.parametrize(("outage_s", "expected"), [(0.5, 1), (2.0, 1), (4.0, 2), (40.0, 2), (86_400.0, 2)])
def test_across_two_connections_capture_time_tells_how_long_a_camera_was_away(outage_s, expected):
    before = [street(700 + k / 5, 500, captured_s=1e9 + k / 5) for k in range(6)]
    after = street(0.0, 500, epoch=1, index=6, captured_s=1e9 + 1 + outage_s)
    assert ids(Track(), [*before, after])[-1] == (expected,)


def test_where_no_clock_tells_how_long_a_camera_was_away_everything_is_new():
    before = [street(700 + k / 5, 500) for k in range(6)]
    assert ids(Track(), [*before, street(0.0, 500, epoch=1, index=6)])[-1] == (2,)


def test_without_timestamps_the_place_in_the_stream_tells():
    frames = [street(k / 25, 100, has_pts=False) for k in range(5)]
    assert ids(Track(), frames) == [(1,)] * 5
    track = Track()
    assert ids(track, [*frames, street(30.0, 100, has_pts=False)])[-1] == (2,)


@pytest.mark.parametrize("back_s", [0.2, 3600.0])
def test_a_clock_that_goes_back_does_not_change_who_is_who_nor_keep_anybody_for_ever(back_s):
    track = Track()
    assert ids(track, [street(4000 + k / 5, 500, index=k) for k in range(5)])[-1] == (1,)
    later = [street(4001 - back_s + k / 5, 500, index=5 + k) for k in range(5)]
    assert ids(track, later) == [(1,)] * 5
    gone = [street(4002 - back_s + k / 5, index=10 + k) for k in range(20)]
    assert ids(track, [*gone, street(4006 - back_s, 500, index=30)])[-1] == (2,)


@pytest.mark.parametrize("every_s", [2.0, 10.0, 60.0])
def test_where_a_prompt_is_asked_seldom_identities_last_from_look_to_look(every_s):
    found = ids(Track(), [street(k * every_s, 500) for k in range(8)])
    assert len(set(found[1:])) == 1


def test_an_outage_is_not_taken_for_a_habit():
    track = Track()
    ids(track, [street(k / 5, 500) for k in range(10)])
    ids(track, [street(42, 500)])
    assert ids(track, [street(82, 500)]) == [(3,)]


# -- lives ---------------------------------------------------------------------------------------------------


def resumed(state: str, lost: int) -> Track:
    track = Track()
    track.restore(state, lost)
    return track


@pytest.mark.parametrize("at", [1, 10, 20])
def test_a_resumed_stream_gives_the_same_identities(at):
    frames = [frame(index, 10 + 4 * index, *([150 - 4 * index] if index % 7 else [])) for index in range(30)]
    whole = Track()
    expected, states = [], []
    for each in frames:
        states.append(whole.snapshot())
        expected += ids(whole, [each])
    again = resumed(states[at], 0)
    assert again.snapshot() == states[at]
    assert ids(again, frames[at:]) == expected[at:]


@pytest.mark.parametrize("lost", [1, 2, 7])
def test_behind_a_gap_nobody_gets_a_number_that_may_have_been_given(lost):
    track = Track()
    ids(track, [street(0, 100, captured_s=1e9)])
    state = track.snapshot()
    (given,) = ids(track, [street(0.2, 100, 900, captured_s=1e9 + 0.2)])
    later = resumed(state, lost)
    (found,) = ids(later, [street(0.0, 100, 500, epoch=lost, captured_s=1e9 + 3600)])
    assert not {*given} & {*found}
    assert min(found) > GAP * lost


def test_two_gaps_since_the_same_snapshot_are_told_apart():
    lives = [resumed("", lost) for lost in (0, 2, 4, 5)]
    found = [ids(each, [street(k, 300) for k in range(0, 50, 10)]) for each in lives]
    numbers = [{number for (number,) in life} for life in found]
    assert len(set().union(*numbers)) == sum(map(len, numbers))


def test_who_is_still_there_a_moment_after_a_camera_began_anew_is_who_he_was():
    track = Track()
    ids(track, [street(k / 5, 500, captured_s=1e9 + k / 5) for k in range(6)])
    again = resumed(track.snapshot(), 2)
    assert ids(again, [street(0, 500, epoch=1, index=0, captured_s=1e9 + 2)]) == [(1,)]


def test_the_state_of_a_busy_street_is_short():
    track = Track()
    ids(track, [street(k / 5, *range(0, 1900, 210)) for k in range(20)])
    assert len(track.snapshot()) < 1000
    assert replace(street(0, 1), events=()).moment.frame_index == 0


def followed(index: int, **things: int) -> Result:
    """Squares at columns that a model follows under numbers of its own: `_7=100`."""
    value = squares(*things.values())
    given = tuple(int(name.removeprefix("_")) for name in things)
    return result(index, {CARS: replace(value, track_ids=given)}, model_hw=(40, 200))


def ids_in(track: Track, each: Result) -> tuple[int | None, ...]:
    value = track.step(each)[0].predictions[0].value
    assert isinstance(value, Masks)
    return value.track_ids


def test_a_thing_that_the_model_follows_keeps_its_identity_whatever_it_overlaps() -> None:
    track = Track()
    assert ids_in(track, followed(0, _7=10, _9=100)) == (1, 2)
    assert ids_in(track, followed(1, _9=10, _7=100)) == (2, 1), "they have changed places"
    again = Track()
    again.restore(track.snapshot(), 0)
    assert ids_in(again, followed(2, _7=150, _9=60)) == (1, 2)


def test_a_model_that_began_anew_is_matched_by_where_things_are() -> None:
    track = Track()
    assert ids_in(track, followed(0, _7=10, _9=100)) == (1, 2)
    assert ids_in(track, followed(1, _1000007=101, _1000008=50)) == (2, 3)
    assert ids_in(track, followed(2, _1000007=20, _1000008=160)) == (2, 3)
