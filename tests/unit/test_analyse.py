from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import structlog

from plantain.operators.analyse import Analyse, AnalyseQueries
from plantain.operators.analytics import ANALYTICS, make_analytic
from plantain.operators.analytics.distance import Distance
from plantain.operators.analytics.presence import Presence
from plantain.operators.analytics.track import GAP, Track
from plantain.operators.errors import UsageError
from plantain.operators.segments import Barrier, Durable, Position
from plantain.operators.streams import Start, StreamSpec
from plantain.operators.types import Event, Result
from tests.results import CARS, result

SEGMENT = 10


class Counting:
    """States how many results it has seen at every third, and fails at some."""

    is_stateless = False

    def __init__(self, fails_at: Sequence[int] = ()) -> None:
        self.fails_at = fails_at
        self.count = 0

    def step(self, result: Result) -> tuple[Result, Sequence[Event]]:
        self.count += 1
        if result.header.frame_index in self.fails_at:
            raise ValueError("rtsp://root:hunter2@10.0.0.7/ is no number")
        now = result.moment
        event = Event("counted", "counting", result.header.stream_id, now, None, now, detail=str(self.count))
        return result, [event] if self.count % 3 == 0 else []

    def snapshot(self) -> str:
        return str(self.count)

    def restore(self, state: str, lost: int) -> None:
        self.count = int(state or 0)


def step(*chain, durable: Durable | None = None, is_live: bool = False) -> Analyse:
    analyse = Analyse(chain or [("track", Track)])
    start = Start.fresh(StreamSpec("clip", "clip.mp4"), (CARS,), is_live=is_live)
    analyse.open(start if durable is None else replace(start, durable=durable))
    return analyse


