"""What an engine knows: streams, queries, workers' queues, and the calls that are out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from plantain.operators.errors import PlantainError
from plantain.operators.types import Durable, HealthEvent
from plantain.pipeline.batching import Batcher, Item
from plantain.pipeline.graph import Graph, Kind, Stage
from plantain.pipeline.meter import Meter
from plantain.pipeline.queries import Answer, Query
from plantain.pipeline.scaling import Scaler
from plantain.pipeline.stream import IDLE, Stream
from plantain.pipeline.worker import Call, Reply, Verb

# Calls that are of use even after their stream began anew.
TIMELESS: frozenset[Verb] = frozenset(("close", "tell", "swap"))


class Cause(StrEnum):
    """Why a call was not done.

    WORKER: Its worker died, perhaps of what it was given. MACHINE: The machine did, with all workers on it.
    PAYLOAD: What it was to work on is gone with a machine that is lost; the worker lives.
    """

    WORKER = "worker"
    MACHINE = "machine"
    PAYLOAD = "payload"


@dataclass(frozen=True, slots=True)
class Completion:
    """What an executor says of a call.

    Attributes:
        ticket: The call's.
        reply: What it came to; None if it was not done.
        handles: References to the reply's payloads.
        error: Why it was not done, as a sentence.
        cause: Why it was not done.
    """

    ticket: int
    reply: Reply | None
    handles: Sequence[Any] = ()
    error: str = ""
    cause: Cause = Cause.WORKER


@dataclass(frozen=True, slots=True)
class Scaling:
    """A copy of a stage that is to be made, or is not needed any more.

    Attributes:
        stage, worker: Which.
        is_added: It is to be made.
        error: Why it could not be made, where that is why it goes.
    """

    stage: str
    worker: int
    is_added: bool
    error: str = ""


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


@dataclass(slots=True)
class Swap:
    """Other weights on their way into every copy of the model, one after the other.

    Attributes:
        options: Of the backend.
        left, done: Copies that are still to load them, and those that have.
        is_out: The first of `left` is at it.
    """

    options: Mapping[str, Any]
    left: list[int]
    done: list[int] = field(default_factory=list)
    is_out: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """What a stage has to do.

    Attributes:
        workers: Its copies.
        calls: Calls that they have been given.
        items: Items that wait in front of it.
        age_s: How long the oldest of them has waited, seconds.
    """

    workers: int
    calls: int
    items: int
    age_s: float


class State:
    """Everything that the engine's parts share.

    Args:
        graph: The stages.
        wall_ns: Dates what happens to streams, ns since 1970 UTC.

    Attributes:
        graph, wall_ns: As given.
        stages: By name.
        source, later: The first stage, and the others.
        model: The first parallel stage, if there is one; queries enter before it, and weights are swapped in it.
        stateful: Those that are bound to streams, without the source.
        next_of: The stage after each.
        lanes: The copies of each stage.
        batchers: What waits for each parallel stage.
        calls: What is out, by ticket, with the items that it is about.
        streams, queries: By name.
        peeks: Queries that wait for a frame of a stream.
        restarts: Workers that must be made anew, as (stage, worker).
        active: How many copies of each parallel stage are given work: the first ones of its lanes.
        scaler: Decides how many copies of the model there are; None where that is fixed.
        coming, going: Whether a further copy is being made; those that finish what they have.
        scalings: What is to be done about it, for the runner.
        model_options: Of the model that is in use; None for those that it was made with.
        swap: Others that are being loaded.
        outdated: Copies of the model that have to load `model_options`.
        swapped: How swaps ended: an error or None.
        durables, events, answers, pictures, departed: What the runner takes out: what has become durable, how health
            has changed, what queries came to, drawn frames for viewers, streams that were removed.
        busy_s: Time that each stage's operators have worked, seconds.
        meter: Counts what is done, for whoever publishes it.
        next_generation: Of a stream that is added: what is left of one with its name has another.
        is_draining: Whether the run is to end: no more questions are taken, and no more frames read.
    """

    def __init__(self, graph: Graph, wall_ns: Callable[[], int]) -> None:
        self.graph, self.wall_ns = graph, wall_ns
        self.stages = {stage.name: stage for stage in graph.stages}
        self.source, *self.later = graph.stages
        self.stateful = [stage for stage in self.later if stage.kind is Kind.STREAM]
        self.model = next((stage for stage in self.later if stage.kind is Kind.PARALLEL), None)
        self.next_of = {a.name: b for a, b in zip(graph.stages, graph.stages[1:], strict=False)}
        self.lanes = {stage.name: [Lane() for _ in range(stage.workers)] for stage in graph.stages}
        self.batchers = {
            stage.name: Batcher(stage.batch) for stage in graph.stages if stage.kind is Kind.PARALLEL
        }
        self.calls: dict[int, tuple[Call, list[Item]]] = {}
        self.streams: dict[str, Stream] = {}
        self.queries: dict[str, Query] = {}
        self.peeks: deque[str] = deque()
        self.restarts: list[tuple[str, int]] = []
        self.active = {stage.name: stage.at_first for stage in self.later if stage.kind is Kind.PARALLEL}
        model = self.model
        is_fixed = model is None or model.at_first == model.workers
        self.scaler = None if model is None or is_fixed else Scaler(model.at_first, model.workers)
        self.coming = False
        self.going: set[int] = set()
        self.scalings: list[Scaling] = []
        self.model_options: Mapping[str, Any] | None = None
        self.swap: Swap | None = None
        self.outdated: set[int] = set()
        self.swapped: deque[PlantainError | None] = deque()
        self.durables: deque[Durable] = deque()
        self.events: deque[HealthEvent] = deque()
        self.answers: deque[Answer] = deque()
        self.pictures: deque[Any] = deque()
        self.departed: deque[Stream] = deque()
        self.busy_s = dict.fromkeys(self.stages, 0.0)
        self.meter = Meter()
        self.next_generation = 0
        self.is_draining = False
        self._num_calls = 0

    @property
    def writer(self) -> Stage | None:
        """The last stage that is bound to streams: it has the sinks."""
        return self.stateful[-1] if self.stateful else None

    @property
    def has_orders(self) -> bool:
        """Whether a worker has still to be told something."""
        return any(
            isinstance(entry, Call) and self.is_current(entry)
            for stage in (self.source, *self.stateful)
            for lane in self.lanes[stage.name]
            for entry in lane.queue
        )

    def is_current(self, entry: Item | Call) -> bool:
        """Whether an item or a call still counts, or what it is about has begun anew or gone since."""
        if isinstance(entry, Item):
            if entry.is_query:
                return entry.header.stream_id in self.queries
            stream = self.streams.get(entry.header.stream_id)
        else:
            if entry.verb in TIMELESS:
                return True
            stream = self.streams.get(entry.stream_id)
        return stream is not None and entry.generation == stream.generation

    def is_live(self, item: Item) -> bool:
        """Whether an item is a camera's."""
        stream = self.streams.get(item.header.stream_id)
        return stream is not None and stream.is_live

    def call_about(self, stage: Stage, stream: Stream, verb: Verb, argument: Any = None) -> Call:
        """A call about a stream, for the worker that it is bound to."""
        worker = stream.workers[stage.name]
        return Call(0, stage.name, worker, verb, stream.stream_id, stream.generation, argument=argument)

    def order(self, stage: Stage, stream: Stream, verb: Verb, argument: Any = None) -> None:
        """Queues a call about a stream behind what its worker already has to do."""
        call = self.call_about(stage, stream, verb, argument)
        stream.num_calls += 1
        self.lanes[stage.name][call.worker].queue.append(call)

    def tell(self, event: HealthEvent) -> None:
        """Passes an event on to whoever listens, and to the sinks of its stream."""
        self.events.append(event)
        stream, stage = self.streams.get(event.stream_id), self.writer
        if stream is None or stage is None:
            return
        if stage.name not in stream.workers:
            stream.workers[stage.name] = self.least_bound(stage)
        stream.num_tells += 1
        call = self.call_about(stage, stream, "tell", event)
        self.lanes[stage.name][call.worker].queue.append(call)

    def open(self, stream: Stream) -> None:
        """Tells every stage that keeps something about a stream where it begins."""
        stream.account.begin(stream.start.durable)
        for stage in (self.source, *self.stateful):
            self.order(stage, stream, "open", stream.start)
        if stream.rung:
            self.order(self.source, stream, "ease", self.graph.overload.ease(stream.rung))
        if stream.looks:
            for stage in (self.source, *self.stateful[-1:]):
                self.order(stage, stream, "watch", stream.looks)

    def send(self, call: Call, items: list[Item]) -> Call:
        """Gives a call its ticket and remembers it."""
        self._num_calls += 1
        call = replace(call, ticket=self._num_calls)
        self.calls[call.ticket] = (call, items)
        self.meter.sent(call)
        self.lanes[call.stage][call.worker].tickets.add(call.ticket)
        return call

    def queue(self, stage: Stage, item: Item) -> None:
        """Puts an item that `stage` made in front of the stage after it; one that asks nothing passes the model by."""
        following = self.next_of[stage.name]
        while following.kind is Kind.PARALLEL and not item.header.cost:
            stage, following = following, self.next_of[following.name]
        if following.kind is Kind.PARALLEL:
            self.batchers[following.name].put(item)
            return
        stream = self.streams[item.header.stream_id]
        ready = stream.reorder.put(item.sequence, item) if stage.kind is Kind.PARALLEL else [item]
        self.lanes[following.name][stream.workers[following.name]].queue.extend(ready)

    def skip(self, stage: Stage, item: Item) -> None:
        """Announces to what follows that an item of a parallel stage will not come."""
        following = self.next_of[stage.name]
        while following.kind is Kind.PARALLEL:
            following = self.next_of[following.name]
        stream = self.streams[item.header.stream_id]
        ready = stream.reorder.put(item.sequence, None)
        self.lanes[following.name][stream.workers[following.name]].queue.extend(ready)

    def num_bound(self, stage: Stage) -> list[int]:
        """Streams that each copy of a stage still works for; a reader is free once its stream has ended."""
        counts = [0] * stage.workers
        for stream in self.streams.values():
            worker = stream.workers.get(stage.name)
            if worker is None or stream.phase in IDLE or (stage is self.source and stream.has_ended):
                continue
            counts[worker] += 1
        return counts

    def least_bound(self, stage: Stage) -> int:
        """The copy of a stage with the fewest streams."""
        counts = self.num_bound(stage)
        return counts.index(min(counts))

    def waiting(self, stage: Stage) -> Iterator[Item]:
        """Every item that waits in front of a stage."""
        if (batcher := self.batchers.get(stage.name)) is not None:
            yield from batcher.waiting()
        for lane in self.lanes[stage.name]:
            yield from (entry for entry in lane.queue if isinstance(entry, Item))

    def loads(self, now: float) -> dict[str, Load]:
        """What each stage has to do."""
        loads = {}
        for name, lanes in self.lanes.items():
            since = [item.queued_at for item in self.waiting(self.stages[name])]
            calls = sum(len(lane.tickets) for lane in lanes)
            age_s = now - min(since) if since else 0.0
            loads[name] = Load(self.active.get(name, len(lanes)), calls, len(since), age_s)
        return loads
