"""A machine that is lost takes payloads along that others were to work on: no frame of a file is missing or doubled."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import assume, given
from hypothesis import strategies as st

from plantain.pipeline.calls import Cause, Completion
from plantain.pipeline.engine.deaths import MACHINE_LOST
from plantain.pipeline.engine.stream import Phase
from tests.numbers import OrderedSink, Plan, graph_of, starts_of
from tests.simulation import World


@dataclass
class Losing(World):
    """A world in which calls do not find what they were to work on.

    Attributes:
        losses: How many may be.
    """

    losses: int = 0

    def step(self) -> None:
        waiting = [key for key, inbox in self.inboxes.items() if inbox and inbox[0].verb == "run"]
        if waiting and self.losses and self.random.random() < 0.2:
            self.losses -= 1
            call = self.inboxes[self.random.choice(waiting)].popleft()
            self.answers.append(Completion(call.ticket, None, error="it is gone", cause=Cause.PAYLOAD))
        super().step()


@given(seed=st.integers(0, 100_000), losses=st.integers(1, 6), deaths=st.integers(0, 2))
def test_every_frame_of_a_file_is_stored_once_and_in_order(seed: int, losses: int, deaths: int) -> None:
    plans = {"a": Plan(23, infer_fails=frozenset({4})), "b": Plan(9)}
    sink = OrderedSink()
    world = Losing(graph_of(plans, sink), starts_of(plans), seed, deaths, losses=losses)
    world.run()
    for name, plan in plans.items():
        assert world.engine.streams[name].phase is Phase.DONE
        assert sink.frames_of(name) == plan.expected()
        assert world.engine.streams[name].account.in_flight == 0


@given(seed=st.integers(0, 100_000), losses=st.integers(1, 6))
def test_of_a_camera_what_is_gone_is_counted_and_the_rest_goes_on(seed: int, losses: int) -> None:
    plans = {"a": Plan(30, is_live=True)}
    sink = OrderedSink(plans)
    world = Losing(graph_of(plans, sink), starts_of(plans), seed, losses=losses)
    world.run()
    (stream,) = world.engine.streams.values()
    stored = [index for index, _ in sink.frames_of("a")]
    assert stored == sorted(set(stored))
    assert stream.account.lost[MACHINE_LOST] == 30 - len(stored)
    assert stream.account.results == len(stored)
    assume(world.losses < losses)
