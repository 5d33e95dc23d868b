"""Work for stages whose copies are bound to streams: each copy's queue in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from plantain.pipeline.calls import Call, Cut, Run, Work
from plantain.pipeline.engine.item import Item
from plantain.pipeline.engine.workers import Lane, Workers
from plantain.pipeline.graph import Stage


def dispatch_bound(
    stage: Stage, workers: Workers, now: float, *, drain: bool, is_awaited: Callable[[Item], bool]
) -> Iterator[Call]:
    """Each copy's queue in order: items together, up to a batch; calls about a stream alone.

    Items of files wait for company, because large calls cost less. A camera's, and a query's, go as soon as the copy
    has nothing to do: somebody waits for them, and while it is busy they gather by themselves. What a copy is told
    about streams holds no pixels and goes at once: a thousand that begin would take as many turns.
    """
    for worker, lane in enumerate(workers.lanes[stage.name]):
        while lane.queue:
            head = lane.queue[0]
            if not workers.is_current(head):
                lane.queue.popleft()
                continue
            if isinstance(head, Call):
                lane.queue.popleft()
                yield workers.send(_together(head, lane, workers))
                continue
            if len(lane.tickets) >= stage.calls_in_flight:
                break
            batch: list[Item] = []
            for entry in lane.queue:
                if isinstance(entry, Call) or len(batch) == stage.batch.max_items:
                    break
                batch.append(entry)
            is_full = len(batch) == stage.batch.max_items or len(batch) < len(lane.queue)
            is_due = drain or now >= head.queued_at + stage.batch.max_wait_s
            if not (is_full or is_due or (not lane.tickets and is_awaited(head))):
                break
            for _ in batch:
                lane.queue.popleft()
            batch = list(filter(workers.is_current, batch))
            yield workers.send(call_for(stage, worker, Run(), batch, now), batch)


def bound_deadlines(stage: Stage, workers: Workers) -> Iterator[float]:
    """When something should be dispatched even if nothing completes, in the engine's clock."""
    for lane in workers.lanes[stage.name]:
        if lane.queue and len(lane.tickets) < stage.calls_in_flight:
            head = lane.queue[0]
            if isinstance(head, Item):
                yield head.queued_at + stage.batch.max_wait_s


def call_for(stage: Stage, worker: int, work: Work, batch: list[Item], now: float) -> Call:
    """A call about items."""
    return Call(
        0,
        stage.name,
        worker,
        work,
        headers=tuple(item.header for item in batch),
        handles=tuple(item.handles for item in batch),
        waits_ms=tuple((now - item.queued_at) * 1e3 for item in batch),
    )


def _together(first: Call, lane: Lane, workers: Workers) -> Call:
    """A call, and where it ends a segment those behind it that end one, too: sinks commit them at once.

    Of a stream there is one: its next segment begins when this one is committed. A second one is behind where a
    sink was busy for long, and the stream is a camera that is away.
    """
    if not isinstance(first.work, Cut):
        return first
    calls, named = [first], {first.stream_id}
    while lane.queue and isinstance(following := lane.queue[0], Call) and isinstance(following.work, Cut):
        if following.stream_id in named:
            break
        named.add(following.stream_id)
        lane.queue.popleft()
        if workers.is_current(following):
            calls.append(following)
    barriers = tuple(call.work.barriers[0] for call in calls if isinstance(call.work, Cut))
    also = tuple((call.stream_id, call.generation) for call in calls[1:])
    return replace(first, work=Cut(barriers), also=also)
