from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from plantain.operators.analytics.track import MAX_AGE, Track
from plantain.operators.answers.masks.value import Masks
from plantain.operators.prompts import Prompt
from plantain.operators.streams import Start, StreamSpec
from plantain.operators.types import Durable, Failure, Position, Result
from tests.results import CARS, DEPTH, depth, result

SEGMENT = 10
PEOPLE = Prompt.parse("instances:person")


def squares(*columns: int, row: int = 10) -> Masks:
    """Squares of 8 x 8 pixels at these columns of a canvas of 40 x 200."""
    labels = np.zeros((40, 200), np.uint16)
    for number, column in enumerate(columns, start=1):
        labels[row : row + 8, column : column + 8] = number
    return Masks(labels, ("car",) * len(columns), np.ones(len(columns), np.float32), 0.0)


def frame(index: int, *columns: int, prompt: Prompt = CARS) -> Result:
    return result(index, {prompt: squares(*columns)}, model_hw=(40, 200))


def tracker(durable: Durable | None = None, **options) -> Track:
    track = Track(SEGMENT, **options)
    start = Start.fresh(StreamSpec("clip", "clip.mp4"), (CARS,))
    track.open(start if durable is None else replace(start, durable=durable))
    return track


def ids(results: list[Result]) -> list[tuple[int | None, ...]]:
    return [each.predictions[0].value.track_ids for each in results]


def test_an_object_keeps_its_identity_while_it_moves_and_others_cross_it():
    track = tracker()
    found = ids(track([frame(index, 10 + 4 * index, 150 - 4 * index) for index in range(15)]))
    assert found == [(1, 2)] * 15


def test_the_order_in_which_regions_are_listed_does_not_matter():
    track = tracker()
    track([frame(0, 10, 100)])
    assert ids(track([frame(1, 100, 10)])) == [(2, 1)]


def test_a_new_object_gets_a_number_that_was_never_used():
    track = tracker()
    assert ids(track([frame(0, 10), frame(1), frame(2, 150), frame(3, 150, 80)])) == [(1,), (), (2,), (2, 3)]


def test_an_object_that_was_hidden_for_a_while_is_the_same_one():
    track = tracker()
    seen = [frame(index, 10 + 4 * index) for index in range(4)]
    hidden = [frame(index) for index in range(4, 9)]
    assert ids(track([*seen, *hidden, frame(9, 10 + 4 * 9)]))[-1] == (1,)


def test_an_object_that_was_gone_for_long_is_a_new_one():
    track = tracker()
    track([frame(0, 10), *(frame(index) for index in range(1, MAX_AGE + 2))])
    assert ids(track([frame(MAX_AGE + 2, 10)])) == [(2,)]


def test_prompts_are_followed_apart_but_identities_are_unique_in_the_stream():
    track = tracker()
    both = result(0, {CARS: squares(10), PEOPLE: squares(10)}, model_hw=(40, 200))
    (out,) = track([both])
    assert [prediction.value.track_ids for prediction in out.predictions] == [(1,), (2,)]


def test_other_tasks_and_failures_pass_untouched():
    track = tracker()
    failure = Failure("infer", "no", retryable=False)
    mixed = result(
        0, {CARS: failure, DEPTH: depth(1), Prompt.parse("semantic:car"): squares(10)}, model_hw=(40, 200)
    )
    (out,) = track([mixed])
    assert out.predictions == mixed.predictions


def test_switched_off_nothing_gets_an_identity():
    assert ids(tracker(is_on=False)([frame(0, 10)])) == [()]


def test_the_first_frame_of_each_segment_carries_what_was_known_before():
    out = tracker()([frame(index, 10) for index in range(12)])
    assert [index for index, each in enumerate(out) if each.state_before is not None] == [0, 10]


@pytest.mark.parametrize("at", [10, 20])
def test_a_resumed_stream_gives_the_same_identities(at):
    frames = [frame(index, 10 + 4 * index, *([150 - 4 * index] if index % 7 else [])) for index in range(30)]
    whole = tracker()(frames)
    durable = Durable("clip", 0, Position(at, None, at), whole[at].state_before)
    resumed = tracker(durable)(frames[at:])
    assert ids(resumed) == ids(whole[at:])
    assert [each.state_before for each in resumed] == [each.state_before for each in whole[at:]]


def test_after_restore_it_is_as_if_nothing_had_happened():
    track = tracker()
    track([frame(0, 10)])
    before = track.snapshot("clip")
    track([frame(1, 100, 150)])
    track.restore("clip", before)
    assert track.snapshot("clip") == before
    assert ids(track([frame(1, 12)])) == [(1,)]


def test_a_frame_that_failed_here_still_carries_the_state_at_the_start_of_its_segment():
    track = tracker()
    track([frame(index, 10) for index in range(10)])
    before = track.snapshot("clip")
    failed = track.fail(frame(10, 10), Failure("analyse", "no", retryable=False))
    assert failed.failed_in == "analyse"
    assert failed.state_before == before
    assert ids(track([frame(11, 10)])) == [(1,)]


def test_a_finished_stream_is_forgotten():
    track = tracker()
    track.finish("clip", is_complete=True)
    with pytest.raises(KeyError):
        track.snapshot("clip")
