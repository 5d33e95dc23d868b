from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace

import pytest
import structlog

from plantain.operators.errors import ModelUnavailableError, SinkError
from plantain.operators.segments import Backlog
from plantain.operators.sinks.store import Store
from plantain.pipeline.calls import Completion
from plantain.pipeline.checkpoint import Checkpoints
from plantain.pipeline.engine.stream import Phase
from plantain.pipeline.executor import InlineExecutor, ThreadExecutor
from plantain.pipeline.graph import Graph
from plantain.pipeline.runner import MAX_WAIT_S, run
from tests.numbers import SEGMENT, OrderedSink, Plan, graph_of, starts_of

PLANS = {"a": Plan(23, infer_fails=frozenset({3})), "b": Plan(11)}


class Stopping(InlineExecutor):
    """Sends this process a signal at some call."""

    def __init__(self, number: int, at_call: int) -> None:
        super().__init__()
        self._number = number
        self._calls_left = at_call
        self.is_closed = False

    def submit(self, call):
        super().submit(call)
        self._calls_left -= 1
        if self._calls_left == 0:
            os.kill(os.getpid(), self._number)

    def close(self, timeout_s=None):
        super().close(timeout_s)
        self.is_closed = True


@pytest.mark.parametrize("make_executor", [InlineExecutor, ThreadExecutor])
def test_a_run_ends_when_every_stream_has(make_executor):
    sink = OrderedSink()
    looks = []
    outcome = run(graph_of(PLANS, sink), make_executor(), starts_of(PLANS), on_progress=looks.append)
    assert outcome.exit_code == 0
    assert not outcome.is_interrupted
    assert {name: sink.frames_of(name) for name in PLANS} == {
        name: plan.expected() for name, plan in PLANS.items()
    }
    assert {*outcome.busy_s} == {"read", "infer", "analyse", "write"}
    assert looks, "progress is told at least at the end"
    assert looks[-1].is_done


def test_failed_streams_are_listed_and_change_the_exit_code():
    plans = {"good": Plan(5), "torn": Plan(5, breaks_at=2)}
    outcome = run(graph_of(plans, OrderedSink()), InlineExecutor(), starts_of(plans))
    assert outcome.exit_code == 1
    assert [stream.stream_id for stream in outcome.failed] == ["torn"]


def test_no_streams_are_nothing_to_do():
    assert run(graph_of({}, OrderedSink()), InlineExecutor(), []).exit_code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_stores_and_is_taken_back_afterwards(number, tmp_path):
    before = signal.getsignal(number)
    sink = OrderedSink()
    checkpoints = Checkpoints(Store(str(tmp_path)))
    outcome = run(graph_of(PLANS, sink), Stopping(number, 14), starts_of(PLANS), checkpoints=checkpoints)
    assert signal.getsignal(number) is before
    assert outcome.exit_code == 130
    assert Phase.INTERRUPTED in {stream.phase for stream in outcome.streams}
    for stream in outcome.streams:
        assert len(sink.frames_of(stream.stream_id)) == stream.account.decoded
    durables = {name: durable for name in PLANS if (durable := checkpoints.load(name)) is not None}
    assert all(
        durable.position.frame_index % SEGMENT == 0 or durable.is_complete for durable in durables.values()
    )
    again = run(graph_of(PLANS, sink), InlineExecutor(), starts_of(PLANS, durables), checkpoints=checkpoints)
    assert again.exit_code == 0
    assert {name: sink.frames_of(name) for name in PLANS} == {
        name: plan.expected() for name, plan in PLANS.items()
    }


def test_outside_the_main_thread_signals_are_left_alone():
    outcomes = []
    thread = threading.Thread(
        target=lambda: outcomes.append(
            run(graph_of(PLANS, OrderedSink()), InlineExecutor(), starts_of(PLANS))
        )
    )
    thread.start()
    thread.join(timeout=60)
    assert outcomes[0].exit_code == 0


def test_the_executor_is_closed_whatever_happens():
    def unavailable():
        raise ModelUnavailableError("needs a GPU")

    graph = graph_of(PLANS, OrderedSink())
    read, infer, *rest = graph.stages
    executor = Stopping(0, -1)
    with pytest.raises(ModelUnavailableError):
        run(Graph((read, replace(infer, make=unavailable), *rest)), executor, starts_of(PLANS))
    assert executor.is_closed


class FullStore(Checkpoints):
    """Has no room while one stream is in it."""

    def save(self, durables):
        if any(durable.stream_id == "a" for durable in durables):
            raise SinkError("no space is left")
        super().save(durables)


def test_a_checkpoint_that_cannot_be_stored_fails_the_streams_that_are_in_it(tmp_path):
    outcome = run(
        graph_of(PLANS, OrderedSink()),
        InlineExecutor(),
        starts_of(PLANS),
        checkpoints=FullStore(Store(str(tmp_path))),
    )
    first, _ = outcome.streams
    assert (first.phase, first.error) == (Phase.FAILED, "no space is left")


class Torn(OrderedSink):
    """Fails once, so slowly that more of the stream has come by then; notes what it is given of it."""

    def __init__(self):
        super().__init__()
        self.given = []
        self.failed_at = None

    def write(self, segment, rows):
        if segment.stream_id == "a":
            self.given += [result.header.frame_index for result in rows.results]
            if self.failed_at is None and self.given[-1] >= SEGMENT:
                self.failed_at = self.given[-1]
                time.sleep(0.3)
                raise OSError("torn")
        super().write(segment, rows)


