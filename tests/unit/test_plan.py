from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from plantain.operators.geometry import Letterbox
from plantain.operators.plan import Plan, Target, smaller
from plantain.operators.prompts import Prompt
from plantain.operators.segments import Durable, Position
from plantain.operators.streams import Ease, Sampling, Start, StreamSpec
from plantain.operators.types import Frame, FrameInfo, Header, Request, Result

DEPTH, NORMALS, BANDS = map(Prompt.parse, ("depth", "normals", "semantic:dark,bright"))


def frame(index: int, fps: int = 10, *, model_hw: tuple[int, int] = (96, 160)) -> Frame:
    fit = Letterbox.fit((90, 160), model_hw)
    info = FrameInfo(index, Fraction(1, fps), None, "file", fit)
    return Frame(Header("cam", 0, index), info, np.full((*model_hw, 3), index % 256, np.uint8))


def start(prompts, cadences=(), position: Position | None = None) -> Start:
    durable = Durable("cam", 0, position or Position())
    return Start(StreamSpec("cam", "x"), tuple(prompts), durable, cadences=tuple(cadences))


def asked(plan: Plan, frames) -> dict[int, tuple[str, ...]]:
    return {each.header.frame_index: each.header.prompts for each in plan(frames)}


def test_each_prompt_is_asked_as_often_as_it_says():
    plan = Plan()
    plan.open(start([DEPTH, NORMALS], [("depth", Sampling(fps=2)), ("normals", Sampling(every=3))]))
    found = asked(plan, [frame(index) for index in range(12)])
    assert [index for index, prompts in found.items() if "depth" in prompts] == [0, 5, 10]
    assert [index for index, prompts in found.items() if "normals" in prompts] == [0, 3, 6, 9]


def test_a_frame_that_is_asked_nothing_is_a_result_without_answers_and_costs_nothing():
    plan = Plan()
    plan.open(start([DEPTH], [("depth", Sampling(every=2))]))
    first, second = plan([frame(0), frame(1)])
    assert isinstance(first, Request)
    assert isinstance(second, Result)
    assert (second.predictions, second.header.cost, second.header.spared) == ((), 0, ())


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_run_that_is_taken_up_anywhere_asks_what_an_uncut_one_asks(cut):
    cadences = [
        ("depth", Sampling(fps=29.97 / 4)),
        ("normals", Sampling(every=4)),
        (str(BANDS), Sampling(0.9, 2)),
    ]
    prompts = [DEPTH, NORMALS, BANDS]
    kept = [frame(index, 24) for index in range(0, 60, 2)]  # frames that the stream's sampling keeps
    whole = Plan()
    whole.open(start(prompts, cadences))
    expected = asked(whole, kept)
    again = Plan()
    position = Position(kept[cut].header.frame_index, kept[cut].info.pts, cut, kept[cut - 1].info.pts)
    again.open(start(prompts, cadences, position))
    assert asked(again, kept[cut:]) == {index: expected[index] for index in list(expected)[cut:]}


def test_under_overload_fewer_frames_then_smaller_then_fewer_prompts():
    plan = Plan()
    plan.open(start([DEPTH, NORMALS, BANDS]))
    plan.ease("cam", Ease(rung=3, frames=2, shrink=2, tasks=2))
    first, second = plan([frame(0), frame(1)])
    assert isinstance(first, Request)
    assert first.prompts == (DEPTH, NORMALS), "the last prompts are the least important"
    assert first.header.spared == (str(BANDS),)
    assert first.frame.info.rung == 3
    assert first.frame.info.fit.model_hw == (64, 96)
    assert first.header.batch_key == "96x64"
    assert isinstance(second, Result)
    assert second.header.spared == ("depth", "normals", str(BANDS))
    plan.ease("cam", Ease())
    (third,) = plan([frame(2)])
    assert isinstance(third, Request)
    assert (third.prompts, third.frame.info.rung) == ((DEPTH, NORMALS, BANDS), 0)


def test_a_smaller_frame_shows_the_same_and_says_where_its_boxes_belong():
    made = frame(0, model_hw=(192, 320))
    image = made.image.copy()
    top, left, height, width = (getattr(made.info.fit, name) for name in ("top", "left", "height", "width"))
    image[top : top + height // 2, left : left + width] = 200
    small = smaller(replace(made, image=image), 2)
    fit = small.info.fit
    assert (fit.model_hw, fit.source_hw) == ((96, 160), (90, 160))
    whole = np.array([[0, 0, fit.width, fit.height]], np.float32)
    np.testing.assert_allclose(fit.to_source(whole), [[0, 0, 160, 90]], rtol=1e-5)
    picture = fit.crop(small.image)
    assert picture[: fit.height // 2 - 1].min() == 200
    assert picture[fit.height // 2 + 1 :].max() == 0


def test_what_cannot_get_smaller_stays():
    tiny = frame(0, model_hw=(32, 32))
    assert smaller(tiny, 2) is tiny


def test_frames_carry_what_their_stream_says_about_its_lens_whichever_source_they_come_from():
    plan = Plan()
    opened = start([DEPTH])
    plan.open(replace(opened, spec=replace(opened.spec, hfov_deg=84.0)))
    other = replace(opened.spec, stream_id="other")
    plan.open(replace(opened, spec=other, durable=Durable("other", 0, Position())))
    told, untold = frame(0), replace(frame(0), header=Header("other", 0, 0))
    first, second = plan([told, untold])
    assert isinstance(first, Request)
    assert isinstance(second, Request)
    assert (first.frame.info.hfov_deg, second.frame.info.hfov_deg) == (84.0, None)
    [query] = plan.for_query([told], "?1", "cam", (DEPTH,))
    assert query.frame.info.hfov_deg == 84.0
    plan.change(replace(opened, spec=replace(opened.spec, hfov_deg=40.0)))
    [changed] = plan([told])
    assert isinstance(changed, Request)
    assert changed.frame.info.hfov_deg == 40.0


@pytest.mark.parametrize(
    ("near", "far", "joins"),
    [
        ("semantic:dark,bright", "depth", (True, True)),
        ("depth", "instances:car", (True, True)),
        ("normals", "depth", (False, False)),
        ("instances:car", "normals", (False, False)),
    ],
)
def test_what_one_model_marks_and_another_measures_belongs_together(near, far, joins):
    plan = Plan((Target("fast"), Target("slow")))
    prompts = (Prompt.parse(near), Prompt.parse(far))
    plan.open(replace(start(prompts), pools=((far, "slow"),)))
    assert tuple(each.header.joins for each in plan([frame(0)])) == joins


def test_what_has_its_depth_from_its_own_model_waits_for_no_other():
    plan = Plan((Target("fast"), Target("slow")))
    prompts = tuple(map(Prompt.parse, ("depth", "instances:car", "normals")))
    plan.open(replace(start(prompts), pools=(("normals", "slow"),)))
    assert [each.header.joins for each in plan([frame(0)])] == [False, False]
