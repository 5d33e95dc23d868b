"""No car and no camera are different: rows say when a camera was away, each time once, also over restarts."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from plantain.operators.segments import Barrier, Durable, Position
from plantain.operators.sinks.memory import MemorySink
from plantain.operators.sinks.rows import table_of
from plantain.operators.streams import Start
from plantain.operators.write import Write
from tests.field.written import BEGUN, SPEC, S, Written
from tests.results import CARS, DEPTH, result


@pytest.mark.parametrize("state", ["silent", "lost", "refused", "unauthorised", "not_found", "no_video"])
@pytest.mark.parametrize("epochs", [(0, 0), (0, 1)])
def test_a_camera_that_was_away_has_a_row_from_when_until_when_and_why(state, epochs) -> None:
    camera = Written()
    camera.tell("connecting", 0.0)
    camera.frame(0.5, 0)
    camera.tell("live", 0.5)
    camera.frame(1.0, 1)
    camera.tell(state, 4.0)
    camera.tell("live", 9.0, epochs[1])
    camera.frame(9.0, 2, epochs[1])
    camera.cut(9.5, epochs[1])
    assert camera.rows() == [("ok", 0.5, None), ("ok", 1.0, None), (state, 1.0, 9.0), ("ok", 9.0, None)]


def test_the_first_thing_that_was_wrong_is_the_reason_and_remarks_are_none() -> None:
    camera = Written()
    camera.frame(0.0, 0)
    camera.tell("lost", 1.0)
    for state in ("reconfigured", "refused", "slowed", "silent", "live", "changed"):
        camera.tell(state, 2.0)
    camera.frame(5.0, 1, 1)
    camera.cut(6.0)
    assert camera.rows()[1] == ("lost", 0.0, 5.0)


def test_answers_that_were_on_their_way_when_a_camera_went_end_no_gap() -> None:
    camera = Written()
    camera.frame(0.0, 0)
    camera.tell("lost", 0.1)
    for index in range(1, 5):
        camera.frame(index / 10, index)
    camera.tell("live", 8.0, 1)
    camera.frame(8.0, 5, 1)
    camera.cut(9.0)
    assert [row for row in camera.rows() if row[2]] == [("lost", 0.4, 8.0)]


@pytest.mark.parametrize("by", ["arrival", "camera"])
@pytest.mark.parametrize("state", ["silent", "lost", "refused"])
def test_answers_that_come_after_a_camera_went_leave_the_reason_as_it_is(state, by) -> None:
    camera = Written(by=by, skew_s=0.0 if by == "arrival" else 3600.0)
    camera.frame(0.0, 0)
    camera.tell(state, 2.0)
    for index in range(1, 4):
        camera.frame(index / 10, index, answered_s=2.0 + index)
    for at_s in (6.0, 60.0, 120.0):
        camera.cut(at_s)
    camera.tell("live", 130.0)
    camera.frame(130.0, 4)
    camera.cut(131.0)
    told = [row for row in camera.rows() if row[2]]
    assert {row[0] for row in told} == {state}
    assert [told[0][1], told[-1][2]] == [0.3, 130.0]
    assert all(before[2] == after[1] for before, after in pairwise(told))


def test_a_short_silence_is_told_though_answers_from_before_it_come_when_it_is_over() -> None:
    camera = Written()
    camera.frame(0.0, 0)
    camera.tell("silent", 3.0)
    camera.tell("live", 5.0)
    camera.frame(0.1, 1, answered_s=6.0)
    camera.frame(5.0, 2, answered_s=9.0)
    camera.frame(65.0, 3)
    camera.cut(66.0)
    assert [row for row in camera.rows() if row[2]] == [("silent", 0.1, 5.0)]


def test_what_was_seen_before_a_camera_went_silent_was_no_gap() -> None:
    camera = Written()
    camera.frame(0.0, 0)
    camera.tell("silent", 70.0)
    camera.frame(60.0, 1, answered_s=75.0)
    camera.tell("live", 80.0)
    camera.frame(80.0, 2)
    camera.cut(81.0)
    assert [row for row in camera.rows() if row[2]] == [("silent", 60.0, 80.0)]


def test_a_camera_that_goes_before_its_first_answer_has_the_time_before_and_the_reason_after() -> None:
    durable = Durable("gate", 1, Position(), seen_ns=BEGUN)
    camera = Written(durable)
    camera.tell("connecting", 30.0, 1)
    camera.tell("live", 31.0, 1)
    camera.tell("silent", 40.0, 1)
    camera.cut(41.0, 1)
    camera.frame(31.0, 0, 1, answered_s=42.0)
    for at_s in (43.0, 90.0, 150.0):
        camera.cut(at_s, 1)
    assert [row for row in camera.rows() if row[2]] == [
        ("stopped", 0.0, 41.0),
        ("silent", 41.0, 79.0),
        ("silent", 79.0, 139.0),
    ]


def test_a_camera_that_is_back_at_once_and_one_that_is_seldom_looked_at_have_no_gap() -> None:
    camera = Written()
    camera.tell("connecting", 0.0)
    camera.frame(0.7, 0)
    camera.tell("live", 0.7)
    camera.tell("lost", 0.9)
    camera.frame(1.2, 1, 1)
    for index in range(2, 9):
        camera.frame(60.0 * index, index, 1)
    camera.cut(600.0)
    assert {row[0] for row in camera.rows()} == {"ok"}


def test_a_camera_that_stays_away_says_so_again_and_again_without_a_hole_and_without_overlap() -> None:
    camera = Written()
    camera.frame(0.0, 0)
    camera.tell("silent", 10.0)
    assert camera.cut(11.0).seen_ns == BEGUN, "it has results in this segment: its time is told later"
    for at_s in (60.0, 120.0):
        assert camera.cut(at_s).seen_ns == BEGUN + round(at_s * S)
    camera.tell("refused", 130.0)
    camera.cut(180.0)
    camera.tell("live", 200.0, 1)
    camera.frame(200.5, 1, 1)
    camera.cut(201.0, 1)
    told = [row for row in camera.rows() if row[2]]
    assert told == [
        ("silent", 0.0, 60.0),
        ("silent", 60.0, 120.0),
        ("silent", 120.0, 180.0),
        ("refused", 180.0, 200.5),
    ]


@pytest.mark.parametrize("skew_s", [-7200.0, 3600.0])
def test_a_camera_whose_clock_is_wrong_has_its_gaps_in_its_own_time(skew_s: float) -> None:
    camera = Written(skew_s=skew_s, by="camera")
    camera.frame(0.0, 0)
    camera.tell("silent", 10.0)
    camera.cut(12.0)
    camera.cut(60.0)
    camera.tell("live", 70.0)
    camera.frame(70.0, 1)
    camera.cut(71.0)
    assert [row for row in camera.rows() if row[2]] == [("silent", 0.0, 60.0), ("silent", 60.0, 70.0)]


@pytest.mark.parametrize("set_s", [-86_400.0, -5.0])
def test_a_clock_that_was_set_back_leaves_later_gaps_in_the_time_of_their_frames(set_s: float) -> None:
    camera = Written()
    camera.frame(0.0, 0)
    camera.frame(1.0, 1)
    camera.frame(set_s + 2.0, 2)
    camera.frame(set_s + 3.0, 3)
    for index in (0, 1):
        camera.frame(index, index, answered_s=set_s + 5.0)  # by a slower model
    camera.tell("silent", set_s + 8.0)
    camera.cut(set_s + 9.0)
    camera.cut(set_s + 60.0)
    camera.tell("live", set_s + 70.0)
    camera.frame(set_s + 70.0, 4)
    camera.cut(set_s + 71.0)
    assert [row for row in camera.rows() if row[2]] == [
        ("silent", set_s + 3.0, set_s + 60.0),
        ("silent", set_s + 60.0, set_s + 70.0),
    ]


def test_a_camera_that_never_came_has_been_away_since_it_was_asked() -> None:
    camera = Written()
    camera.tell("connecting", 2.0)
    camera.tell("refused", 5.0)
    camera.cut(62.0)
    assert camera.rows() == [("connecting", 2.0, 62.0)]
    (row,) = camera.sink.rows("frames")
    assert (row["width"], row["height"], row["model"], row["model_fingerprint"]) == (0, 0, "", "")
    assert table_of("frames", [row]).validate(full=True) is None


@pytest.mark.parametrize(("told", "reason"), [(None, "stopped"), ("paused", "paused"), ("failed", "failed")])
def test_what_was_not_stored_when_it_ended_is_a_gap_when_it_goes_on(told, reason) -> None:
    camera = Written()
    camera.frame(0.0, 0)
    durable = camera.cut(1.0)
    camera.frame(2.0, 1)
    if told is not None:
        camera.tell(told, 3.0)
        camera.frame(3.1, 2)
        ended = camera.write.finish("gate", replace(durable, is_complete=True))
        assert ended is not None
        durable = ended
    going_on = Durable("gate", 1, Position(), seen_ns=durable.seen_ns)
    again = Written(going_on, write=None if told is None else camera.write, clock=camera.clock)
    again.tell("connecting", 500.0, 1)
    again.frame(501.0, 0, 1)
    again.cut(502.0, 1)
    sink = camera.sink if told is not None else again.sink
    again.sink = sink
    assert [row for row in again.rows() if row[2]] == [(reason, 3.1 if told else 0.0, 501.0)]


def test_a_gap_that_was_not_committed_is_told_once_all_the_same() -> None:
    camera = Written()
    camera.frame(0.0, 0)
    durable = camera.cut(1.0)
    camera.tell("lost", 2.0)
    camera.frame(9.0, 1, 1)  # its worker dies before the barrier
    again = Written(Durable("gate", 1, Position(), seen_ns=durable.seen_ns), clock=camera.clock)
    again.frame(12.0, 2, 1)
    again.cut(13.0, 1)
    assert again.rows() == [("stopped", 0.0, 12.0), ("ok", 12.0, None)]


def test_each_prompt_has_a_row_of_what_is_asked_now() -> None:
    camera = Written()
    camera.frame(0.0, 0)
    camera.write.change(Start.fresh(SPEC, (DEPTH, CARS), is_live=True))
    camera.tell("silent", 10.0)
    camera.cut(11.0)
    camera.cut(70.0)
    assert camera.rows("depth")[1:] == camera.rows()[1:] == [("silent", 0.0, 70.0)]


def test_files_and_cameras_that_do_not_say_when_have_no_gaps() -> None:
    for is_live in (False, True):
        sink = MemorySink()
        write = Write([sink])
        write.open(Start.fresh(SPEC, (CARS,), is_live=is_live))
        list(write([result(0, stream_id="gate"), result(90, stream_id="gate", epoch=1)]))
        write.cut([Barrier(1, Durable("gate", 1, Position(0)))])
        assert {row["status"] for row in sink.rows("frames")} == {"ok"}
