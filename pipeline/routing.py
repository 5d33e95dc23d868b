"""Takes what workers have done and passes it on: frames into the flow, outputs to the next stage, answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from plantain.operators.errors import ModelError, SourceError
from plantain.operators.render.looks import Picture
from plantain.operators.streams import ReadState, StreamInfo
from plantain.operators.types import Durable, Header
from plantain.pipeline.batching import Item
from plantain.pipeline.deaths import bury, lose
from plantain.pipeline.dispatch import POLL_PAUSE_S
from plantain.pipeline.graph import Kind
from plantain.pipeline.lifecycle import fail
from plantain.pipeline.queries import AGAIN_S, Answer
from plantain.pipeline.state import Cause, Completion, Scaling, State
from plantain.pipeline.stream import Stream
from plantain.pipeline.worker import Call, Reply, StreamError


def take(state: State, completion: Completion, now: float) -> None:
    """Deals with the answer to a call whose turn it is."""
    call, items = state.calls.pop(completion.ticket)
    lane = state.lanes[call.stage][call.worker]
    lane.tickets.remove(completion.ticket)
    lane.begun_s = now
    if call.verb == "hello":
        _take_hello(state, call, completion, now)
        return
    if completion.reply is None:
        if completion.cause is Cause.PAYLOAD:
            lose(state, call, items)
        else:
            is_innocent = completion.cause is Cause.MACHINE
            bury(state, call, items, completion.error, now, is_innocent=is_innocent)
        return
    reply = completion.reply
    state.busy_s[call.stage] += reply.busy_s
    state.meter.done(call, reply)
    match call.verb:
        case "run" | "fail":
            if items:
                lane.measure(reply.busy_s / len(items))
            _take_items(state, call, items, reply, completion.handles, now)
        case "read" | "poll":
            _take_frames(state, call, reply, completion.handles, now)
        case "peek":
            _take_peek(state, call, reply, completion.handles, now)
        case "swap":
            _take_swap(state, call, reply)
        case "tell":
            if (stream := state.streams.get(call.stream_id)) is not None:
                stream.num_tells -= 1
        case _:
            stream = state.streams.get(call.stream_id)
            if stream is not None and call.generation == stream.generation:
                stream.num_calls -= 1
                for note in reply.notes:
                    _take_note(state, note)


def _take_hello(state: State, call: Call, completion: Completion, now: float) -> None:
    """A further copy of the model is there, or could not be made."""
    state.coming = False
    if completion.reply is None:
        state.scalings.append(Scaling(call.stage, call.worker, is_added=False, error=completion.error))
        if state.scaler is not None:
            state.scaler.failed(now)
        return
    state.active[call.stage] = call.worker + 1
    if state.model_options is not None:
        state.outdated.add(call.worker)
    if state.scaler is not None:
        state.scaler.made(now)


def _take_items(
    state: State, call: Call, items: list[Item], reply: Reply, handles: Sequence[Any], now: float
) -> None:
    """Notes, then each item on its way, with the output that was made of it; behind the last stage it is a result."""
    # What became durable in an older generation is not counted on: the writer was told to begin before it.
    current = {item.header.stream_id for item in items if state.is_current(item)}
    for note in reply.notes:
        if note.stream_id in current:
            _take_note(state, note)
    made = dict(zip(map(_key, reply.headers), handles, strict=True))
    failed = {_key(header): why for header, why in reply.failed}
    for item in filter(state.is_current, items):
        key = _key(item.header)
        if item.is_query:
            following = state.next_of.get(call.stage)
            if following is not None and following.kind is Kind.PARALLEL:
                item.handle, item.queued_at, item.attempts = made[key], now, 0
                state.queue(state.stages[call.stage], item)
            else:  # behind it, items belong to a stream
                state.meter.query(now - item.queued_at)
                _answer(state, item, made[key])
            continue
        stream = state.streams[item.header.stream_id]
        if key in failed:
            item.failed_in = call.stage
            stream.last_failure = f"{call.stage}: {failed[key]}"
        if call.stage in state.next_of:
            item.handle, item.queued_at, item.attempts = made[key], now, 0
            state.queue(state.stages[call.stage], item)
            continue
        stream.num_items -= 1
        state.meter.result(stream, item, now)
        stream.account.leave(item.header, item.failed_in)
        if item.failed_in is None and item.header.cost:
            stream.recent.add(now, now - item.born_at)
            stream.strain.result(item.read_at, item.came_at, now)


def _take_frames(state: State, call: Call, reply: Reply, handles: Sequence[Any], now: float) -> None:
    """New items get their place in the stream and go to the second stage."""
    if call.verb == "poll":
        lane = state.lanes[call.stage][call.worker]
        lane.is_polled, lane.next_poll_s = False, now + POLL_PAUSE_S
    current: set[str] = set()
    for stream_id, generation, count in call.argument:
        stream = state.streams.get(stream_id)
        if stream is None:
            continue
        stream.num_reads -= 1
        stream.num_asked -= count
        if stream.generation == generation:
            current.add(stream_id)
    for header, handle in zip(reply.headers, handles, strict=True):
        if header.stream_id in current:
            _enter(state, state.streams[header.stream_id], header, handle, now)
    for note in reply.notes:
        if note.stream_id in current:
            _take_note(state, note)


def _enter(state: State, stream: Stream, header: Header, handle: Any, now: float) -> None:
    item = Item(header, handle, stream.generation, stream.next_sequence, now, read_at=now)
    state.meter.frame(stream, now)
    stream.next_sequence += 1
    stream.num_items += 1
    if stream.is_live and header.epoch != stream.stored_epoch:
        # On disk before a result of it leaves: no later run may use it again.
        stream.stored_epoch = header.epoch
        state.durables.append(replace(stream.start.durable, epoch=header.epoch))
    stream.epoch = header.epoch
    stream.next_index = header.frame_index + 1
    stream.strain.num_read += 1
    stream.account.enter(header, stream.prompts)
    state.queue(state.source, item)


def _take_peek(state: State, call: Call, reply: Reply, handles: Sequence[Any], now: float) -> None:
    """The frame that a query waited for goes to the model, before the others."""
    query_id, _ = call.argument
    query = state.queries.get(query_id)
    if query is None:
        return
    if not reply.headers:
        reason = next((note.error for note in reply.notes if isinstance(note, StreamError)), "")
        if reason or now >= query.deadline_s:
            del state.queries[query_id]
            why = reason or "it has not had a frame yet"
            state.answers.append(Answer(query_id, error=SourceError(f"stream '{query.stream_id}': {why}")))
            return
        query.next_look_s = now + AGAIN_S
        state.peeks.append(query_id)
        return
    item = Item(reply.headers[0], handles[0], 0, 0, now, is_query=True)
    state.queue(state.source, item)


def _answer(state: State, item: Item, handle: Any) -> None:
    """One frame of a query is answered."""
    query = state.queries[item.header.stream_id]
    query.made[item.sequence] = handle
    if len(query.made) == query.num_frames:
        del state.queries[query.query_id]
        state.answers.append(Answer(query.query_id, [query.made[place] for place in range(query.num_frames)]))


def _take_swap(state: State, call: Call, reply: Reply) -> None:
    """One copy of the model has loaded other weights, or says why it could not."""
    swap = state.swap
    if swap is None or not swap.is_out or call.worker != swap.left[0]:
        return
    swap.is_out = False
    error = next((note.error for note in reply.notes if isinstance(note, StreamError)), "")
    if error:  # those that have changed already go back
        state.swap = None
        state.outdated.update(swap.done)
        state.swapped.append(ModelError(f"the model stays as it is: {error}"))
        return
    swap.done.append(swap.left.pop(0))
    if not swap.left:
        state.swap, state.model_options = None, swap.options
        state.swapped.append(None)


def _take_note(state: State, note: object) -> None:
    match note:
        case StreamInfo():
            stream = state.streams[note.stream_id]
            stream.info = note
            stream.is_open = True
            stream.size = (note.width, note.height)
        case ReadState():
            stream = state.streams[note.stream_id]
            stream.take_read(note)
            for event in note.events:
                stream.take_event(event)
                state.tell(event)
        case Durable():
            stream = state.streams[note.stream_id]
            if stream.take_durable(note):
                is_behind = stream.is_live and note.epoch < stream.epoch
                state.durables.append(replace(note, epoch=stream.epoch) if is_behind else note)
        case Picture():
            state.pictures.append(note)
        case StreamError():
            fail(state, state.streams[note.stream_id], note.error, keep=note.stage == state.source.name)
        case _:
            raise TypeError(f"a worker sent a note that nobody reads: {note!r}")


def _key(header: Header) -> tuple[str, int, int]:
    """What an output shares with the input that it was made of."""
    return header.stream_id, header.epoch, header.frame_index