def cut_into_segments(
    analyse: Analyse, frames: Sequence[Result]
) -> tuple[list[Result], dict[int, str | None]]:
    """The results, and by the first frame of each further segment what was known before it."""
    out: list[Result] = []
    known: dict[int, str | None] = {}
    for place, each in enumerate(frames):
        index = each.header.frame_index
        if place and index % SEGMENT == 0:
            promise = Durable("clip", each.header.epoch, Position(index, None, index))
            (barrier,) = analyse.cut([Barrier(index // SEGMENT, promise)])
            assert barrier.promise.position == promise.position
            known[index] = barrier.promise.state
        out += analyse([each])
    return out, known


def ids(results: list[Result]) -> list[tuple[int | None, ...]]:
    return [each.predictions[0].value.track_ids for each in results]


def stated(results: list[Result]) -> list[tuple[int, str, str, int]]:
    return [
        (each.header.frame_index, event.kind, event.rule, event.revision)
        for each in results
        for event in each.events
    ]


def test_each_analytic_sees_what_those_before_it_made():
    analyse = step(("track", Track), ("distance", Distance), ("presence", lambda: Presence(min_s=0.0)))
    (out,) = analyse([result(0)])
    assert out.predictions[0].value.track_ids == (1, 2)
    assert None not in out.predictions[0].value.distances_m
    assert [(event.kind, event.place.distance_m) for event in out.events] == [("appeared", 3.0)] * 2
    assert [part for part, _ in analyse.laps] == ["track", "distance", "presence"]


def test_what_is_known_where_a_segment_ends_goes_with_its_barrier():
    analyse = step()
    out, known = cut_into_segments(analyse, [result(index) for index in range(12)])
    assert list(known) == [10]
    assert ids(out) == [(1, 2)] * 12
    again = step(durable=Durable("clip", 0, Position(10), known[10]))
    assert again.snapshot("clip") == known[10]


CHAIN = (("track", Track), ("counting", Counting), ("presence", lambda: Presence(0.1, 0.2)))


@pytest.mark.parametrize("at", [10, 20])
def test_a_resumed_stream_states_the_same(at):
    frames = [result(index) for index in range(30)]
    whole, known = cut_into_segments(step(*CHAIN), frames)
    durable = Durable("clip", 0, Position(at, None, at), known[at])
    resumed, after = cut_into_segments(step(*CHAIN, durable=durable), frames[at:])
    assert [each.events for each in resumed] == [each.events for each in whole[at:]]
    assert any(each.events for each in resumed)
    assert ids(resumed) == ids(whole[at:])
    assert after == {index: state for index, state in known.items() if index > at}


# -- failures ------------------------------------------------------------------------------------------------


def test_an_analytic_that_fails_costs_neither_the_answers_nor_the_others_and_is_told_of():
    chain = (("counting", lambda: Counting(fails_at=(2, 3, 4, 7))), ("track", Track))
    out = step(*chain)([result(index) for index in range(9)])
    assert [each.failed_in for each in out] == [None] * 9
    assert ids(out) == [(1, 2)] * 9
    assert stated(out) == [
        (2, "failed", "counting", 0),
        (5, "failed", "counting", 1),
        (5, "counted", "counting", 0),
        (7, "failed", "counting", 0),
        (8, "failed", "counting", 1),
    ]
    failures = [event for each in out for event in each.events if event.kind == "failed"]
    assert [event.detail for event in failures[::2]] == ["ValueError: rtsp://10.0.0.7/ is no number"] * 2
    assert failures[0].identity == failures[1].identity != failures[2].identity
    assert (failures[1].start.frame_index, failures[1].end.frame_index) == (2, 5)


def test_what_a_failing_analytic_had_begun_to_note_is_forgotten():
    analyse = step(("counting", lambda: Counting(fails_at=(1,))))
    out = analyse([result(index) for index in range(4)])
    assert [event.detail for each in out for event in each.events if event.kind == "counted"] == ["3"]


def test_a_resumed_stream_knows_what_was_failing():
    chain = (("counting", lambda: Counting(fails_at=range(8, 12))),)
    frames = [result(index) for index in range(14)]
    whole, known = cut_into_segments(step(*chain), frames)
    durable = Durable("clip", 0, Position(10, None, 10), known[10])
    assert stated(step(*chain, durable=durable)(frames[10:])) == stated(whole[10:])


def test_an_analytic_that_cannot_say_what_it_knows_fails_nobody_else():
    class Dumb(Counting):
        def snapshot(self) -> str:
            raise RuntimeError("no words")

    analyse = step(("track", Track), ("dumb", Dumb))
    with structlog.testing.capture_logs() as logs:
        out, known = cut_into_segments(analyse, [result(index) for index in range(12)])
    assert len(logs) == 1, "it is said once"
    assert ids(out) == [(1, 2)] * 12
    assert sum(event.kind == "counted" for each in out for event in each.events) == 4
    durable = Durable("clip", 0, Position(10), known[10])
    again = step(("track", Track), ("dumb", Dumb), durable=durable)(
        [result(index) for index in range(10, 14)]
    )
    assert ids(again) == [(1, 2)] * 4
    assert [event.detail for each in again for event in each.events] == ["3"], "it begins anew"


# -- lives ---------------------------------------------------------------------------------------------------


def live(index: int, epoch: int, at_s: float) -> Result:
    made = result(index, epoch=epoch)
    return replace(made, info=replace(made.info, captured_ns=round(at_s * 1e9), captured_by="arrival"))


def numbers(results: list[Result]) -> set[int | None]:
    return {number for each in ids(results) for number in each}


def test_no_two_lives_of_a_camera_give_the_same_number_to_two_objects():
    """Lives that end before anything new was durable, a worker that is lost, and lives that go on."""
    given: list[set[int | None]] = []
    first, known = cut_into_segments(step(is_live=True), [live(k, 0, 1000 + k) for k in range(12)])
    given.append(numbers(first))
    state = known[10]
    epochs = [(0, state), (1, state), (2, state), (4, state)]
    for life, (epoch, known) in enumerate(epochs):
        analyse = step(is_live=True, durable=Durable("clip", epoch, Position(), known))
        given.append(
            numbers(analyse([live(1000 * (life + 1) + k, epoch, 5000 * (life + 1) + k) for k in range(5)]))
        )
    assert len(set().union(*given)) == sum(map(len, given))


def test_a_camera_of_which_nothing_was_durable_begins_with_numbers_of_its_life():
    analyse = step(is_live=True, durable=Durable("clip", 3, Position()))
    assert numbers(analyse([live(0, 3, 0)])) == {6 * GAP + 1, 6 * GAP + 2}


def test_a_first_life_begins_at_one_and_a_new_connection_changes_nothing():
    analyse = step(is_live=True)
    assert numbers(analyse([live(0, 0, 0), live(1, 1, 1), live(2, 2, 2)])) == {1, 2}


def test_what_version_0_1_stored_is_passed_over():
    state = (
        '{"next_id": 4, "segment": 2, "lanes": {"instances:car": [[3], [[0, 0, 2, 2]], [[0, 0, 0, 0]], [0]]}}'
    )
    analyse = step(is_live=True, durable=Durable("clip", 1, Position(), state))
    assert numbers(analyse([live(0, 1, 0)])) == {2 * GAP + 1, 2 * GAP + 2}


# -- the rest ------------------------------------------------------------------------------------------------


def test_queries_pass_through_what_keeps_nothing_and_a_failure_costs_nothing():
    class Broken(Distance):
        def step(self, result):
            raise RuntimeError("no")

    queries = AnalyseQueries([Track, Broken, Distance, Presence])
    (out,) = queries([result(0)])
    assert out.predictions[0].value.track_ids == ()
    assert out.predictions[0].value.distances_m == (3.0, 3.0)
    assert out.events == ()


def test_a_finished_stream_is_forgotten():
    analyse = step()
    analyse.finish("clip", None)
    with pytest.raises(KeyError):
        analyse.snapshot("clip")


@pytest.mark.parametrize("name", ANALYTICS)
def test_every_analytic_is_made_by_name_and_goes_on_from_what_it_knew(name):
    first, second = make_analytic(name, {}), make_analytic(name, {})
    first.step(result(0))
    second.restore(first.snapshot(), 0)
    assert second.snapshot() == first.snapshot()
    second.restore("", 0)
    assert second.snapshot() == make_analytic(name, {}).snapshot()


def test_an_analytic_of_the_user_is_made_by_its_dotted_path():
    made = make_analytic("tests.unit.test_analyse:Counting", {"fails_at": (1,)})
    assert made.fails_at == (1,)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("counter", {}, "analytic 'counter' is unknown: use track, distance, presence, or"),
        ("presence", {"colour": "red"}, "analytic 'presence' cannot be made"),
        ("presence", {"min_s": -1}, "min_s is at least 0"),
        ("no.such.module:Counter", {}, "cannot be imported"),
        ("plantain.operators.analytics.track:Tracker", {}, "Tracker"),
    ],
)
def test_an_analytic_that_cannot_be_made_is_explained(name, options, said):
    with pytest.raises(UsageError, match=said):
        make_analytic(name, options)
