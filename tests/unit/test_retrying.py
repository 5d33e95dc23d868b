"""Cameras whose results could not be stored are begun again by themselves; files and hopeless beginnings are not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from plantain.operators.errors import SinkError
from plantain.operators.sinks.rows import Rows
from plantain.operators.streams import Sampling
from plantain.pipeline.engine.stream import Phase
from plantain.pipeline.engine.streams import LAST_RETRY_S
from tests.numbers import OrderedSink, Plan, graph_of, starts_of
from tests.simulation import World

FULL = "no space is left for results"


class Disk(OrderedSink):
    """Becomes full and is freed."""

    is_full = False

    def begin(self, stream_id: str, *, is_resumed: bool) -> None:
        self._need_space()
        super().begin(stream_id, is_resumed=is_resumed)

    def write(self, segment: Any, rows: Rows) -> None:
        self._need_space()
        super().write(segment, rows)

    def _need_space(self) -> None:
        if self.is_full:
            raise SinkError(FULL)


def world_of(*, is_live: bool = True, num_frames: int = 100_000) -> tuple[World, Disk]:
    plans = {"cam": Plan(num_frames, is_live=is_live)}
    disk = Disk(plans)
    return World(graph_of(plans, disk), starts_of(plans)), disk


def steps(world: World, seconds: float) -> None:
    end_s = world.now + seconds
    while world.now < end_s and not world.engine.is_done:
        world.step()


def test_a_camera_goes_on_when_there_is_space_again() -> None:
    world, disk = world_of()
    stream = world.engine.lives.find("cam")
    steps(world, 1.0)
    before = stream.account.results
    assert before
    disk.is_full = True
    steps(world, 20.0)
    assert stream.phase in (Phase.RETRYING, Phase.READING)
    assert stream.account.results <= before + world.graph.max_frames_in_flight
    assert sum(event.state == "failed" for event in disk.told) < 20, "with growing pauses"
    epoch, stored = stream.epoch, len(disk.results)
    disk.is_full = False
    steps(world, LAST_RETRY_S + 1.0)
    assert stream.phase is Phase.READING
    assert stream.epoch > epoch
    assert not stream.error
    assert len(disk.results) > stored


def test_a_first_pause_is_short_again_once_something_was_stored() -> None:
    world, disk = world_of()
    stream = world.engine.lives.find("cam")
    for _ in range(3):
        steps(world, 3.0)
        assert stream.phase is Phase.READING
        disk.is_full = True
        steps(world, 0.5)
        assert stream.phase is Phase.RETRYING
        disk.is_full = False
        steps(world, 1.5)
        assert stream.phase is Phase.READING


def test_what_never_worked_fails_at_once() -> None:
    world, disk = world_of()
    disk.is_full = True
    world.run()
    stream = world.engine.lives.find("cam")
    assert (stream.phase, stream.error) == (Phase.FAILED, FULL)


def test_a_file_fails_and_can_be_run_again() -> None:
    world, disk = world_of(is_live=False)
    steps(world, 1.0)
    disk.is_full = True
    world.run()
    stream = world.engine.lives.find("cam")
    assert (stream.phase, stream.error) == (Phase.FAILED, FULL)


@pytest.mark.parametrize(
    ("what", "phase"),
    [("drain", Phase.FAILED), ("pause", Phase.PAUSED), ("resume", Phase.READING), ("remove", None)],
)
def test_somebody_may_decide_before_the_pause_is_over(what: str, phase: Phase | None) -> None:
    world, disk = world_of()
    engine = world.engine
    steps(world, 1.0)
    disk.is_full = True
    while engine.lives.find("cam").phase is not Phase.RETRYING:
        world.step()
    disk.is_full = False
    if what == "drain":
        engine.drain()
    else:
        getattr(engine.lives, what)("cam")
    steps(world, 0.4)
    if phase is None:
        assert not engine.streams
        return
    stream = engine.streams["cam"]
    assert stream.phase is phase
    assert stream.error == (FULL if phase is Phase.FAILED else "")


def changed(world: World) -> None:
    """Its camera is asked for in another way, so it is opened again."""
    start = world.engine.lives.find("cam").start
    world.engine.lives.change(replace(start, spec=replace(start.spec, sampling=Sampling(every=2))))


def test_a_camera_that_is_just_being_changed_goes_on_when_there_is_space_again() -> None:
    world, disk = world_of()
    stream = world.engine.lives.find("cam")
    steps(world, 1.0)
    changed(world)
    disk.is_full = True
    while stream.phase is Phase.DRAINING:
        world.step()
    assert stream.phase is Phase.RETRYING
    disk.is_full = False
    steps(world, LAST_RETRY_S + 1.0)
    assert (stream.phase, stream.start.spec.sampling.every) == (Phase.READING, 2)


@pytest.mark.parametrize("is_live", [True, False])
def test_what_failed_on_its_way_to_a_pause_forgets_that_when_it_is_resumed(is_live: bool) -> None:
    world, disk = world_of(is_live=is_live, num_frames=200)
    stream = world.engine.lives.find("cam")
    steps(world, 0.5)
    world.engine.lives.pause("cam")
    disk.is_full = True
    while stream.phase is Phase.DRAINING:
        world.step()
    assert (stream.phase, stream.error) == (Phase.FAILED, FULL)
    disk.is_full = False
    world.engine.lives.resume("cam")
    world.run()
    assert stream.phase is Phase.DONE


def test_what_a_camera_had_stored_when_its_source_failed_stays_in_the_books_when_it_is_resumed() -> None:
    plans = {"cam": Plan(9, breaks_at=7, is_live=True)}
    disk = Disk(plans)
    world = World(graph_of(plans, disk), starts_of(plans))
    world.run()
    stream = world.engine.lives.find("cam")
    assert (stream.phase, stream.account.results, len(disk.results)) == (Phase.FAILED, 7, 7)
    world.engine.lives.resume("cam")
    while stream.phase is not Phase.READING:
        world.step()
    assert (stream.account.results, stream.account.lost.total()) == (7, 0)
