"""The copies of every stage: what waits for each, what each was given, and in which order its answers count."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from plantain.pipeline.calls import Call, Close, Completion, Cut, Swap, Tell, Weigh, Work
from plantain.pipeline.engine.item import Item
from plantain.pipeline.engine.meter import Meter
from plantain.pipeline.engine.stream import Stream
from plantain.pipeline.graph import Graph, Stage

TIMELESS = (Close, Tell, Swap, Weigh)
"""Calls that are of use even after their stream began anew."""

_FOLLOWED = 0.2
"""Weight of the last call in what an item takes."""


@dataclass(slots=True)
class Lane:
    """One copy of a stage.

    Attributes:
        queue: What waits for it, in order.
        tickets: Of the calls that it was given.
        early: Answers that overtook others.
        is_polled: A reader is looking for new frames of cameras.
        next_poll_s: A reader is not asked for new frames of cameras before this, in the engine's clock.
        begun_s: When the oldest of its calls came to the front, in the engine's clock.
        item_s: What it takes for an item, seconds, of late.
    """

    queue: deque[Item | Call] = field(default_factory=deque)
    tickets: set[int] = field(default_factory=set)
    early: dict[int, Completion] = field(default_factory=dict)
    is_polled: bool = False
    next_poll_s: float = 0.0
    begun_s: float = 0.0
    item_s: float = 0.0

    def measure(self, item_s: float) -> None:
        """Takes note of what a call took for each item, seconds."""
        self.item_s += (item_s - self.item_s) * (_FOLLOWED if self.item_s else 1.0)

    @property
    def items(self) -> Iterator[Item]:
        """Every item that waits for it."""
        return (entry for entry in self.queue if isinstance(entry, Item))


@dataclass(frozen=True, slots=True)
class Sent:
    """A call that is out, and the items that it is about."""

    call: Call
    items: list[Item]


class Workers:
    """See the module.

    Args:
        graph: The stages.
        meter: Is told of every call.
        is_current: Whether an item or a call still counts, or what it is about has begun anew or gone since.

    Attributes:
        lanes: The copies of each stage.
        sent: What is out, by ticket.
        restarts: Workers that must be made anew, as (stage, worker).
        busy_s: Time that each stage's operators have worked, seconds.
    """

    def __init__(self, graph: Graph, meter: Meter, is_current: Callable[[Item | Call], bool]) -> None:
        self.lanes = {stage.name: [Lane() for _ in range(stage.workers)] for stage in graph.stages}
        self.sent: dict[int, Sent] = {}
        self.restarts: list[tuple[str, int]] = []
        self.busy_s = {stage.name: 0.0 for stage in graph.stages}
        self.is_current = is_current
        self._meter = meter
        self._num_calls = 0

    def send(self, call: Call, items: list[Item] | None = None) -> Call:
        """Gives a call its ticket and remembers it."""
        self._num_calls += 1
        call = replace(call, ticket=self._num_calls)
        self.sent[call.ticket] = Sent(call, items or [])
        self._meter.sent(call)
        self.lanes[call.stage][call.worker].tickets.add(call.ticket)
        return call

    def answered(self, completion: Completion) -> Iterator[tuple[Sent, Completion]]:
        """The calls whose answers count now.

        A worker does its calls in order. Its answers may overtake one another on their way here, and then wait for
        their turn: the order of a stream's frames hangs on it.
        """
        if (known := self.sent.get(completion.ticket)) is None:
            return  # its worker's death has been dealt with
        lane = self.lanes[known.call.stage][known.call.worker]
        lane.early[completion.ticket] = completion
        while lane.tickets and (ticket := min(lane.tickets)) in lane.early:
            sent = self.sent.pop(ticket)
            lane.tickets.remove(ticket)
            yield sent, lane.early.pop(ticket)

    def lost(self, sent: Sent) -> list[Sent]:
        """All that a dead worker had, its oldest call first; it is to be made anew."""
        call = sent.call
        lane = self.lanes[call.stage][call.worker]
        lost = [sent, *(self.sent.pop(ticket) for ticket in sorted(lane.tickets))]
        lane.tickets.clear()
        lane.early.clear()
        lane.is_polled = False
        self.restarts.append((call.stage, call.worker))
        self._meter.died(call.stage)
        return lost

    def call_about(self, stage: Stage, stream: Stream, work: Work) -> Call:
        """A call about a stream, for the worker that it is bound to."""
        return Call(0, stage.name, stream.workers[stage.name], work, stream.stream_id, stream.generation)

    def order(self, stage: Stage, stream: Stream, work: Work) -> None:
        """Queues a call about a stream behind what its worker already has to do."""
        call = self.call_about(stage, stream, work)
        stream.num_calls += 1
        if stream.held and isinstance(work, Cut):
            stream.held.append(call)
        else:
            self.lanes[stage.name][call.worker].queue.append(call)

    def order_first(self, stage: Stage, stream: Stream, calls: list[Call]) -> None:
        """Queues calls about a stream before what its worker already has to do."""
        stream.num_calls += len(calls)
        self.lanes[stage.name][stream.workers[stage.name]].queue.extendleft(reversed(calls))

    def tell(self, stage: Stage, stream: Stream, work: Tell) -> None:
        """Queues word of an event; it is no work that a stream waits for."""
        stream.num_tells += 1
        call = self.call_about(stage, stream, work)
        self.lanes[stage.name][call.worker].queue.append(call)

    def put(self, stage: Stage, stream: Stream, item: Item) -> None:
        """Queues an item for the worker that its stream is bound to."""
        self.lanes[stage.name][stream.workers[stage.name]].queue.append(item)

    def store(self, stage: Stage, stream: Stream, item: Item) -> None:
        """Queues an item for the sinks, once the checkpoint knows its epoch: no later run may use that again."""
        if stream.held or (stream.is_live and item.header.epoch > stream.stored_epoch):
            stream.held.append(item)
        else:
            self.put(stage, stream, item)

    def release(self, stage: Stage, stream: Stream) -> None:
        """Queues what was held back until the checkpoint knew its epoch."""
        queue = self.lanes[stage.name][stream.workers[stage.name]].queue
        while stream.held:
            entry = stream.held[0]
            if isinstance(entry, Item) and entry.header.epoch > stream.stored_epoch:
                return
            queue.append(stream.held.popleft())

    def has_orders(self) -> bool:
        """Whether a worker has still to be told something."""
        return any(
            isinstance(entry, Call) and self.is_current(entry)
            for lanes in self.lanes.values()
            for lane in lanes
            for entry in lane.queue
        )
