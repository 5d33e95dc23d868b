"""A pool of models: what waits for it, its copies, and which weights they have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from plantain.operators.errors import ModelError, PlantainError
from plantain.operators.types import Failure
from plantain.pipeline.calls import Call, Completion, Fail, Hello, Reply, Run, Scaling, StreamError, Swap
from plantain.pipeline.engine.batcher import Batcher
from plantain.pipeline.engine.bound import bound_deadlines, call_for, dispatch_bound
from plantain.pipeline.engine.item import Item
from plantain.pipeline.engine.scaling import Scaler
from plantain.pipeline.engine.stream import Stream
from plantain.pipeline.engine.workers import Lane, Workers
from plantain.pipeline.graph import Kind, Stage

# An item that was with this many workers when they died is announced as failed: it is probably the cause.
MAX_ATTEMPTS = 3
# A further batch is given to a copy so long before it will probably have done the one that it is at, or this share of
# that one's time if it is longer.
AHEAD_S, AHEAD_SHARE = 0.02, 0.1


@dataclass(slots=True)
class Exchange:
    """Other weights on their way into every copy of a pool, one after the other.

    Attributes:
        options: Of the backend.
        left, done: Copies that are still to load them, and those that have.
        is_out: The first of `left` is at it.
    """

    options: Mapping[str, Any]
    left: list[int]
    done: list[int] = field(default_factory=list)
    is_out: bool = False


class Pool(ABC):
    """See the module.

    Args:
        stage: What it runs.
        workers: All workers; those of the stage are its own.
        swapped: Takes how swaps end: an error or None.

    Attributes:
        active: How many copies are given work: the first ones of its lanes.
        scalings: Copies that are to be made or let go, for the runner.
    """

    def __init__(self, stage: Stage, workers: Workers, swapped: deque[PlantainError | None]) -> None:
        self.stage = stage
        self.workers = workers
        self.active = stage.at_first
        self.scalings: list[Scaling] = []
        self._swapped = swapped
        self._options: Mapping[str, Any] | None = None
        self._exchange: Exchange | None = None
        self._outdated: set[int] = set()

    @property
    def name(self) -> str:
        """Of its stage."""
        return self.stage.name

    @property
    def lanes(self) -> list[Lane]:
        """Its copies, also those that are not there just now."""
        return self.workers.lanes[self.name]

    @property
    def is_swapping(self) -> bool:
        """Whether other weights are on their way."""
        return self._exchange is not None

    @abstractmethod
    def put(self, item: Item, stream: Stream | None) -> None:
        """An item waits for an answer; it is a query's if it has no stream."""

    @abstractmethod
    def waiting(self) -> Iterator[Item]:
        """Every item that waits."""

    @abstractmethod
    def discard(self, query_id: str) -> None:
        """Nobody waits for a query any more."""

    @abstractmethod
    def dispatch(self, now: float, *, drain: bool) -> Iterator[Call]:
        """Calls that can be made now."""

    @abstractmethod
    def deadlines(self) -> Iterator[float]:
        """When `dispatch` should be called even if nothing completes, in the engine's clock."""

    # -- weights -------------------------------------------------------------------------------------------

    def swap(self, options: Mapping[str, Any]) -> None:
        """Lets each copy load other weights, one after the other."""
        self._exchange = Exchange(dict(options), list(range(self.active)))

    def swaps(self) -> Iterator[Call]:
        """Copies that have to load other weights do so between two batches."""
        for worker in sorted(self._outdated):
            yield self.workers.send(Call(0, self.name, worker, Swap(self._options)))
        self._outdated.clear()
        exchange = self._exchange
        if exchange is not None and not exchange.is_out:
            exchange.is_out = True
            yield self.workers.send(Call(0, self.name, exchange.left[0], Swap(exchange.options)))

    def take_swap(self, call: Call, reply: Reply) -> None:
        """One copy has loaded other weights, or says why it could not."""
        exchange = self._exchange
        if exchange is None or not exchange.is_out or call.worker != exchange.left[0]:
            return
        exchange.is_out = False
        error = next((note.error for note in reply.notes if isinstance(note, StreamError)), "")
        if error:  # those that have changed already go back
            self._exchange = None
            self._outdated.update(exchange.done)
            self._swapped.append(ModelError(f"the model stays as it is: {error}"))
            return
        exchange.done.append(exchange.left.pop(0))
        if not exchange.left:
            self._exchange, self._options = None, exchange.options
            self._swapped.append(None)

    def died(self, worker: int) -> None:
        """A copy is made anew, with the weights that it was made with first."""
        if self._options is not None:
            self._outdated.add(worker)
        if self._exchange is not None and self._exchange.is_out and self._exchange.left[0] == worker:
            self._exchange.is_out = False


