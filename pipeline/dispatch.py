"""What can be given to workers now: from the back to the front, so that space is made before it is filled."""

from __future__ import annotations

from typing import Any

from plantain.operators.types import Failure
from plantain.pipeline.batching import Item
from plantain.pipeline.deaths import MAX_ATTEMPTS
from plantain.pipeline.graph import Kind, Stage
from plantain.pipeline.lifecycle import advance, begin, ease, end_peeks, retry
from plantain.pipeline.state import Lane, Scaling, State
from plantain.pipeline.stream import Phase, Stream
from plantain.pipeline.worker import Call, Verb

# A further batch is given to a copy of the model so long before it will probably have done the one that it is at, or
# this share of that one's time if it is longer.
AHEAD_S, AHEAD_SHARE = 0.02, 0.1
# A camera's reader rests so long between two looks: frames that come meanwhile travel together.
POLL_PAUSE_S = 0.02
# A reader waits so long for a frame of any of its cameras before it says that there is none.
POLL_WAIT_S = 0.05
# A camera is not read while a frame of it has waited this long for a worker: the next ones wait in the camera's
# ring, where its policy drops what grows old, and what comes out of the flow is new.
MAX_LIVE_WAIT_S = 0.5


def dispatch(state: State, now: float) -> list[Call]:
    """Calls that can be made now, each for a worker that will do them in this order."""
    for stream in list(state.streams.values()):
        advance(state, stream)
    retry(state, now)
    begin(state)
    ease(state, now)
    end_peeks(state, now)
    can_come = any(stream.phase is Phase.READING for stream in state.streams.values())
    calls: list[Call] = _scale(state, now)
    for stage in reversed(state.later):
        if stage.kind is Kind.PARALLEL:
            calls.extend(_dispatch_swaps(state, stage))
            calls.extend(_dispatch_parallel(state, stage, now, drain=not can_come))
        else:
            calls.extend(_dispatch_stream(state, stage, now, drain=not can_come))
    calls.extend(_dispatch_orders(state, now))
    calls.extend(_dispatch_reads(state, now))
    return calls


def deadline(state: State) -> float | None:
    """When `dispatch` should be called even if nothing completes, in the engine's clock."""
    deadlines: list[float | None] = []
    for stage in state.later:
        lanes = state.lanes[stage.name][: state.active.get(stage.name)]
        free = [lane for lane in lanes if len(lane.tickets) < stage.calls_in_flight]
        if stage.kind is Kind.PARALLEL:
            batcher = state.batchers[stage.name]
            if not all(lane.tickets for lane in lanes):
                deadlines.append(batcher.deadline())
            elif batcher.has_full:
                deadlines.extend(_nearly_done_s(state, lane) for lane in free)
        elif stage.kind is Kind.STREAM:
            heads = [lane.queue[0] for lane in free if lane.queue]
            deadlines.extend(
                head.queued_at + stage.batch.max_wait_s for head in heads if isinstance(head, Item)
            )
    readers = state.lanes[state.source.name]
    polled = {
        stream.workers[state.source.name]
        for stream in state.streams.values()
        if stream.phase is Phase.READING and stream.is_live and stream.is_open
    }
    deadlines.extend(readers[k].next_poll_s for k in polled if not readers[k].is_polled)
    deadlines.extend(stream.retry_s for stream in state.streams.values() if stream.phase is Phase.RETRYING)
    waiting = (state.queries.get(query_id) for query_id in state.peeks)
    deadlines.extend(min(each.next_look_s, each.deadline_s) for each in waiting if each is not None)
    return min((known for known in deadlines if known is not None), default=None)


def _scale(state: State, now: float) -> list[Call]:
    """Copies of the model come and go: one comes into use when it has said hello, one goes when it has finished."""
    stage, scaler = state.model, state.scaler
    if stage is None or scaler is None:
        return []
    lanes = state.lanes[stage.name]
    for worker in sorted(state.going):
        if not lanes[worker].tickets:
            state.going.remove(worker)
            state.scalings.append(Scaling(stage.name, worker, is_added=False))
    if state.coming or state.going or state.swap is not None:
        return []
    copies = state.active[stage.name]
    idle = sum(not lane.tickets for lane in lanes[:copies])
    oldest = state.batchers[stage.name].oldest()
    wanted = scaler.step(now, copies, idle, 0.0 if oldest is None else now - oldest)
    if wanted > copies:
        state.coming = True
        state.scalings.append(Scaling(stage.name, copies, is_added=True))
        return [state.send(Call(0, stage.name, copies, "hello"), [])]
    if wanted < copies:
        state.active[stage.name] = wanted
        state.going.add(wanted)
    return []


