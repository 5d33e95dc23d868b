"""What becomes of a dead worker's work: for files it is done again, for cameras it is counted as lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from plantain.operators.errors import WorkerDiedError
from plantain.operators.segments import Durable, Position
from plantain.pipeline.calls import (
    Cause,
    Completion,
    Fail,
    Finish,
    Hello,
    Open,
    Peek,
    Poll,
    Read,
    Run,
    Swap,
    Tell,
    Watch,
    Weigh,
)
from plantain.pipeline.engine.backlogs import Backlogs
from plantain.pipeline.engine.flow import Flow
from plantain.pipeline.engine.item import Item
from plantain.pipeline.engine.pool import MAX_ATTEMPTS, Pool, SharedPool
from plantain.pipeline.engine.queries import Queries
from plantain.pipeline.engine.reading import Reading
from plantain.pipeline.engine.stream import IDLE, OpenSegment, Phase, Stream
from plantain.pipeline.engine.streams import Streams
from plantain.pipeline.engine.workers import Sent, Workers
from plantain.pipeline.graph import Graph, Stage

# A stream that goes back this often without anything new becoming durable is given up.
MAX_REWINDS = 3
WORKER_DIED = "worker died"
MACHINE_LOST = "machine lost"


@dataclass(eq=False, slots=True)
class Deaths:
    """Deals with calls that nobody has done.

    Attributes:
        graph: The stages.
        streams: By name.
        lives: What may be done to them.
        workers: Who works.
        pools: The models, by name.
        flow: Where items go.
        queries: Whose items may be lost, too.
        reading: What readers were asked for.
        backlogs: What writers were asked for.
    """

    graph: Graph
    streams: Mapping[str, Stream]
    lives: Streams
    workers: Workers
    pools: Mapping[str, Pool]
    flow: Flow
    queries: Queries
    reading: Reading
    backlogs: Backlogs

    def take(self, sent: Sent, completion: Completion, now: float) -> None:
        """A call was not done."""
        stage = self.graph.stage(sent.call.stage)
        if completion.cause is Cause.PAYLOAD:
            self._lose(sent, stage, now)
            return
        is_innocent = completion.cause is Cause.MACHINE
        lost = self.workers.lost(sent)
        for each in lost:
            self._forget(each, now)
        pool = self.pools.get(stage.name)
        if pool is not None:
            pool.died(sent.call.worker)
        if isinstance(pool, SharedPool):
            for item in sent.items:
                item.attempts += not is_innocent
            self._try_again(pool, [item for each in lost for item in each.items], completion.error, now)
        else:
            self._set_back(stage, lost, completion.error, is_innocent=is_innocent)

    def _set_back(self, stage: Stage, lost: list[Sent], error: str, *, is_innocent: bool) -> None:
        """A copy that streams are bound to has died: they go back to what is durable.

        A worker does its calls in order, so the oldest one is to blame.
        """
        blamed = lost[0].call
        guilty = {
            *(stream_id for stream_id, _ in blamed.streams),
            *(item.header.stream_id for item in lost[0].items),
        }
        if is_innocent or len(blamed.wanted) > 1 or blamed.also:
            guilty = set()  # any of many streams, or none
        for each in lost:
            for item in each.items:
                if item.is_query:
                    died = WorkerDiedError(f"{stage.name}: {error}; ask again")
                    self.queries.fail(item.header.stream_id, died)
        for stream in list(self.streams.values()):
            if stream.workers.get(stage.name) != blamed.worker or stream.phase in IDLE:
                continue
            if stream.start.durable.is_complete:
                continue  # everything is stored
            if stage is self.graph.source and stream.has_ended and not stream.num_reads:
                continue  # it has nothing more to get from there
            if stream.rewinds == MAX_REWINDS and stream.stream_id in guilty:
                why = f"{error}; {MAX_REWINDS} more tries ended the same way"
                self.lives.fail(stream, why, keep=False)
                continue
            stream.rewinds += stream.stream_id in guilty
            if stream.is_live:
                self._go_on(stage, stream, lost)
            else:
                self._rewind(stream)

    def _rewind(self, stream: Stream) -> None:
        stream.rewind()
        stream.move(Phase.DRAINING if stream.then is not None else Phase.READING)
        self.lives.open(stream)

    def _go_on(self, stage: Stage, stream: Stream, lost: list[Sent]) -> None:
        """A camera cannot be read again: it loses what its dead worker had, and nothing that others have.

        Args:
            stage: Where a worker died.
            stream: A stream that was bound to it.
            lost: The worker's calls, in their order.
        """
        if stage is self.graph.source:
            stream.is_open, stream.dropped = False, Counter()
            if stream.phase is not Phase.READING:
                return
            epoch = max(stream.epoch, stream.start.durable.epoch) + 1
            position = Position(stream.next_index, None, stream.num_frames)
            start = replace(stream.start, durable=Durable(stream.stream_id, epoch, position))
            self.workers.order(stage, stream, Open(start))
            self.lives.reopen_reader(stream)
            return
        for each in lost:
            for item in each.items:
                if item.header.stream_id == stream.stream_id and self.workers.is_current(item):
                    self.flow.lose(stream, item.header, WORKER_DIED)
                    if stage.is_pool:
                        self.flow.skip(stream, item, item.queued_at)
        start = stream.start
        if stage is self.graph.followers[-1]:
            stream.account.take_back(start.durable, WORKER_DIED)
            stream.ledger = type(stream.ledger).at(start.durable)
            # The last segment may be stored already, though nobody could say so: the next one has another name.
            segment = stream.segment
            stream.segment = OpenSegment(segment.index + 1, segment.epoch, segment.num_items, segment.since_s)
            start = replace(start, segment=stream.segment.index)
        calls = [self.workers.call_about(stage, stream, Open(start))]
        if stream.looks and stage is self.graph.followers[-1]:
            calls.append(self.workers.call_about(stage, stream, Watch(stream.looks)))
        calls += [
            each.call
            for each in lost
            if isinstance(each.call.work, Finish)
            and each.call.stream_id == stream.stream_id
            and each.call.generation == stream.generation
        ]
        self.workers.order_first(stage, stream, calls)

    def _lose(self, sent: Sent, stage: Stage, now: float) -> None:
        """Payloads are gone with the machine that held them, while the worker that was to get them lives.

        Files are read again, a camera's frames are counted as lost.
        """
        for item in filter(self.workers.is_current, sent.items):
            if item.is_query:
                error = WorkerDiedError("the machine that held the picture is gone; ask again")
                self.queries.fail(item.header.stream_id, error)
                continue
            stream = self.streams[item.header.stream_id]
            if not stream.is_live:
                self._rewind(stream)
                continue
            self.flow.lose(stream, item.header, MACHINE_LOST)
            if stage.is_pool:
                self.flow.skip(stream, item, now)

    def _forget(self, gone: Sent, now: float) -> None:
        """Takes a call that nobody will answer out of the counts; what is no stream's work is ordered again."""
        call = gone.call
        match call.work:
            case Read() | Poll():
                self.reading.answered(call, now)
            case Peek(query_id):
                self.queries.look_again(query_id)
            case Tell():
                if call.stream_id in self.streams:
                    self.workers.lanes[call.stage][call.worker].queue.append(call)
            case Run() | Fail() | Swap() | Hello():
                pass
            case Weigh():
                self.backlogs.forget(call)
            case _:
                for stream_id, generation in call.streams:
                    stream = self.streams.get(stream_id)
                    if stream is not None and generation == stream.generation:
                        stream.num_calls -= 1

    def _try_again(self, pool: Pool, items: list[Item], error: str, now: float) -> None:
        """Puts items of a dead worker back; where not even announcing a failure works, their streams end."""
        for item in items:
            if not self.workers.is_current(item):
                continue
            if item.attempts <= 2 * MAX_ATTEMPTS:
                item.queued_at = now
                pool.put(item, None if item.is_query else self.streams[item.header.stream_id])
                continue
            what = f"{pool.name}: {error}, again and again"
            if item.is_query:
                self.queries.fail(item.header.stream_id, WorkerDiedError(what))
            else:
                self.lives.fail(self.streams[item.header.stream_id], what, keep=False)
