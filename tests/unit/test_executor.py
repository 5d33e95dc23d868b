"""What is special about each executor on this machine; what all must do alike is in tests/contract."""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest

from plantain.operators.errors import ModelUnavailableError
from plantain.operators.types import Header
from plantain.pipeline.calls import Call, Run
from plantain.pipeline.engine.stream import Phase
from plantain.pipeline.executor import TURN_S, Executor, InlineExecutor, ThreadExecutor, freeze
from plantain.pipeline.graph import Graph, Kind, Stage
from plantain.pipeline.runner import run
from tests.numbers import NumberModel, OrderedSink, Plan, graph_of, starts_of


@dataclass(frozen=True)
class Item:
    header: Header
    pixels: np.ndarray
    failures: tuple = ()
    cost_usd: float = 0.0


class Painter:
    """Gives new pixels; dies of what it is told to."""

    def __init__(self) -> None:
        self.closed = False
        self.laps: list[tuple[str, float]] = []

    def __call__(self, items, waits_ms=()):
        for item in items:
            if item.header.stream_id == "exit":
                sys.exit(3)
        return [Item(item.header, np.zeros(3)) for item in items]

    def close(self):
        self.closed = True


def graph(make=Painter, workers: int = 1) -> Graph:
    return Graph((Stage("paint", Kind.PARALLEL, make, workers=workers),))


def call(ticket: int, stream_id: str = "a") -> Call:
    header = Header(stream_id, 0, ticket)
    return Call(
        ticket, "paint", 0, Run(), headers=(header,), handles=((Item(header, np.zeros(1)),),), waits_ms=(0.0,)
    )


@pytest.fixture(params=[InlineExecutor, ThreadExecutor])
def executor(request):
    made: Executor = request.param()
    yield made
    made.close()


def wait_for(executor: Executor, count: int) -> list:
    done = []
    deadline = time.monotonic() + 20
    while len(done) < count:
        done.extend(executor.wait(0.1))
        assert time.monotonic() < deadline
    return done


def test_calls_to_one_worker_are_done_in_their_order(executor):
    executor.start(graph())
    for ticket in range(5):
        executor.submit(call(ticket))
    assert [each.ticket for each in wait_for(executor, 5)] == list(range(5))


def test_waiting_for_nothing_takes_its_time(executor):
    executor.start(graph())
    began = time.monotonic()
    assert executor.wait(0.05) == []
    assert time.monotonic() - began >= 0.045, "or the runner would spin"


def test_what_an_operator_raises_when_it_is_made_reaches_the_caller(executor):
    def unavailable():
        raise ModelUnavailableError("needs a GPU")

    with pytest.raises(ModelUnavailableError, match="needs a GPU"):
        executor.start(graph(unavailable, workers=2))


def test_inline_payloads_are_read_only_as_they_are_under_ray():
    executor = InlineExecutor()
    executor.start(graph())
    executor.submit(call(1))
    (done,) = executor.wait(0)
    with pytest.raises(ValueError, match="read-only"):
        done.handles[0].pixels[0] = 1
    executor.close()


def test_freezing_reaches_into_tuples_and_dataclasses():
    item = Item(Header("a", 0, 0), np.zeros(2))
    freeze((1, (item,), {"not": "looked into"}))
    assert not item.pixels.flags.writeable


def test_a_thread_that_dies_is_a_dead_worker_with_all_its_calls():
    executor = ThreadExecutor()
    executor.start(graph())
    for ticket, stream_id in enumerate(("a", "exit", "a", "a")):
        executor.submit(call(ticket, stream_id))
    done = {each.ticket: each for each in wait_for(executor, 4)}
    assert done[0].reply is not None
    assert [done[ticket].reply for ticket in (1, 2, 3)] == [None] * 3
    assert done[1].error == "its thread died (SystemExit: 3)"
    executor.restart("paint", 0)
    executor.submit(call(9))
    assert wait_for(executor, 1)[0].reply is not None
    executor.close()


def test_each_thread_has_a_speaking_name_and_is_joined():
    executor = ThreadExecutor()
    executor.start(graph(workers=2))
    names = {thread.name for thread in threading.enumerate()}
    assert {"plantain-paint-0", "plantain-paint-1"} <= names
    executor.close()
    assert not {"plantain-paint-0", "plantain-paint-1"} & {thread.name for thread in threading.enumerate()}


class Leaver(NumberModel):
    """Ends its thread once, in the middle of a batch."""

    is_first = True

    def __call__(self, items, waits_ms=()):
        if Leaver.is_first and any(item.header.frame_index == 5 for item in items):
            Leaver.is_first = False
            sys.exit("a panic in native code")
        return super().__call__(items)


def test_a_run_survives_a_thread_that_dies():
    plans = {"a": Plan(20), "b": Plan(12)}
    sink = OrderedSink()
    real = graph_of(plans, sink)
    stages = [
        Stage(stage.name, stage.kind, lambda: Leaver(plans), stage.batch) if stage.name == "infer" else stage
        for stage in real.stages
    ]
    outcome = run(Graph(tuple(stages)), ThreadExecutor(), starts_of(plans))
    assert not Leaver.is_first
    assert [stream.phase for stream in outcome.streams] == [Phase.DONE] * 2
    for name, plan in plans.items():
        assert sink.frames_of(name) == plan.expected()


class Priority(Painter):
    """Notes how far its thread stands back."""

    def __call__(self, items, waits_ms=()):
        own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        return [Item(item.header, np.array([own])) for item in items]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority of their own")
@pytest.mark.parametrize("niceness", [0, 5])
def test_threads_stand_back_behind_the_others_of_the_process_as_far_as_they_are_told(niceness: int):
    executor = ThreadExecutor(niceness)
    executor.start(graph(Priority))
    executor.submit(call(1))
    (done,) = wait_for(executor, 1)
    here = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert done.handles[0].pixels[0] == min(19, here + niceness)
    executor.close()


def test_threads_take_turns_quickly_only_while_an_executor_is_open():
    before = sys.getswitchinterval()
    executor = ThreadExecutor()
    executor.start(Graph(()))
    assert sys.getswitchinterval() == TURN_S < before
    executor.close()
    executor.close()
    assert sys.getswitchinterval() == before
