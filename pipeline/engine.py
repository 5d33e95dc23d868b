"""Decides which batch goes to which worker, and when.

Pure: no threads, no I/O, no clock of its own. It moves headers and handles, never pixels. Each turn is

    complete(completion)    collect what a worker has done, and route it to the next stage
    dispatch(now)           from the back to the front, so that space is made before it is filled

Memory is bounded by `Graph.max_frames_in_flight`: a stream is only read while frames may still enter.
A worker that dies costs time, never results: a parallel stage's items are tried again, and the streams of a
source or stream stage go back to what is durable, which is also what a resumed run does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from operators.sources.base import ReadState, Start, StreamInfo
from operators.types import Durable, Failure, HealthEvent
from pipeline.batching import Batcher, Item
from pipeline.graph import Graph, Kind, Stage
from pipeline.meter import Meter
from pipeline.stream import ENDED, Phase, Stream
from pipeline.worker import Call, Reply, StreamError, Verb

# An item that was with this many workers when they died is announced as failed: it is probably the cause.
MAX_ATTEMPTS = 3
# A stream that goes back this often without anything new becoming durable is given up.
MAX_REWINDS = 3
# An empty live stream is looked at again after this; with many streams less often, so that looking stays cheap.
LIVE_PAUSE_S = 0.02
LIVE_PAUSE_S_PER_STREAM = 0.001


@dataclass(frozen=True, slots=True)
class Completion:
    """What an executor says of a call.

    Attributes:
        ticket: The call's.
        reply: What it came to; None if its worker died.
        handles: References to the reply's payloads.
        error: Why the worker died.
    """

    ticket: int
    reply: Reply | None
    handles: Sequence[Any] = ()
    error: str = ""


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


@dataclass(slots=True)
class _Lane:
    """One copy of a stage: what waits for it, in order, the tickets of what it was given, and answers out of turn."""

    queue: deque[Item | Call] = field(default_factory=deque)
    tickets: set[int] = field(default_factory=set)
    early: dict[int, Completion] = field(default_factory=dict)


class Engine:
    """See the module.

    Args:
        graph: The stages.
        starts: The streams.

    Attributes:
        streams: Every stream by its name.
        durables: What has become durable since the runner last looked; it takes them out.
        events: How the health of live streams has changed since the runner last looked; it takes them out.
        busy_s: Time that each stage's operators have worked, seconds.
        meter: Counts what it does, for whoever publishes it.
    """

    def __init__(self, graph: Graph, starts: Iterable[Start]) -> None:
        graph.validate()
        self._graph = graph
        self._stages = {stage.name: stage for stage in graph.stages}
        self._source, *self._later = graph.stages
        self._stateful = [stage for stage in self._later if stage.kind is Kind.STREAM]
        self._next_of = {a.name: b for a, b in zip(graph.stages, graph.stages[1:], strict=False)}
        self._lanes = {stage.name: [_Lane() for _ in range(stage.workers)] for stage in graph.stages}
        self._batchers = {
            stage.name: Batcher(stage.batch) for stage in graph.stages if stage.kind is Kind.PARALLEL
        }
        self._calls: dict[int, tuple[Call, list[Item]]] = {}
        self._num_calls = 0
        self._restarts: list[tuple[str, int]] = []
        starts = list(starts)
        self._live_pause_s = max(LIVE_PAUSE_S, LIVE_PAUSE_S_PER_STREAM * len(starts))
        self.streams = {start.spec.stream_id: Stream.of(start) for start in starts}
        self.durables: deque[Durable] = deque()
        self.events: deque[HealthEvent] = deque()
        self.busy_s = dict.fromkeys(self._stages, 0.0)
        self.meter = Meter()

    @property
    def is_done(self) -> bool:
        """Whether every stream has ended and no call is out."""
        return not self._calls and all(stream.phase in ENDED for stream in self.streams.values())

    @property
    def frames_in_flight(self) -> int:
        """Frames between decoder and sink."""
        return sum(stream.num_items for stream in self.streams.values())

    def loads(self, now: float) -> dict[str, Load]:
        """What each stage has to do."""
        loads = {}
        for name, lanes in self._lanes.items():
            waiting = [entry for lane in lanes for entry in lane.queue if isinstance(entry, Item)]
            oldest = min((item.queued_at for item in waiting), default=None)
            count = len(waiting)
            if (batcher := self._batchers.get(name)) is not None:
                oldest, count = batcher.oldest(), len(batcher)
            age_s = 0.0 if oldest is None else now - oldest
            loads[name] = Load(len(lanes), sum(len(lane.tickets) for lane in lanes), count, age_s)
        return loads

    def drain(self) -> None:
        """Reads nothing more; what is in flight is finished and stored."""
        for stream in self.streams.values():
            if stream.phase is Phase.WAITING:
                stream.phase = Phase.INTERRUPTED
            elif stream.phase is Phase.READING and not stream.has_ended:
                stream.phase = Phase.DRAINING
                stream.is_interrupted = True

    def fail(self, stream_id: str, error: str) -> None:
        """Ends a stream for a reason from outside."""
        stream = self.streams[stream_id]
        self._fail(stream, error, keep=False)
        stream.phase, stream.error = Phase.FAILED, stream.error or error

    # -- collect and route ---------------------------------------------------------------------------------

    def complete(self, completion: Completion, now: float) -> None:
        """Takes what a worker has done, and passes it on.

        A worker does its calls in order. Its answers may overtake one another on their way here, and then wait for
        their turn: the order of a stream's frames hangs on it.
        """
        if completion.ticket not in self._calls:
            return  # its worker's death has been dealt with
        call, _ = self._calls[completion.ticket]
        lane = self._lanes[call.stage][call.worker]
        lane.early[completion.ticket] = completion
        while lane.tickets and (ticket := min(lane.tickets)) in lane.early:
            self._take(lane.early.pop(ticket), now)

    def _take(self, completion: Completion, now: float) -> None:
        call, items = self._calls.pop(completion.ticket)
        self._lanes[call.stage][call.worker].tickets.remove(completion.ticket)
        if completion.reply is None:
            self._bury(call, items, completion.error, now)
            return
        reply = completion.reply
        self.busy_s[call.stage] += reply.busy_s
        self.meter.done(call, reply)
        if call.verb in ("run", "fail"):
            # What became durable in an older generation is not counted on: the writer was told to begin before it.
            current = {item.header.stream_id for item in items if self._is_current(item)}
            for note in reply.notes:
                if note.stream_id in current:
                    self._take_note(note)
            self._route_outputs(call, items, reply, completion.handles, now)
            return
        stream = self.streams[call.stream_id]
        is_current = call.generation == stream.generation
        if call.verb == "read":
            stream.num_reads -= 1
        if not is_current:
            return
        if call.verb == "read":
            self._route_frames(stream, reply, completion.handles, now)
            if stream.is_live and not reply.headers:
                stream.next_read_s = now + self._live_pause_s
        else:
            stream.num_calls -= 1
        for note in reply.notes:
            self._take_note(note)

    def _route_frames(self, stream: Stream, reply: Reply, handles: Sequence[Any], now: float) -> None:
        """New items get their place in the stream and go to the second stage."""
        for header, handle in zip(reply.headers, handles, strict=True):
            item = Item(header, handle, stream.generation, stream.next_sequence, now)
            item.born_at = now - header.age_s
            self.meter.frame(stream, now)
            stream.next_sequence += 1
            stream.num_items += 1
            stream.epoch = header.epoch
            stream.account.decoded += 1
            self._queue(self._source, item)

    def _route_outputs(
        self, call: Call, items: list[Item], reply: Reply, handles: Sequence[Any], now: float
    ) -> None:
        """Each item goes on with the output that was made of it; behind the last stage it is a result."""
        made = dict(zip(map(_key, reply.headers), handles, strict=True))
        failed = {_key(header): why for header, why in reply.failed}
        for item in filter(self._is_current, items):
            stream = self.streams[item.header.stream_id]
            key = _key(item.header)
            if key in failed:
                item.failed_in = call.stage
                stream.last_failure = f"{call.stage}: {failed[key]}"
            if call.stage in self._next_of:
                item.handle, item.queued_at, item.attempts = made[key], now, 0
                self._queue(self._stages[call.stage], item)
                continue
            stream.num_items -= 1
            self.meter.result(stream, item, now)
            if item.failed_in is None:
                stream.account.results += 1
            else:
                stream.account.failed[item.failed_in] += 1

    def _queue(self, stage: Stage, item: Item) -> None:
        """Puts an item that `stage` made in front of the stage after it."""
        following = self._next_of[stage.name]
        if following.kind is Kind.PARALLEL:
            self._batchers[following.name].put(item)
            return
        stream = self.streams[item.header.stream_id]
        ready = stream.reorder.put(item.sequence, item) if stage.kind is Kind.PARALLEL else [item]
        self._lanes[following.name][stream.workers[following.name]].queue.extend(ready)

    def _take_note(self, note: object) -> None:
        match note:
            case StreamInfo():
                stream = self.streams[note.stream_id]
                stream.info = note
                stream.is_open = True
            case ReadState():
                self.streams[note.stream_id].take_read(note)
                self.events.extend(note.events)
                for event in note.events:
                    self.meter.event(self.streams[note.stream_id], event)
            case Durable():
                if self.streams[note.stream_id].take_durable(note):
                    self.durables.append(note)
            case StreamError():
                self._fail(self.streams[note.stream_id], note.error, keep=note.stage == self._source.name)
            case _:
                raise TypeError(f"a worker sent a note that nobody reads: {note!r}")

    def _fail(self, stream: Stream, error: str, *, keep: bool) -> None:
        """Ends a stream; with `keep` what is in flight is still finished and stored."""
        if stream.phase in ENDED:
            return
        stream.error = stream.error or error
        if keep:
            stream.phase = Phase.DRAINING if stream.phase is Phase.READING else stream.phase
            return
        stream.account.failed["stream ended"] += stream.num_items
        stream.generation += 1
        stream.num_items = stream.num_calls = 0
        stream.phase = Phase.FAILED
        self._order(self._source, stream, "close")

    # -- a worker died -------------------------------------------------------------------------------------

    def _bury(self, call: Call, items: list[Item], error: str, now: float) -> None:
        """Deals with all that a dead worker had: items are tried again, streams go back to what is durable.

        A worker does its calls in order, so the oldest one is to blame.
        """
        stage = self._stages[call.stage]
        lane = self._lanes[call.stage][call.worker]
        lost = {call.ticket: (call, items)} | {ticket: self._calls.pop(ticket) for ticket in lane.tickets}
        lane.tickets.clear()
        lane.early.clear()
        self._restarts.append((call.stage, call.worker))
        self.meter.died(call.stage)
        for gone, _ in lost.values():
            if gone.verb == "read":
                self.streams[gone.stream_id].num_reads -= 1
            elif gone.stream_id and self._is_current(gone):
                self.streams[gone.stream_id].num_calls -= 1
        blamed, suspects = lost[min(lost)]
        if stage.kind is Kind.PARALLEL:
            for item in suspects:
                item.attempts += 1
            self._try_again(stage, [item for _, others in lost.values() for item in others], error, now)
            return
        guilty = {blamed.stream_id, *(item.header.stream_id for item in suspects)}
        for stream in self.streams.values():
            if stream.workers.get(stage.name) != call.worker or stream.phase in ENDED:
                continue
            if stream.start.durable.is_complete:
                continue  # everything is stored
            if stage is self._source and stream.has_ended and not stream.num_reads:
                continue  # it has nothing more to get from there
            if stream.rewinds == MAX_REWINDS and stream.stream_id in guilty:
                self._fail(stream, f"{error}; {MAX_REWINDS} more tries ended the same way", keep=False)
                continue
            stream.rewind(is_guilty=stream.stream_id in guilty)
            self._open(stream)

    def _try_again(self, stage: Stage, items: list[Item], error: str, now: float) -> None:
        """Puts items of a dead worker back; where not even announcing a failure works, their streams end."""
        for item in items:
            if not self._is_current(item):
                continue
            if item.attempts > 2 * MAX_ATTEMPTS:
                self._fail(
                    self.streams[item.header.stream_id], f"{stage.name}: {error}, again and again", keep=False
                )
                continue
            item.queued_at = now
            self._batchers[stage.name].put(item)

    # -- dispatch ------------------------------------------------------------------------------------------

    def restarts(self) -> list[tuple[str, int]]:
        """Workers that must be started anew before `dispatch`, as (stage, worker)."""
        restarts, self._restarts = self._restarts, []
        return restarts

    def dispatch(self, now: float) -> list[Call]:
        """Calls that can be made now, each for a worker that will do them in this order."""
        for stream in self.streams.values():
            self._advance(stream)
        self._begin_streams()
        can_come = any(stream.phase is Phase.READING for stream in self.streams.values())
        calls: list[Call] = []
        for stage in reversed(self._later):
            if stage.kind is Kind.PARALLEL:
                calls.extend(self._dispatch_parallel(stage, now, drain=not can_come))
            else:
                calls.extend(self._dispatch_stream(stage, now, drain=not can_come))
        calls.extend(self._dispatch_source(now))
        return calls

    def deadline(self) -> float | None:
        """When `dispatch` should be called even if nothing completes, in the engine's clock."""
        deadlines: list[float | None] = []
        for stage in self._later:
            free = [lane for lane in self._lanes[stage.name] if len(lane.tickets) < stage.calls_in_flight]
            if stage.kind is Kind.PARALLEL and free:
                deadlines.append(self._batchers[stage.name].deadline())
            elif stage.kind is Kind.STREAM:
                heads = [lane.queue[0] for lane in free if lane.queue]
                deadlines.extend(
                    head.queued_at + stage.batch.max_wait_s for head in heads if isinstance(head, Item)
                )
        live = [
            stream for stream in self.streams.values() if stream.is_live and stream.phase is Phase.READING
        ]
        deadlines.extend(stream.next_read_s for stream in live if not stream.num_reads)
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def _advance(self, stream: Stream) -> None:
        """Moves a stream on when the phase it is in is over."""
        if stream.phase is Phase.READING and stream.has_ended:
            stream.phase = Phase.DRAINING
        if stream.phase is Phase.DRAINING and not (stream.num_items or stream.num_reads or stream.num_calls):
            if stream.account.failed and not stream.account.results:
                stream.error = (
                    stream.error or f"not one frame was answered; the last one: {stream.last_failure}"
                )
            stream.phase = Phase.FINISHING
            for stage in self._stateful:
                self._order(stage, stream, "finish", stream.has_ended and not stream.error)
            self._order(self._source, stream, "close")
        elif stream.phase is Phase.FINISHING and not stream.num_calls:
            if stream.error:
                stream.phase = Phase.FAILED
            else:
                stream.phase = Phase.INTERRUPTED if stream.is_interrupted else Phase.DONE

    def _begin_streams(self) -> None:
        """Binds waiting streams to workers, as long as a reader is free."""
        for stream in self.streams.values():
            if stream.phase is not Phase.WAITING:
                continue
            reader = self._least_bound(self._source)
            if self._num_bound(self._source, reader) >= self._graph.streams_per_reader:
                return
            stream.workers[self._source.name] = reader
            for stage in self._stateful:
                stream.workers[stage.name] = self._least_bound(stage)
            stream.phase = Phase.READING
            self._open(stream)

    def _open(self, stream: Stream) -> None:
        """Tells every stage that keeps something about the stream where it begins."""
        for stage in (self._source, *self._stateful):
            self._order(stage, stream, "open", stream.start)

    def _order(self, stage: Stage, stream: Stream, verb: Verb, argument: Any = None) -> None:
        """Queues a call about a stream behind what its worker already has to do."""
        worker = stream.workers[stage.name]
        call = Call(0, stage.name, worker, verb, stream.stream_id, stream.generation, argument=argument)
        stream.num_calls += 1
        self._lanes[stage.name][worker].queue.append(call)

    def _dispatch_parallel(self, stage: Stage, now: float, *, drain: bool) -> list[Call]:
        """Batches for the copies with the fewest calls."""
        batcher = self._batchers[stage.name]
        lanes = self._lanes[stage.name]
        calls: list[Call] = []
        while len(batcher):
            worker = min(range(len(lanes)), key=lambda k: len(lanes[k].tickets))
            if len(lanes[worker].tickets) >= stage.calls_in_flight:
                break
            popped = batcher.pop(now, drain=drain)
            if not popped:
                break
            batch = [item for item in popped if self._is_current(item)]
            if not batch:
                continue
            if batch[0].attempts >= MAX_ATTEMPTS:
                failure = Failure(
                    stage.name, f"its worker died {MAX_ATTEMPTS} times with this frame", retryable=False
                )
                calls.append(self._send(self._about(stage, worker, "fail", batch, now, failure), batch))
            else:
                calls.append(self._send(self._about(stage, worker, "run", batch, now), batch))
        return calls

    def _dispatch_stream(self, stage: Stage, now: float, *, drain: bool) -> list[Call]:
        """Each copy's queue in order: items together, up to a batch; calls about a stream alone."""
        calls: list[Call] = []
        for worker, lane in enumerate(self._lanes[stage.name]):
            while lane.queue and len(lane.tickets) < stage.calls_in_flight:
                head = lane.queue[0]
                if not self._is_current(head):
                    lane.queue.popleft()
                    continue
                if isinstance(head, Call):
                    lane.queue.popleft()
                    calls.append(self._send(head, []))
                    continue
                batch: list[Item] = []
                for entry in lane.queue:
                    if isinstance(entry, Call) or len(batch) == stage.batch.max_items:
                        break
                    batch.append(entry)
                is_full = len(batch) == stage.batch.max_items or len(batch) < len(lane.queue)
                if not (is_full or drain or now >= head.queued_at + stage.batch.max_wait_s):
                    break
                for _ in batch:
                    lane.queue.popleft()
                batch = list(filter(self._is_current, batch))
                calls.append(self._send(self._about(stage, worker, "run", batch, now), batch))
        return calls

    def _dispatch_source(self, now: float) -> list[Call]:
        """What was ordered of the readers, then reads where frames may still enter, the emptiest streams first."""
        calls: list[Call] = []
        for lane in self._lanes[self._source.name]:
            while lane.queue:
                order = lane.queue.popleft()
                if isinstance(order, Call) and (self._is_current(order) or order.verb == "close"):
                    calls.append(self._send(order, []))
        size = self._graph.read_frames
        reading = [
            stream
            for stream in self.streams.values()
            if stream.phase is Phase.READING and stream.is_open and not stream.has_ended
            if now >= stream.next_read_s
        ]
        entered = self.frames_in_flight + size * sum(stream.num_reads for stream in self.streams.values())
        share = max(size, self._graph.max_frames_in_flight // max(1, len(reading)))
        for stream in sorted(reading, key=lambda stream: stream.num_items + size * stream.num_reads):
            while (
                stream.num_reads < self._source.calls_in_flight
                and entered + size <= self._graph.max_frames_in_flight
                and stream.num_items + size * (stream.num_reads + 1) <= share
            ):
                stream.num_reads += 1
                entered += size
                worker = stream.workers[self._source.name]
                read = Call(
                    0, self._source.name, worker, "read", stream.stream_id, stream.generation, argument=size
                )
                calls.append(self._send(read, []))
        return calls

    def _about(
        self, stage: Stage, worker: int, verb: Verb, batch: list[Item], now: float, argument: Any = None
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

    def _send(self, call: Call, items: list[Item]) -> Call:
        """Gives a call its ticket and remembers it."""
        self._num_calls += 1
        call = replace(call, ticket=self._num_calls)
        self._calls[call.ticket] = (call, items)
        self.meter.sent(call)
        self._lanes[call.stage][call.worker].tickets.add(call.ticket)
        return call

    def _is_current(self, entry: Item | Call) -> bool:
        """Whether an item or a call still counts, or its stream has begun anew since."""
        stream_id = entry.header.stream_id if isinstance(entry, Item) else entry.stream_id
        return entry.generation == self.streams[stream_id].generation

    def _num_bound(self, stage: Stage, worker: int) -> int:
        """Streams that a copy of a stage still works for; a reader is free once its stream has ended."""
        return sum(
            stream.workers.get(stage.name) == worker
            and stream.phase not in ENDED
            and not (stage is self._source and stream.has_ended)
            for stream in self.streams.values()
        )

    def _least_bound(self, stage: Stage) -> int:
        return min(range(stage.workers), key=lambda worker: self._num_bound(stage, worker))


def _key(header: Any) -> tuple[str, int, int]:
    """What an output shares with the input that it was made of."""
    return header.stream_id, header.epoch, header.frame_index