def test_nothing_that_was_on_its_way_is_written_behind_a_write_that_failed():
    sink = Torn()
    outcome = run(graph_of(PLANS, sink), ThreadExecutor(), starts_of(PLANS))
    assert outcome.exit_code == 1
    assert sink.given == list(range(sink.failed_at + 1))
    starts = starts_of({"a": PLANS["a"]})
    durable = next(stream.start.durable for stream in outcome.streams if stream.stream_id == "a")
    run(graph_of(PLANS, sink), ThreadExecutor(), [replace(starts[0], durable=durable)])
    assert sink.frames_of("a") == PLANS["a"].expected()


class Impatient(InlineExecutor):
    """Notes how long it was asked to wait when nothing was left to be done."""

    def __init__(self) -> None:
        super().__init__()
        self.idle_waits_s: list[float] = []

    def wait(self, timeout_s: float) -> list[Completion]:
        if not self._done:
            self.idle_waits_s.append(timeout_s)
            return []
        return super().wait(timeout_s)


def test_a_run_ends_as_soon_as_everything_is_done():
    executor = Impatient()
    run(graph_of(PLANS, OrderedSink()), executor, starts_of(PLANS))
    assert not [wait_s for wait_s in executor.idle_waits_s if wait_s > MAX_WAIT_S]


class Heavy(OrderedSink):
    """Stands for a sink that hangs until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.is_let_go = threading.Event()

    def commit(self, segment):
        self.is_let_go.wait(60)
        super().commit(segment)


def test_a_run_that_cannot_drain_gives_up_in_time_says_so_and_goes_on_there(tmp_path):
    plans, heavy = {"a": Plan(23), "b": Plan(11)}, Heavy()
    checkpoints = Checkpoints(Store(str(tmp_path)))
    executor = ThreadExecutor()
    submit, told = executor.submit, []

    def stopping(call):
        submit(call)
        if call.verb == "cut" and not told:
            told.append(call)
            os.kill(os.getpid(), signal.SIGTERM)

    executor.submit = stopping  # type: ignore[method-assign]  # the first commit is when it is told to stop
    with structlog.testing.capture_logs() as logs:
        outcome = run(
            graph_of(plans, heavy), executor, starts_of(plans), checkpoints=checkpoints, stop_timeout_s=0.5
        )
    assert outcome.exit_code == 130
    assert outcome.num_left == sum(stream.phase is Phase.INTERRUPTED for stream in outcome.streams) > 0
    assert "gave up" in [entry["event"] for entry in logs]
    heavy.is_let_go.set()
    sink = OrderedSink()
    durables = {name: durable for name in plans if (durable := checkpoints.load(name)) is not None}
    assert durables == {}, "nothing was promised"
    again = run(graph_of(plans, sink), InlineExecutor(), starts_of(plans), checkpoints=checkpoints)
    assert again.exit_code == 0
    assert {name: sink.frames_of(name) for name in plans} == {n: plan.expected() for n, plan in plans.items()}


class Behind(OrderedSink):
    """Promises what it keeps for brokers that are away for some looks."""

    def __init__(self, looks: float, trouble: str = "nobody is there") -> None:
        super().__init__()
        self._looks = looks
        self._trouble = trouble

    def backlog(self) -> Backlog:
        self._looks -= 1
        waits = self._looks > 0
        return Backlog("kafka", 7 if waits else 0, 100, 1000, 2.5, 3, self._trouble if waits else "")


def spooling(sink: OrderedSink) -> Graph:
    *stages, write = graph_of(PLANS, sink).stages
    return replace(graph_of(PLANS, sink), stages=(*stages, replace(write, spools=True)))


def test_a_run_is_over_when_what_its_sinks_keep_has_gone_too(monkeypatch):
    monkeypatch.setattr("plantain.pipeline.engine.backlogs.EVERY_S", 0.01)
    sink = Behind(5)
    outcome = run(spooling(sink), ThreadExecutor(), starts_of(PLANS))
    assert outcome.exit_code == 0
    assert outcome.left == ()
    assert sink._looks <= 0


def test_what_waits_for_somebody_who_is_away_is_left_when_a_run_is_stopped(monkeypatch):
    monkeypatch.setattr("plantain.pipeline.engine.backlogs.EVERY_S", 0.01)
    looks = []

    def on_progress(engine):
        samples = {
            s.metric.name: s.value for s in engine.meter.samples(engine, 0.0) if s.labels == ("kafka",)
        }
        if samples and not looks:
            looks.append(samples)
            assert samples["plantain_sink_waiting_messages"] == 7
            assert samples["plantain_sink_spool_fill_ratio"] == 0.1
            assert samples["plantain_sink_spool_age_seconds"] == 2.5
            assert samples["plantain_sink_lost_messages_total"] == 3
            os.kill(os.getpid(), signal.SIGTERM)

    with structlog.testing.capture_logs() as logs:
        outcome = run(spooling(Behind(1e9)), ThreadExecutor(), starts_of(PLANS), on_progress=on_progress)
    assert outcome.exit_code == 130
    assert [(backlog.sink, backlog.messages) for backlog in outcome.left] == [("kafka", 7)]
    assert [entry["messages"] for entry in logs if entry["event"] == "left"] == [7]
    assert outcome.num_left == 0
