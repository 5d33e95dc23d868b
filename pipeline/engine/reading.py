"""What readers are asked for: frames where they may still enter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from plantain.pipeline.calls import Call, Poll, Read, Wanted
from plantain.pipeline.engine.flow import Flow
from plantain.pipeline.engine.stream import Phase, Stream
from plantain.pipeline.engine.workers import Workers
from plantain.pipeline.graph import Graph

# A camera's reader rests so long between two looks: frames that come meanwhile travel together.
POLL_PAUSE_S = 0.02
# A reader waits so long for a frame of any of its cameras before it says that there is none.
POLL_WAIT_S = 0.05


@dataclass(eq=False, slots=True)
class Reading:
    """Reads where frames may still enter, the emptiest streams first; the cameras of one reader together.

    Attributes:
        graph: The stages.
        streams: By name.
        workers: Who reads.
        flow: Says which cameras are behind.
    """

    graph: Graph
    streams: Mapping[str, Stream]
    workers: Workers
    flow: Flow

    def dispatch(self, now: float) -> Iterator[Call]:
        """What was ordered of the readers, and what they are asked for now."""
        for lane in self.workers.lanes[self.graph.source.name]:
            while lane.queue:
                order = lane.queue.popleft()
                if isinstance(order, Call) and self.workers.is_current(order):
                    yield self.workers.send(order)
        yield from self._reads(now)

    def _reads(self, now: float) -> Iterator[Call]:
        source, size = self.graph.source, self.graph.read_frames
        lanes = self.workers.lanes[source.name]
        # Of a thousand cameras, too, this is asked at every turn. Where there are several pools, what comes in
        # goes by who is behind just now.
        is_resting = all(lane.is_polled or now < lane.next_poll_s for lane in lanes)
        if is_resting and len(self.flow.pools) == 1 and all(s.start.is_live for s in self.streams.values()):
            return
        reading = [each for each in self.streams.values() if _is_readable(each)]
        if not reading:
            return
        limit = self.graph.max_frames_in_flight
        entered = sum(stream.num_items + stream.num_asked for stream in self.streams.values())
        fair = max(
            1, limit // len(reading)
        )  # of a camera, which rarely has more than one, no more are held free
        share = max(size, fair)
        polls: dict[int, list[Wanted]] = {}
        late = self.flow.look_behind(now) if any(stream.is_live for stream in reading) else set()
        full: set[int] = set()
        has_files: set[int] = set()
        for stream in sorted(reading, key=lambda stream: stream.num_items + stream.num_asked):
            worker = stream.workers[source.name]
            if stream.is_live:
                lane = lanes[worker]
                if lane.is_polled or now < lane.next_poll_s:
                    continue
                count = min(size, fair, limit - entered, share - stream.num_items)
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
                read = Read(_asked(stream, size))
                call = Call(0, source.name, worker, read, stream.stream_id, stream.generation)
                yield self.workers.send(call)
        for worker in full - polls.keys():  # room comes with a completion; it is not waited for by looking
            lanes[worker].next_poll_s = now + POLL_PAUSE_S
        for worker, asked in polls.items():
            lanes[worker].is_polled = True
            wait_s = 0.0 if worker in has_files else POLL_WAIT_S
            yield self.workers.send(Call(0, source.name, worker, Poll(tuple(asked), wait_s)))

    def answered(self, call: Call, now: float) -> set[str]:
        """A read has come back, or never will: the streams that it still counts for."""
        if isinstance(call.work, Poll):
            lane = self.workers.lanes[call.stage][call.worker]
            lane.is_polled, lane.next_poll_s = False, now + POLL_PAUSE_S
        current: set[str] = set()
        for wanted in call.wanted:
            stream = self.streams.get(wanted.stream_id)
            if stream is None:
                continue
            stream.num_reads -= 1
            stream.num_asked -= wanted.max_frames
            if stream.generation == wanted.generation:
                current.add(stream.stream_id)
        return current

    def deadlines(self) -> Iterator[float]:
        """When cameras should be looked at again, in the engine's clock."""
        source = self.graph.source.name
        idle = {k for k, lane in enumerate(self.workers.lanes[source]) if not lane.is_polled}
        for stream in self.streams.values():
            if not idle:
                return
            worker = stream.workers.get(source)
            if worker in idle and stream.is_live and _is_readable(stream):
                idle.remove(worker)
                yield self.workers.lanes[source][worker].next_poll_s


def _is_readable(stream: Stream) -> bool:
    return stream.phase is Phase.READING and stream.is_open and not stream.has_ended


def _asked(stream: Stream, count: int) -> Wanted:
    """Notes that a stream is asked for frames; says so to the call."""
    stream.num_reads += 1
    stream.num_asked += count
    return Wanted(stream.stream_id, stream.generation, count)
