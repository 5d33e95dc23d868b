"""Frames of cameras that would only wait are left where their policy can let them go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plantain.operators.types import Result
from plantain.pipeline.engine.flow import MAX_LIVE_WAIT_S
from plantain.pipeline.engine.overload import Overload
from tests.numbers import NumberSource, OrderedSink, Plan, graph_of, starts_of
from tests.simulation import World

TURN_S = 0.05


def world_of(plans: dict[str, Plan], max_items: int = 2, overload: Overload | None = None) -> World:
    graph = graph_of(
        plans, OrderedSink(plans), models=1, calls_in_flight=1, max_items=max_items, max_frames_in_flight=200
    )
    return World(replace(graph, overload=overload or Overload()), starts_of(plans))


def turns(world: World, seconds: float, *, busy: set[str]) -> None:
    """Time passes; stages that are `busy` with their first call do not come to an end of it."""
    end_s = world.now + seconds
    while world.now < end_s:
        for call in world.engine.dispatch(world.now):
            world.calls.append(call)
            world.inboxes[call.stage, call.worker].append(call)
        for key, inbox in world.inboxes.items():
            while inbox and key[0] not in busy:
                world.work(key)
        while world.answers:
            world.deliver()
        world.check()
        world.now += TURN_S


@pytest.mark.parametrize("busy", ["infer", "write"])
def test_a_camera_is_not_read_while_its_frames_wait(busy: str) -> None:
    world = world_of({"cam": Plan(10_000, is_live=True)})
    stream = world.engine.lives.find("cam")
    turns(world, MAX_LIVE_WAIT_S + 4 * TURN_S, busy={busy})
    waiting = stream.num_items
    assert 0 < waiting < 100
    turns(world, 5.0, busy={busy})
    assert stream.num_items == waiting, "more of them would have waited as long"
    turns(world, 3.0, busy=set())
    assert stream.account.decoded > waiting, "and it is read again when they are through"


def test_files_are_read_ahead_and_do_not_hold_cameras_back() -> None:
    world = world_of({"file": Plan(10_000), "cam": Plan(10_000, is_live=True)})
    turns(world, 3.0, busy={"infer"})
    file, camera = world.engine.lives.find("file"), world.engine.lives.find("cam")
    assert file.num_items > 90 > camera.num_items > 0
    turns(world, 8.0, busy=set())
    before = camera.account.decoded
    turns(world, 8.0, busy=set())
    assert camera.account.decoded > before


def test_a_long_pass_of_the_model_does_not_hold_a_camera_back() -> None:
    """What a worker is at does not wait: a slow backend with many calls at once is kept busy."""
    world = world_of({"cam": Plan(10_000, is_live=True)})
    stream = world.engine.lives.find("cam")
    turns(world, 0.01, busy={"infer"})
    turns(world, 10 * MAX_LIVE_WAIT_S, busy={"infer"})
    (inbox,) = (inbox for key, inbox in world.inboxes.items() if key[0] == "infer")
    assert len(inbox) == 1
    assert stream.num_items > len(inbox[0].headers), "the next batch is ready when this one is done"


@pytest.mark.parametrize(("is_live", "stages"), [(True, ["analyse"]), (False, [])])
def test_a_camera_does_not_wait_for_company_where_somebody_has_nothing_to_do(
    is_live: bool, stages: list[str]
) -> None:
    world = world_of({"stream": Plan(10_000, is_live=is_live)}, max_items=100)
    while not any(call.stage == "infer" for call in world.calls):
        turns(world, 0.01, busy={"infer"})
    world.calls.clear()
    (key,) = (key for key in world.inboxes if key[0] == "infer")
    world.work(key)
    while world.answers:
        world.deliver()
    called = [call.stage for call in world.engine.dispatch(world.now)]
    assert [stage for stage in called if stage == "analyse"] == stages


def test_a_camera_whose_clock_is_slow_is_not_taken_for_overloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = NumberSource.__call__

    def of_yesterday(self: NumberSource, stream_id: str, max_frames: int) -> list[Result]:
        frames = honest(self, stream_id, max_frames)
        return [replace(each, header=replace(each.header, age_s=86_400.0)) for each in frames]

    monkeypatch.setattr(NumberSource, "__call__", of_yesterday)
    world = world_of({"cam": Plan(100_000, is_live=True)}, overload=Overload(("frames",)))
    turns(world, 20.0, busy=set())
    stream = world.engine.lives.find("cam")
    assert stream.account.results > 100
    assert stream.rung == 0