def _dispatch_swaps(state: State, stage: Stage) -> list[Call]:
    """Copies of the model that have to load other weights do so between two batches, one after the other."""
    if stage is not state.model:
        return []
    calls = [
        state.send(Call(0, stage.name, worker, "swap", argument=state.model_options), [])
        for worker in sorted(state.outdated)
    ]
    state.outdated.clear()
    swap = state.swap
    if swap is not None and not swap.is_out:
        swap.is_out = True
        calls.append(state.send(Call(0, stage.name, swap.left[0], "swap", argument=swap.options), []))
    return calls


def _dispatch_parallel(state: State, stage: Stage, now: float, *, drain: bool) -> list[Call]:
    """Batches for the copies with the fewest calls.

    A copy that still works is given a further batch only when it has nearly done, and only a full one: what comes until
    then joins the others, and a query waits for the batch that is being drawn, not for one that waits itself.
    """
    batcher = state.batchers[stage.name]
    lanes = state.lanes[stage.name][: state.active[stage.name]]
    calls: list[Call] = []
    while len(batcher):
        worker = min(
            range(len(lanes)), key=lambda k: (len(lanes[k].tickets), _nearly_done_s(state, lanes[k]))
        )
        lane = lanes[worker]
        num_calls = len(lane.tickets)
        if num_calls >= stage.calls_in_flight or (num_calls and now < _nearly_done_s(state, lane)):
            break
        if not num_calls:
            lane.begun_s = now
        popped = batcher.pop(now, drain=drain, only_full=num_calls > 0)
        if not popped:
            break
        batch = [item for item in popped if state.is_current(item)]
        if not batch:
            continue
        if batch[0].attempts >= MAX_ATTEMPTS:
            failure = Failure(
                stage.name, f"its worker died {MAX_ATTEMPTS} times with this frame", retryable=False
            )
            calls.append(state.send(_about(stage, worker, "fail", batch, now, failure), batch))
        else:
            calls.append(state.send(_about(stage, worker, "run", batch, now), batch))
    return calls


def _nearly_done_s(state: State, lane: Lane) -> float:
    """From when on a copy may be given a further batch, in the engine's clock: it should never wait for one."""
    if not lane.tickets:
        return lane.begun_s
    _, items = state.calls[min(lane.tickets)]
    expected_s = lane.item_s * len(items)
    return lane.begun_s + expected_s - max(AHEAD_S, AHEAD_SHARE * expected_s)


def _dispatch_stream(state: State, stage: Stage, now: float, *, drain: bool) -> list[Call]:
    """Each copy's queue in order: items together, up to a batch; calls about a stream alone.

    Items of files wait for company, because large calls cost less. A camera's go as soon as the copy has nothing to do:
    somebody waits for them, and while it is busy they gather by themselves.
    """
    calls: list[Call] = []
    for worker, lane in enumerate(state.lanes[stage.name]):
        while lane.queue and len(lane.tickets) < stage.calls_in_flight:
            head = lane.queue[0]
            if not state.is_current(head):
                lane.queue.popleft()
                continue
            if isinstance(head, Call):
                lane.queue.popleft()
                calls.append(state.send(head, []))
                continue
            batch: list[Item] = []
            for entry in lane.queue:
                if isinstance(entry, Call) or len(batch) == stage.batch.max_items:
                    break
                batch.append(entry)
            is_full = len(batch) == stage.batch.max_items or len(batch) < len(lane.queue)
            is_awaited = not lane.tickets and state.is_live(head)
            if not (is_full or is_awaited or drain or now >= head.queued_at + stage.batch.max_wait_s):
                break
            for _ in batch:
                lane.queue.popleft()
            batch = list(filter(state.is_current, batch))
            calls.append(state.send(_about(stage, worker, "run", batch, now), batch))
    return calls


