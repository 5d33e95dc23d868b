from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from plantain.operators.analytics.presence import Presence
from plantain.operators.answers.masks.value import Masks
from plantain.operators.prompts import Prompt
from plantain.operators.types import Event, Failure, Result
from tests.results import CARS, result

PEOPLE = Prompt.parse("instances:person")


def seen(index: int, *track_ids: int, prompt: Prompt = CARS, distance_m: float | None = None) -> Result:
    """Squares of 2 x 2 pixels of a canvas of half the source's size, at 25 frames a second."""
    labels = np.zeros((12, 16), np.uint16)
    for k in range(len(track_ids)):
        labels[2:4, 3 * k : 3 * k + 2] = k + 1
    masks = Masks(
        labels, ("car",) * len(track_ids), np.ones(len(track_ids), np.float32), 0.0, track_ids,
        (distance_m,) * len(track_ids),
    )  # fmt: skip
    return result(index, {prompt: masks})


def events_of(presence: Presence, frames: list[Result]) -> list[Event]:
    return [event for each in frames for event in presence.step(each)[1]]


def told(events: list[Event]) -> list[tuple[object, ...]]:
    return [
        (each.kind, each.track_id, each.start.frame_index, each.end and each.end.frame_index, each.revision)
        for each in events
    ]


def test_a_stay_is_told_when_it_is_one_and_when_it_is_over():
    presence = Presence(min_s=0.19, lost_s=0.99)
    frames = [seen(k, *((7,) if 10 <= k < 50 else ())) for k in range(100)]
    events = events_of(presence, frames)
    assert told(events) == [("appeared", 7, 10, None, 0), ("left", 7, 10, 49, 1)]
    assert [each.evidence.frame_index for each in events] == [15, 74]
    assert events[0].identity == events[1].identity == "clip/presence/7/0.10"


def test_its_place_is_in_source_pixels_and_metres():
    presence = Presence(min_s=0)
    (event,) = events_of(presence, [seen(0, 7, 8, distance_m=3.5)])[:1]
    assert (event.place.x_px, event.place.y_px, event.place.distance_m) == (2.0, 8.0, 3.5)
    assert event.label == "car"


def test_what_is_seen_for_a_moment_only_is_nobody():
    frames = [seen(k, *((7,) if k in (3, 4) else ())) for k in range(200)]
    assert events_of(Presence(min_s=0.5, lost_s=1.0), frames) == []


def test_who_comes_back_after_having_left_begins_another_stay():
    frames = [seen(k, *((7,) if k < 20 or k > 80 else ())) for k in range(100)]
    events = events_of(Presence(min_s=0.2, lost_s=1.0), frames)
    assert [each.kind for each in events] == ["appeared", "left", "appeared"]
    assert len({each.identity for each in events}) == 2


def test_nobody_leaves_because_nobody_looked():
    presence = Presence(min_s=0.0, lost_s=1.0)
    failed = replace(seen(1).predictions[0], value=Failure("infer", "no", retryable=True))
    failure = replace(seen(1), predictions=(failed,))
    others = [seen(k, prompt=PEOPLE) for k in range(2, 100)]
    assert [each.kind for each in events_of(presence, [seen(0, 7), failure, *others])] == ["appeared"]
    assert [each.kind for each in events_of(presence, [seen(100)])] == ["left"]


@pytest.mark.parametrize("at", [5, 14, 16, 50, 74, 76])
def test_a_resumed_stream_states_the_same(at):
    frames = [seen(k, *((7,) if 10 <= k < 50 else ()), *((9,) if k > 30 else ())) for k in range(100)]
    whole = Presence(min_s=0.2, lost_s=1.0)
    before = events_of(whole, frames[:at])
    again = Presence(min_s=0.2, lost_s=1.0)
    again.restore(whole.snapshot(), 0)
    assert again.snapshot() == whole.snapshot()
    assert before + events_of(again, frames[at:]) == before + events_of(whole, frames[at:])


@pytest.mark.parametrize("options", [{"min_s": -1}, {"lost_s": 0}])
def test_senseless_times_are_refused(options):
    with pytest.raises(ValueError, match="min_s is at least 0"):
        Presence(**options)
