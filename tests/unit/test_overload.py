from __future__ import annotations

from plantain.operators.streams import Ease
from plantain.pipeline.engine.overload import Overload, Strain

LADDER = Overload(("frames", "size", "tasks"), max_age_s=1.0, window_s=2.0, recover_s=6.0)


def climb(strain: Strain, rung: int, now: float, ages: list[float], *, lost: int = 0) -> int:
    """One window with results of some ages."""
    for age_s in ages:
        strain.num_read += 1
        strain.result(now - 0.5, now - age_s, now)
    strain.num_lost += lost
    return strain.step(LADDER, rung, now)


def test_each_rung_gives_up_one_thing_more():
    assert [LADDER.ease(rung) for rung in range(4)] == [
        Ease("", 0, 1, 1, 1),
        Ease("", 1, 2, 1, 1),
        Ease("", 2, 2, 2, 1),
        Ease("", 3, 2, 2, 2),
    ]


def test_old_results_or_lost_frames_are_overload_and_one_window_is_one_step():
    strain = Strain(has_results=True)
    assert strain.step(LADDER, 0, 0.0) == 0
    assert climb(strain, 0, 1.0, [5.0]) == 0, "the window is not over"
    assert climb(strain, 0, 2.0, [0.1]) == 1
    assert climb(strain, 1, 4.0, [0.1] * 8, lost=2) == 2
    assert climb(strain, 2, 6.0, [0.1] * 19, lost=2) == 2, "a hiccup is none"
    assert climb(strain, 2, 8.0, [3.0]) == 3
    assert climb(strain, 3, 10.0, [3.0]) == 3, "there is nothing more to give up"


def test_results_of_frames_from_before_a_step_do_not_cause_the_next():
    strain = Strain(has_results=True)
    strain.step(LADDER, 0, 0.0)
    assert climb(strain, 0, 2.0, [5.0]) == 1
    strain.result(1.9, 1.9, 8.9)
    assert strain.step(LADDER, 1, 4.0) == 1


def test_what_waited_for_a_process_that_was_stopped_is_no_overload():
    strain = Strain(has_results=True)
    strain.step(LADDER, 0, 0.0)
    strain.num_read, strain.num_lost = 10, 500
    strain.result(0.5, 0.5, 60.0)
    assert strain.step(LADDER, 0, 60.0) == 0
    strain.num_lost += 300
    strain.result(60.5, 20.0, 61.5)
    assert [strain.step(LADDER, 0, now) for now in (61.9, 62.0, 64.0)] == [0, 0, 0]
    assert climb(strain, 0, 66.0, [5.0]) == 1, "what comes later counts"


def test_recovery_takes_calm_and_after_a_relapse_twice_as_long():
    strain, rung, now = Strain(has_results=True), 0, 0.0
    strain.step(LADDER, rung, now)
    history = []
    for ages in [[5.0]] + [[0.1]] * 3 + [[5.0]] + [[0.1]] * 6:
        now += 2.0
        rung = climb(strain, rung, now, ages)
        history.append(rung)
    assert history == [1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0]


def test_what_was_lost_and_grew_old_before_the_first_result_is_no_overload():
    strain = Strain()
    strain.num_read, strain.num_lost = 4, 96
    assert strain.step(LADDER, 0, 0.0) == 0
    strain.result(0.5, 0.5, 7.5)
    strain.result(0.6, 0.6, 7.6)
    strain.num_read += 50
    assert [strain.step(LADDER, 0, now) for now in (7.5, 9.5)] == [0, 0]
    assert climb(strain, 0, 11.5, []) == 0
    strain.result(9.0, 9.0, 16.0)
    assert strain.step(LADDER, 0, 13.5) == 1


def test_before_the_first_result_the_model_is_only_warming_up():
    strain = Strain()
    strain.step(LADDER, 0, 0.0)
    assert climb(strain, 0, 2.0, [], lost=50) == 0
    assert climb(strain, 0, 4.0, [0.1] * 9) == 0
    assert climb(strain, 0, 6.0, [0.1], lost=50) == 1