def _dispatch_orders(state: State, now: float) -> list[Call]:
    """What was ordered of the readers, and frames for queries that want a stream's newest."""
    calls: list[Call] = []
    source = state.source
    for lane in state.lanes[source.name]:
        while lane.queue:
            order = lane.queue.popleft()
            if isinstance(order, Call) and state.is_current(order):
                calls.append(state.send(order, []))
    for _ in range(len(state.peeks)):
        query = state.queries.get(state.peeks.popleft())
        stream = None if query is None else state.streams.get(query.stream_id)
        if query is None or stream is None or not stream.is_open or now < query.next_look_s:
            if query is not None:
                state.peeks.append(query.query_id)
            continue
        argument = (query.query_id, query.prompts)
        calls.append(state.send(state.call_about(source, stream, "peek", argument), []))
    return calls


def _dispatch_reads(state: State, now: float) -> list[Call]:
    """Reads where frames may still enter, the emptiest streams first; the cameras of one reader together."""
    calls: list[Call] = []
    source, size = state.source, state.graph.read_frames
    reading = [
        stream
        for stream in state.streams.values()
        if stream.phase is Phase.READING and stream.is_open and not stream.has_ended
    ]
    if not reading:
        return calls
    limit = state.graph.max_frames_in_flight
    entered = sum(stream.num_items + stream.num_asked for stream in state.streams.values())
    share = max(size, limit // len(reading))
    polls: dict[int, list[tuple[str, int, int]]] = {}
    late = _late(state, now) if any(stream.is_live for stream in reading) else set()
    full: set[int] = set()
    has_files: set[int] = set()
    for stream in sorted(reading, key=lambda stream: stream.num_items + stream.num_asked):
        worker = stream.workers[source.name]
        if stream.is_live:
            lane = state.lanes[source.name][worker]
            if lane.is_polled or now < lane.next_poll_s:
                continue
            count = min(size, limit - entered, share - stream.num_items)
            full.add(worker)
            if count > 0 and stream.stream_id not in late:
                entered += count
                polls.setdefault(worker, []).append(_asked(stream, count))
            continue
        has_files.add(worker)
        while (
            stream.num_reads < source.calls_in_flight
            and entered + size <= limit
            and stream.num_items + stream.num_asked + size <= share
        ):
            entered += size
            wanted = (_asked(stream, size),)
            read = Call(0, source.name, worker, "read", stream.stream_id, stream.generation, argument=wanted)
            calls.append(state.send(read, []))
    for worker in full - polls.keys():  # room comes with a completion; it is not waited for by looking
        state.lanes[source.name][worker].next_poll_s = now + POLL_PAUSE_S
    for worker, asked in polls.items():
        state.lanes[source.name][worker].is_polled = True
        wait_s = 0.0 if worker in has_files else POLL_WAIT_S
        poll = Call(0, source.name, worker, "poll", waits_ms=(wait_s * 1e3,), argument=tuple(asked))
        calls.append(state.send(poll, []))
    return calls


def _late(state: State, now: float) -> set[str]:
    """Streams that have a frame which waits too long in front of a stage: more of them would wait as long."""
    late: set[str] = set()
    for stage in state.later:
        for item in state.waiting(stage):
            if not item.is_query and now - item.queued_at > MAX_LIVE_WAIT_S:
                late.add(item.header.stream_id)
    return late


def _asked(stream: Stream, count: int) -> tuple[str, int, int]:
    """Notes that a stream is asked for frames; says so to the call."""
    stream.num_reads += 1
    stream.num_asked += count
    return stream.stream_id, stream.generation, count


def _about(
    stage: Stage, worker: int, verb: Verb, batch: list[Item], now: float, argument: Any = None
) -> Call:
    """A call about items."""
    return Call(
        0,
        stage.name,
        worker,
        verb,
        headers=tuple(item.header for item in batch),
        handles=tuple(item.handle for item in batch),
        waits_ms=tuple((now - item.queued_at) * 1e3 for item in batch),
        argument=argument,
    )