class SharedPool(Pool):
    """Any batch to any copy; copies may come and go."""

    def __init__(self, stage: Stage, workers: Workers, swapped: deque[PlantainError | None]) -> None:
        super().__init__(stage, workers, swapped)
        self._batcher = Batcher(stage.batch)
        is_fixed = stage.at_first == stage.workers
        self.scaler = None if is_fixed else Scaler(stage.at_first, stage.workers)
        self._coming = False
        self._going: set[int] = set()

    def put(self, item: Item, stream: Stream | None) -> None:
        """An item waits for a batch."""
        del stream
        self._batcher.put(item)

    def waiting(self) -> Iterator[Item]:
        """Every item that waits."""
        return self._batcher.waiting()

    def discard(self, query_id: str) -> None:
        """Nobody waits for a query any more."""
        self._batcher.discard(query_id)

    def dispatch(self, now: float, *, drain: bool) -> Iterator[Call]:
        """Copies that come, other weights, and batches for the copies with the fewest calls.

        A copy that still works is given a further batch only when it has nearly done, and only a full one: what comes
        until then joins the others, and a query waits for the batch that is being drawn, not for one that waits itself.
        """
        yield from self._scale(now)
        yield from self.swaps()
        lanes = self.lanes[: self.active]
        while len(self._batcher):
            worker = min(
                range(len(lanes)), key=lambda k: (len(lanes[k].tickets), self._nearly_done_s(lanes[k]))
            )
            lane = lanes[worker]
            num_calls = len(lane.tickets)
            if num_calls >= self.stage.calls_in_flight or (num_calls and now < self._nearly_done_s(lane)):
                break
            if not num_calls:
                lane.begun_s = now
            popped = self._batcher.pop(now, drain=drain, only_full=num_calls > 0)
            if not popped:
                break
            batch = [item for item in popped if self.workers.is_current(item)]
            if not batch:
                continue
            if batch[0].attempts >= MAX_ATTEMPTS:
                why = f"its worker died {MAX_ATTEMPTS} times with this frame"
                fail = Fail(Failure(self.name, why, retryable=False))
                yield self.workers.send(call_for(self.stage, worker, fail, batch, now), batch)
            else:
                yield self.workers.send(call_for(self.stage, worker, Run(), batch, now), batch)

    def deadlines(self) -> Iterator[float]:
        """When the next batch must go, or a copy will probably have done its own."""
        lanes = self.lanes[: self.active]
        if not all(lane.tickets for lane in lanes):
            if (due := self._batcher.deadline()) is not None:
                yield due
        elif self._batcher.has_full:
            for lane in lanes:
                if len(lane.tickets) < self.stage.calls_in_flight:
                    yield self._nearly_done_s(lane)

    def take_hello(self, completion: Completion, worker: int, now: float) -> None:
        """A further copy is there, or could not be made."""
        self._coming = False
        if completion.reply is None:
            self.scalings.append(Scaling(self.name, worker, is_added=False, error=completion.error))
            if self.scaler is not None:
                self.scaler.failed(now)
            return
        self.active = worker + 1
        self.died(worker)
        if self.scaler is not None:
            self.scaler.made(now)

    def _scale(self, now: float) -> Iterator[Call]:
        """Copies come and go: one comes into use when it has said hello, one goes when it has finished."""
        if self.scaler is None:
            return
        for worker in sorted(self._going):
            if not self.lanes[worker].tickets:
                self._going.remove(worker)
                self.scalings.append(Scaling(self.name, worker, is_added=False))
        if self._coming or self._going or self.is_swapping:
            return
        idle = sum(not lane.tickets for lane in self.lanes[: self.active])
        oldest = self._batcher.oldest()
        wanted = self.scaler.step(now, self.active, idle, 0.0 if oldest is None else now - oldest)
        if wanted > self.active:
            self._coming = True
            self.scalings.append(Scaling(self.name, self.active, is_added=True))
            yield self.workers.send(Call(0, self.name, self.active, Hello()))
        elif wanted < self.active:
            self.active = wanted
            self._going.add(wanted)

    def _nearly_done_s(self, lane: Lane) -> float:
        """From when on a copy may be given a further batch, in the engine's clock: it should never wait for one."""
        if not lane.tickets:
            return lane.begun_s
        expected_s = lane.item_s * len(self.workers.sent[min(lane.tickets)].items)
        return lane.begun_s + expected_s - max(AHEAD_S, AHEAD_SHARE * expected_s)


class BoundPool(Pool):
    """Models that keep something about each stream: a stream's items go to one copy, in order; queries to any.

    Args:
        stage, workers, swapped: As of every pool.
        is_awaited: Whether somebody waits for an item's answer.
    """

    def __init__(
        self,
        stage: Stage,
        workers: Workers,
        swapped: deque[PlantainError | None],
        is_awaited: Callable[[Item], bool],
    ) -> None:
        super().__init__(stage, workers, swapped)
        self._is_awaited = is_awaited

    def put(self, item: Item, stream: Stream | None) -> None:
        """An item waits behind those of its stream; a query's goes first where least is to be done."""
        if stream is not None:
            self.workers.put(self.stage, stream, item)
        else:
            min(self.lanes, key=lambda lane: len(lane.tickets) + len(lane.queue)).queue.appendleft(item)

    def waiting(self) -> Iterator[Item]:
        """Every item that waits."""
        for lane in self.lanes:
            yield from lane.items

    def discard(self, query_id: str) -> None:
        """Nobody waits for a query any more: its items are passed over when their turn comes."""
        del query_id

    def dispatch(self, now: float, *, drain: bool) -> Iterator[Call]:
        """Other weights, and each copy's queue in order."""
        yield from self.swaps()
        yield from dispatch_bound(self.stage, self.workers, now, drain=drain, is_awaited=self._is_awaited)

    def deadlines(self) -> Iterator[float]:
        """When what waits for company must go."""
        return bound_deadlines(self.stage, self.workers)


def pool_of(
    stage: Stage, workers: Workers, swapped: deque[PlantainError | None], is_awaited: Callable[[Item], bool]
) -> Pool:
    """The pool that a stage describes."""
    if stage.kind is Kind.PARALLEL:
        return SharedPool(stage, workers, swapped)
    return BoundPool(stage, workers, swapped, is_awaited)
