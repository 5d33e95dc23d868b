"""What becomes of a dead worker's work: for files it is done again, for cameras it is counted as lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from plantain.operators.errors import WorkerDiedError
from plantain.operators.types import Durable, Position
from plantain.pipeline.batching import Item
from plantain.pipeline.graph import Kind, Stage
from plantain.pipeline.lifecycle import fail
from plantain.pipeline.queries import Answer
from plantain.pipeline.state import State
from plantain.pipeline.stream import IDLE, Phase, Stream
from plantain.pipeline.worker import Call

# An item that was with this many workers when they died is announced as failed: it is probably the cause.
MAX_ATTEMPTS = 3
# A stream that goes back this often without anything new becoming durable is given up.
MAX_REWINDS = 3
WORKER_DIED = "worker died"
MACHINE_LOST = "machine lost"


def bury(
    state: State, call: Call, items: list[Item], error: str, now: float, *, is_innocent: bool = False
) -> None:
    """Deals with all that a dead worker had: items are tried again, streams go back to what is durable.

    A worker does its calls in order, so the oldest one is to blame.

    Args:
        state: Of the engine.
        call: Its oldest call.
        items: What that was about.
        error: Why it died.
        now: The engine's clock.
        is_innocent: It died with its machine, and not of what it was given.
    """
    stage = state.stages[call.stage]
    lane = state.lanes[call.stage][call.worker]
    lost = {call.ticket: (call, items)} | {ticket: state.calls.pop(ticket) for ticket in lane.tickets}
    lane.tickets.clear()
    lane.early.clear()
    lane.is_polled = False
    state.restarts.append((call.stage, call.worker))
    state.meter.died(call.stage)
    for ticket in sorted(lost):
        _forget_call(state, lost[ticket][0])
    blamed, suspects = lost[min(lost)]
    if stage.kind is Kind.PARALLEL:
        if state.model_options is not None:
            state.outdated.add(call.worker)
        for item in suspects:
            item.attempts += not is_innocent
        _try_again(state, stage, [item for _, others in lost.values() for item in others], error, now)
        return
    guilty = {blamed.stream_id, *(item.header.stream_id for item in suspects)}
    if is_innocent or (blamed.verb == "poll" and len(blamed.argument) > 1):
        guilty = set()  # any of many cameras, or none
    for stream in list(state.streams.values()):
        if stream.workers.get(stage.name) != call.worker or stream.phase in IDLE:
            continue
        if stream.start.durable.is_complete:
            continue  # everything is stored
        if stage is state.source and stream.has_ended and not stream.num_reads:
            continue  # it has nothing more to get from there
        if stream.rewinds == MAX_REWINDS and stream.stream_id in guilty:
            fail(state, stream, f"{error}; {MAX_REWINDS} more tries ended the same way", keep=False)
            continue
        stream.rewinds += stream.stream_id in guilty
        if stream.is_live:
            _go_on(state, stage, stream, [lost[ticket] for ticket in sorted(lost)])
        else:
            stream.rewind()
            state.open(stream)


def _go_on(state: State, stage: Stage, stream: Stream, lost: list[tuple[Call, list[Item]]]) -> None:
    """A camera cannot be read again: it loses what its dead worker had, and nothing that others have.

    Args:
        state: Of the engine.
        stage: Where a worker died.
        stream: A stream that was bound to it.
        lost: The worker's calls, in their order, with their items.
    """
    if stage is state.source:
        stream.is_open, stream.dropped = False, Counter()
        if stream.phase is not Phase.READING:
            return
        epoch = max(stream.epoch, stream.start.durable.epoch) + 1
        position = Position(stream.next_index, None, stream.next_sequence)
        start = replace(stream.start, durable=Durable(stream.stream_id, epoch, position))
        state.order(stage, stream, "open", start)
        if stream.rung:
            state.order(stage, stream, "ease", state.graph.overload.ease(stream.rung))
        if stream.looks:
            state.order(stage, stream, "watch", stream.looks)
        return
    for _, items in lost:
        for item in items:
            if item.header.stream_id == stream.stream_id and state.is_current(item):
                stream.num_items -= 1
                stream.account.lose(item.header.prompts, WORKER_DIED)
    if stage is state.writer:
        stream.account.take_back(stream.start.durable, WORKER_DIED)
    calls = [state.call_about(stage, stream, "open", stream.start)]
    if stream.looks and stage is state.writer:
        calls.append(state.call_about(stage, stream, "watch", stream.looks))
    calls += [
        call
        for call, _ in lost
        if call.verb == "finish"
        and call.stream_id == stream.stream_id
        and call.generation == stream.generation
    ]
    stream.num_calls += len(calls)
    state.lanes[stage.name][calls[0].worker].queue.extendleft(reversed(calls))


def lose(state: State, call: Call, items: list[Item]) -> None:
    """Payloads are gone with the machine that held them: files are read again, a camera's frames are counted as lost.

    Args:
        state: Of the engine.
        call: What was to be done with them; its worker lives.
        items: What is gone, or came together with it.
    """
    stage = state.stages[call.stage]
    for item in filter(state.is_current, items):
        if item.is_query:
            query = state.queries.pop(item.header.stream_id)
            state.batchers[stage.name].discard(query.query_id)
            error = WorkerDiedError("the machine that held the picture is gone; ask again")
            state.answers.append(Answer(query.query_id, error=error))
            continue
        stream = state.streams[item.header.stream_id]
        if not stream.is_live:
            stream.rewind()
            state.open(stream)
            continue
        stream.num_items -= 1
        stream.account.lose(item.header.prompts, MACHINE_LOST)
        if stage.kind is Kind.PARALLEL:
            state.skip(stage, item)


def _forget_call(state: State, gone: Call) -> None:
    """Takes a call that nobody will answer out of the counts; what is no stream's work is ordered again."""
    match gone.verb:
        case "read" | "poll":
            for stream_id, _, count in gone.argument:
                if (stream := state.streams.get(stream_id)) is not None:
                    stream.num_reads -= 1
                    stream.num_asked -= count
        case "peek":
            query_id, _ = gone.argument
            if query_id in state.queries:
                state.peeks.append(query_id)
        case "tell":
            if gone.stream_id in state.streams:
                state.lanes[gone.stage][gone.worker].queue.append(gone)
        case "swap":
            if state.swap is not None and state.swap.is_out and state.swap.left[0] == gone.worker:
                state.swap.is_out = False
        case "run" | "fail":
            pass
        case _:
            stream = state.streams.get(gone.stream_id)
            if stream is not None and gone.generation == stream.generation:
                stream.num_calls -= 1


def _try_again(state: State, stage: Stage, items: list[Item], error: str, now: float) -> None:
    """Puts items of a dead worker back; where not even announcing a failure works, their streams end."""
    for item in items:
        if not state.is_current(item):
            continue
        if item.attempts > 2 * MAX_ATTEMPTS:
            what = f"{stage.name}: {error}, again and again"
            if item.is_query:
                query = state.queries.pop(item.header.stream_id)
                state.batchers[stage.name].discard(query.query_id)
                state.answers.append(Answer(query.query_id, error=WorkerDiedError(what)))
            else:
                fail(state, state.streams[item.header.stream_id], what, keep=False)
            continue
        item.queued_at = now
        state.batchers[stage.name].put(item)
