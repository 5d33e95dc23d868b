"""The way of items: frames in, through the pools, back in order, through the followers, out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from plantain.operators.render.looks import Picture
from plantain.operators.segments import Barrier, Durable
from plantain.operators.streams import ReadState, StreamInfo
from plantain.operators.types import Event, Header
from plantain.pipeline.calls import Cut, Note, Reply, StreamError
from plantain.pipeline.engine.item import Item, key_of
from plantain.pipeline.engine.meter import Meter
from plantain.pipeline.engine.pool import Pool
from plantain.pipeline.engine.queries import Queries
from plantain.pipeline.engine.stream import Stream
from plantain.pipeline.engine.streams import Streams
from plantain.pipeline.engine.workers import Sent, Workers
from plantain.pipeline.graph import Graph, Stage

# A camera's frame that would wait longer than this for a pool, or a follower, is let go: what comes out of the flow is
# new, and a pool that is behind holds up no other.
MAX_LIVE_WAIT_S = 0.5

BEHIND = "model behind"
"""Why a camera's frame was not given to a pool while others answered it."""


@dataclass(eq=False, slots=True)
class Flow:
    """See the module.

    Attributes:
        graph: The stages.
        streams: By name.
        lives: What may be done to them.
        workers: Who works.
        pools: The models, by name.
        queries: Whose items pass by.
        meter: Counts.
        durables: What has become durable since somebody looked.
        pictures: What was drawn for viewers since somebody looked, each with the reference to its file.
    """

    graph: Graph
    streams: Mapping[str, Stream]
    lives: Streams
    workers: Workers
    pools: Mapping[str, Pool]
    queries: Queries
    meter: Meter
    durables: deque[Durable] = field(default_factory=deque, init=False)
    pictures: deque[tuple[Picture, Any]] = field(default_factory=deque, init=False)
    _behind: dict[str, set[str]] = field(default_factory=dict, init=False)
    _joining: set[str] = field(
        default_factory=set, init=False
    )  # streams with parts that wait for one another
    _first: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self._first = next(iter(self.pools), "")

    # -- in ------------------------------------------------------------------------------------------------

    def enter(self, headers: Sequence[Header], handles: Sequence[Any], current: set[str], now: float) -> None:
        """New frames of streams, each with a header for every pool that it is for, one behind the other."""
        arrived = zip(headers, handles, strict=True)
        for (stream_id, _, _), frame in groupby(arrived, lambda pair: key_of(pair[0])[:3]):
            parts = list(frame)
            if stream_id in current:
                self._enter(self.streams[stream_id], parts, now)

    def _enter(self, stream: Stream, parts: list[tuple[Header, Any]], now: float) -> None:
        headers = [header for header, _ in parts]
        first = headers[0]
        self.meter.frame(stream, now)
        stream.num_frames += 1
        stream.num_items += 1
        stream.num_sides += len(parts) - 1
        if stream.is_live and first.epoch > stream.noted_epoch:
            stream.noted_epoch = first.epoch
            self.durables.append(replace(stream.start.durable, epoch=first.epoch))
        stream.epoch = first.epoch
        stream.next_index = first.frame_index + 1
        stream.newest_s = now - first.waited_s
        stream.account.enter(headers, stream.prompts)
        kept = [part for part in parts if not self._is_behind(stream, part[0])]
        for header, _ in parts:
            stream.strains[header.pool or self._first].num_read += 1
        places = stream.order.enter([header for header, _ in kept])
        for place, (header, handle) in zip(places, kept, strict=True):
            item = Item(header, (handle,), stream.generation, place, now, read_at=now)
            if header.cost and self.pools:
                (self.pools.get(header.pool) or self.pools[self._first]).put(item, stream)
            else:
                self.answered(stream, item, now)
        for header, _ in parts:
            if self._is_behind(stream, header):
                self.lose(stream, header, BEHIND)

    def _is_behind(self, stream: Stream, header: Header) -> bool:
        """Whether a camera's part of a frame is let go, since its pool has not even begun with earlier ones."""
        if not stream.is_live or len(self.pools) == 1 or not header.cost:
            return False
        return stream.stream_id in self._behind.get(header.pool or self._first, ())

    def look_behind(self, now: float) -> set[str]:
        """Cameras that should not be read just now: all that they are for is behind."""
        waiting: dict[str, set[str]] = {
            name: {item.header.stream_id for item in pool.waiting() if _waits_long(item, now)}
            for name, pool in self.pools.items()
        }
        self._behind = waiting
        late = {
            item.header.stream_id
            for stage in self.graph.followers
            for lane in self.workers.lanes[stage.name]
            for item in lane.items
            if _waits_long(item, now)
        }
        for stream_id in set().union(*waiting.values()) if waiting else ():
            if (stream := self.streams.get(stream_id)) is not None:
                pools = self.pools_of(stream, stream.prompts)
                if all(stream_id in waiting.get(pool, ()) for pool in pools):
                    late.add(stream_id)
        return late

    def pools_of(self, stream: Stream, prompts: Iterable[str]) -> set[str]:
        """Names of the pools that prompts of a stream go to."""
        named = dict(stream.start.pools)
        return {named.get(prompt, self._first) for prompt in prompts}

    # -- on its way ----------------------------------------------------------------------------------------

    def take(self, sent: Sent, reply: Reply, handles: Sequence[Any], now: float) -> None:
        """Items have been worked on: notes first, then each item goes its way with what was made of it."""
        stage = self.graph.stage(sent.call.stage)
        items = [item for item in sent.items if self.workers.is_current(item)]
        # What became durable in an older generation is not counted on: the writer was told to begin before it.
        current = {item.header.stream_id for item in items}
        for note in reply.notes:
            if note.stream_id in current:
                self.take_note(stage, note)
        self.pictures.extend(zip(reply.pictures, handles[len(reply.headers) :], strict=True))
        made = dict(zip(map(key_of, reply.headers), handles, strict=False))
        for refusal in reply.failed:
            key = key_of(refusal.header)
            for item in items:
                if item.key == key and not item.is_query:
                    item.failed[refusal.prompt] = stage.name
                    stream = self.streams[item.header.stream_id]
                    stream.last_failure = f"{stage.name}: {refusal.error}"
        for header, cost_usd in reply.costs:
            for item in items:
                if item.key == key_of(header):
                    item.cost_usd += cost_usd
        for item in items:
            if not self.workers.is_current(item):  # a note has ended its stream
                continue
            if item.is_query:
                self.queries.take(item, made[item.key])
                if not item.header.part:
                    self.meter.query(now - item.queued_at)
                continue
            stream = self.streams[item.header.stream_id]
            if stage.is_pool:
                self.answered(stream, item.moved_on(made[item.key], now), now)
            elif stage is self.graph.followers[-1]:
                self._leave(stream, item, now)
            else:
                following = self.graph.followers[self.graph.followers.index(stage) + 1]
                self._give(following, stream, item.moved_on(made[item.key], now))

    def answered(self, stream: Stream, item: Item, now: float) -> None:
        """An item needs no model any more: in its turn it goes to those that follow its stream."""
        for ready in stream.order.put(item, now):
            self._follow(stream, ready, now)
        if stream.order.deadline() < float("inf"):
            self._joining.add(stream.stream_id)

    def turn(self, now: float) -> None:
        """Lets go on what has waited long enough for another part of its frame."""
        for stream_id in list(self._joining):
            stream = self.streams.get(stream_id)
            for ready in [] if stream is None else stream.order.expire(now):
                assert stream is not None
                self._follow(stream, ready, now)
            if stream is None or stream.order.deadline() == float("inf"):
                self._joining.discard(stream_id)

    def deadlines(self) -> Iterator[float]:
        """When `turn` should be called, in the engine's clock; at once where something is to be saved."""
        if self.durables:
            yield 0.0
        for stream_id in self._joining:
            if (stream := self.streams.get(stream_id)) is not None and stream.order.deadline() < float("inf"):
                yield stream.order.deadline()

    def lose(self, stream: Stream, header: Header, reason: str) -> None:
        """A frame of a camera, or a part of it, will not come out."""
        if header.part:
            stream.num_sides -= 1
        else:
            stream.num_items -= 1
        stream.account.lose(header, reason)

    def skip(self, stream: Stream, item: Item, now: float) -> None:
        """An item of a camera will not come out of its pool: what waited behind it goes on."""
        for ready in stream.order.skip(item):
            self._follow(stream, ready, now)

    def _follow(self, stream: Stream, item: Item, now: float) -> None:
        """Behind the models; where a segment ends, a barrier goes ahead."""
        if not self.graph.followers:
            self._leave(stream, item, now)
            return
        stream.num_sides -= len(item.handles) - 1  # parts of its frame are one again
        self.lives.segments.follow(stream, item.header, now)
        self._give(self.graph.followers[0], stream, item)

    def _give(self, stage: Stage, stream: Stream, item: Item) -> None:
        """Puts an item in front of a follower."""
        if stage is self.graph.followers[-1]:
            stream.ledger.take(item.header, item.failed, item.cost_usd)
            self.workers.store(stage, stream, item)
        else:
            self.workers.put(stage, stream, item)

    def saved(self, durable: Durable) -> None:
        """A checkpoint knows what is durable, and which epoch is in use."""
        stream = self.streams.get(durable.stream_id)
        if stream is not None and durable.epoch > stream.stored_epoch:
            stream.stored_epoch = durable.epoch
            for stage in self.graph.followers[-1:]:
                if stream.held:
                    self.workers.release(stage, stream)

    def _leave(self, stream: Stream, item: Item, now: float) -> None:
        """Behind the last stage it is a result."""
        if item.header.part:
            stream.num_sides -= 1
        else:
            stream.num_items -= 1
        self.meter.result(stream, item, now)
        stream.account.leave(item.header, item.failed)
        if item.failed_in is None and item.header.cost:
            if not item.header.part:
                stream.recent.add(now, now - item.born_at)
            for pool in self.pools_of(stream, item.header.prompts):
                stream.strains[pool].result(item.read_at, item.came_at, now)

    # -- what workers note ---------------------------------------------------------------------------------

    def take_note(self, stage: Stage, note: Note) -> None:
        """Deals with what a worker said besides its payloads."""
        match note:
            case Event():
                self.lives.events.append(note)
            case StreamInfo():
                stream = self.streams[note.stream_id]
                stream.info = note
                stream.is_open = True
                stream.size = (note.width, note.height)
            case ReadState():
                stream = self.streams[note.stream_id]
                stream.take_read(note)
                for event in note.events:
                    stream.take_event(event)
                    self.lives.tell(event)
            case Barrier():
                self._take_barrier(stage, self.streams[note.stream_id], note)
            case Durable():
                stream = self.streams[note.stream_id]
                if stream.take_durable(note):
                    is_older = stream.is_live and note.epoch < stream.epoch
                    self.durables.append(replace(note, epoch=stream.epoch) if is_older else note)
            case StreamError():
                is_source = note.stage == self.graph.source.name
                self.lives.fail(self.streams[note.stream_id], note.error, keep=is_source)

    def _take_barrier(self, stage: Stage, stream: Stream, barrier: Barrier) -> None:
        """A follower has noted what it knows: the barrier goes on to the next."""
        followers = self.graph.followers
        place = followers.index(stage) + 1
        if place == len(followers):
            return
        if place == len(followers) - 1:
            barrier = replace(barrier, promise=stream.ledger.promise(barrier.promise))
        self.workers.order(followers[place], stream, Cut((barrier,)))


def _waits_long(item: Item, now: float) -> bool:
    return not item.is_query and now - item.queued_at > MAX_LIVE_WAIT_S
