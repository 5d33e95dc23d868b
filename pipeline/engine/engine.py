"""Decides which batch goes to which worker, and when.

Pure: no threads, no I/O, no clock of its own. It moves headers and handles, never pixels. Each turn is

    complete(completion)    collect what a worker has done, and pass it on                (flow.py, deaths.py)
    dispatch(now)           from the back to the front, so that space is made before it is filled

and between two turns streams may be added, changed, paused and removed (streams.py), and questions asked (queries.py).
Each part owns its data: `Streams` the streams, `Workers` the calls that are out, `Pool` what waits for a model and
its weights, `Flow` the way of items, `Queries` the questions. Memory is bounded by `Graph.max_frames_in_flight`: a
stream is only read while frames may still enter. A worker that dies costs time, never results of files: a pool's
items are tried again, and the streams of other stages go back to what is durable, which is also what a resumed run
does.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plantain.operators.errors import PlantainError, UsageError
from plantain.operators.prompts import Prompt
from plantain.operators.streams import Start
from plantain.pipeline.calls import (
    Call,
    Completion,
    Fail,
    Hello,
    Peek,
    Poll,
    Read,
    Reply,
    Run,
    Scaling,
    Swap,
    Tell,
    Weigh,
)
from plantain.pipeline.deletions import Deletions
from plantain.pipeline.engine.backlogs import Backlogs
from plantain.pipeline.engine.bound import bound_deadlines, dispatch_bound
from plantain.pipeline.engine.deaths import Deaths
from plantain.pipeline.engine.flow import Flow
from plantain.pipeline.engine.item import Item
from plantain.pipeline.engine.meter import Meter
from plantain.pipeline.engine.pool import Pool, SharedPool, pool_of
from plantain.pipeline.engine.queries import Queries
from plantain.pipeline.engine.reading import Reading
from plantain.pipeline.engine.stream import ENDED, Phase, Stream
from plantain.pipeline.engine.streams import Streams
from plantain.pipeline.engine.workers import TIMELESS, Sent, Workers
from plantain.pipeline.graph import Graph, Stage


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


class Engine:
    """See the module.

    Args:
        graph: The stages.
        starts: The streams.
        wall_ns: Dates what happens to streams, ns since 1970 UTC.
        deletions: What others delete of what was stored; the engine passes it on to whoever asks how things are.

    Attributes:
        streams: Every stream by its name.
        pools: Every pool of models by its name, the first one first.
        lives: What may be done to streams, and what is told of them.
        flow: The way of items, and what came out of it since the runner last looked.
        queries: The questions, and what they have come to.
        meter: Counts what it does, for whoever publishes it.
        backlogs: What the sinks keep on disk.
        deletions: What was deleted of what was stored.
        swapped: How swaps of models ended since somebody looked: an error, or None.
    """

    def __init__(
        self,
        graph: Graph,
        starts: Iterable[Start],
        wall_ns: Callable[[], int] = time.time_ns,
        deletions: Deletions | None = None,
    ) -> None:
        graph.validate()
        self._graph = graph
        self.streams: dict[str, Stream] = {
            start.spec.stream_id: Stream.of(start, graph.join_s) for start in starts
        }
        self.meter = Meter()
        self._workers = Workers(graph, self.meter, self._is_current)
        self.swapped: deque[PlantainError | None] = deque()
        self.pools: dict[str, Pool] = {
            stage.name: pool_of(stage, self._workers, self.swapped, self._is_awaited) for stage in graph.pools
        }
        self.lives = Streams(graph, self.streams, self._workers, self.meter, wall_ns)
        self.queries = Queries(graph, self.pools, self.streams, self._workers)
        self.flow = Flow(graph, self.streams, self.lives, self._workers, self.pools, self.queries, self.meter)
        self._reading = Reading(graph, self.streams, self._workers, self.flow)
        self.backlogs = Backlogs(graph, self._workers)
        self.deletions = deletions or Deletions()
        self._is_draining = False
        self._deaths = Deaths(
            graph,
            self.streams,
            self.lives,
            self._workers,
            self.pools,
            self.flow,
            self.queries,
            self._reading,
            self.backlogs,
        )

    @property
    def is_done(self) -> bool:
        """Whether every stream has ended, every query is answered, no call is out, and nothing waits in the sinks."""
        return self._has_no_work and self.backlogs.is_settled(is_draining=self._is_draining)

    @property
    def _has_no_work(self) -> bool:
        return (
            all(isinstance(sent.call.work, Hello | Weigh) for sent in self._workers.sent.values())
            and not len(self.queries)
            and all(stream.phase in ENDED and not stream.is_leaving for stream in self.streams.values())
            and not self._workers.has_orders()
        )

    @property
    def frames_in_flight(self) -> int:
        """Frames between decoder and sink."""
        return sum(stream.num_items for stream in self.streams.values())

    @property
    def busy_s(self) -> dict[str, float]:
        """Time that each stage's operators have worked, seconds."""
        return self._workers.busy_s

    def loads(self, now: float) -> dict[str, Load]:
        """What each stage has to do."""
        loads = {}
        for stage in self._graph.stages:
            lanes = self._workers.lanes[stage.name]
            pool = self.pools.get(stage.name)
            since = [item.queued_at for item in self._waiting(stage, pool)]
            calls = sum(len(lane.tickets) for lane in lanes)
            age_s = now - min(since) if since else 0.0
            loads[stage.name] = Load(len(lanes) if pool is None else pool.active, calls, len(since), age_s)
        return loads

    def _waiting(self, stage: Stage, pool: Pool | None) -> Iterator[Item]:
        if pool is not None:
            yield from pool.waiting()
            return
        for lane in self._workers.lanes[stage.name]:
            yield from lane.items

    def _is_current(self, entry: Item | Call) -> bool:
        """Whether an item or a call still counts, or what it is about has begun anew or gone since."""
        if isinstance(entry, Item):
            if entry.is_query:
                return entry.header.stream_id in self.queries
            stream = self.streams.get(entry.header.stream_id)
        else:
            if isinstance(entry.work, TIMELESS):
                return True
            stream = self.streams.get(entry.stream_id)
        return stream is not None and entry.generation == stream.generation

    def _is_awaited(self, item: Item) -> bool:
        """Whether somebody waits for an item: a camera's, or a query's."""
        stream = self.streams.get(item.header.stream_id)
        return item.is_query or (stream is not None and stream.is_live)

    # -- turns ---------------------------------------------------------------------------------------------

    def complete(self, completion: Completion, now: float) -> None:
        """Takes what a worker has done, and passes it on."""
        for sent, each in self._workers.answered(completion):
            self._workers.lanes[sent.call.stage][sent.call.worker].begun_s = now
            self._take(sent, each, now)

    def _take(self, sent: Sent, completion: Completion, now: float) -> None:
        call, reply = sent.call, completion.reply
        if isinstance(call.work, Hello):
            pool = self.pools[call.stage]
            if isinstance(pool, SharedPool):
                pool.take_hello(completion, call.worker, now)
            return
        if reply is None:
            self._deaths.take(sent, completion, now)
            return
        self._workers.busy_s[call.stage] += reply.busy_s
        self.meter.done(call, reply)
        self.backlogs.take(call, reply, now)
        match call.work:
            case Run() | Fail():
                if sent.items:
                    lane = self._workers.lanes[call.stage][call.worker]
                    lane.measure(reply.busy_s / len(sent.items))
                self.flow.take(sent, reply, completion.handles, now)
            case Read() | Poll():
                self._take_frames(call, reply, completion.handles, now)
            case Peek():
                self.queries.take_peek(call.work, reply, completion.handles, now)
            case Swap():
                self.pools[call.stage].take_swap(call, reply)
            case Weigh():
                pass
            case Tell():
                if (stream := self.streams.get(call.stream_id)) is not None:
                    stream.num_tells -= 1
            case _:
                self._take_word(call, reply)

    def _take_frames(self, call: Call, reply: Reply, handles: Sequence[Any], now: float) -> None:
        current = self._reading.answered(call, now)
        self.flow.enter(reply.headers, handles, current, now)
        for note in reply.notes:
            if note.stream_id in current:
                self.flow.take_note(self._graph.source, note)

    def _take_word(self, call: Call, reply: Reply) -> None:
        """A worker has done what it was told about streams."""
        current: set[str] = set()
        for stream_id, generation in call.streams:
            stream = self.streams.get(stream_id)
            if stream is not None and generation == stream.generation:
                stream.num_calls -= 1
                current.add(stream_id)
        stage = self._graph.stage(call.stage)
        for note in reply.notes:
            if note.stream_id in current:
                self.flow.take_note(stage, note)

    def restarts(self) -> list[tuple[str, int]]:
        """Workers that must be started anew before `dispatch`, as (stage, worker)."""
        restarts, self._workers.restarts = self._workers.restarts, []
        return restarts

    def scalings(self) -> list[Scaling]:
        """Copies of models to be made or let go, after `dispatch` and before its calls are submitted."""
        scalings = [scaling for pool in self.pools.values() for scaling in pool.scalings]
        for pool in self.pools.values():
            pool.scalings.clear()
        return scalings

    def dispatch(self, now: float) -> list[Call]:
        """Calls that can be made now, each for a worker that will do them in this order."""
        self.flow.turn(now)
        self.lives.turn(now)
        peeks = list(self.queries.peeks(now))
        can_come = any(stream.phase is Phase.READING for stream in self.streams.values())
        calls: list[Call] = []
        for stage in reversed(self._graph.followers):
            calls.extend(
                dispatch_bound(stage, self._workers, now, drain=not can_come, is_awaited=self._is_awaited)
            )
        for pool in self.pools.values():
            calls.extend(pool.dispatch(now, drain=not can_come))
        calls += [*peeks, *self._reading.dispatch(now)]
        return [*calls, *self.backlogs.dispatch(now, is_ending=not calls and self._has_no_work)]

    def deadline(self) -> float | None:
        """When `dispatch` should be called even if nothing completes, in the engine's clock."""
        return min(self._deadlines(), default=None)

    def _deadlines(self) -> Iterator[float]:
        for stage in self._graph.followers:
            yield from bound_deadlines(stage, self._workers)
        for pool in self.pools.values():
            yield from pool.deadlines()
        yield from self.flow.deadlines()
        yield from self.lives.deadlines()
        yield from self._reading.deadlines()
        yield from self.queries.deadlines()
        yield from self.backlogs.deadlines()

    # -- streams -------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Takes no more questions and reads nothing more; what is in flight is answered, or finished and stored."""
        self._is_draining = True
        self.queries.is_open = False
        self.lives.drain()

    def give_up(self) -> list[Stream]:
        """Ends all that is still going on where it is durable; gives the streams that it ended."""
        ended = [stream for stream in self.streams.values() if stream.phase not in ENDED]
        for stream in ended:
            stream.rewind("stopped")
            stream.move(Phase.INTERRUPTED)
        return ended

    def fail(self, stream_id: str, error: str) -> None:
        """Ends a stream for a reason from outside."""
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        self.lives.fail(stream, error, keep=False)
        if stream.phase is not Phase.RETRYING:
            stream.move(Phase.FAILED)
            stream.error = stream.error or error

    # -- queries and models --------------------------------------------------------------------------------

    def ask_stream(self, query_id: str, stream_id: str, prompts: tuple[Prompt, ...], now: float) -> None:
        """Asks the newest frame of a stream; see `Queries.ask_stream`.

        Raises:
            UnknownStreamError: If there is no such stream.
        """
        self.lives.find(stream_id)
        self.queries.ask_stream(query_id, stream_id, prompts, now)

    def pool(self, name: str = "") -> Pool:
        """A pool of models by its name; the first one if there is no name.

        Raises:
            UsageError: If there is none.
        """
        found = self.pools.get(name) if name else next(iter(self.pools.values()), None)
        if found is None:
            known = ", ".join(self.pools) or "none"
            raise UsageError(
                f"this pipeline has no model '{name}' (there is {known})"
                if name
                else "this pipeline has no model"
            )
        return found

    def swap_model(self, options: Mapping[str, Any], pool: str = "") -> None:
        """Lets each copy of a pool load other weights, one after the other; `swapped` says how it ended.

        Raises:
            UsageError: If there is no such pool, or another swap is under way.
        """
        wanted = self.pool(pool)
        if any(each.is_swapping for each in self.pools.values()):
            raise UsageError("a model is being swapped already")
        wanted.swap(options)
