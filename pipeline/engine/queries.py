"""Questions about single frames, asked in the same batches as the streams' frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plantain.operators.errors import ModelBusyError, PlantainError, SourceError, UsageError
from plantain.operators.health import FLOWING
from plantain.operators.prompts import Prompt
from plantain.operators.types import Header, Result, joined
from plantain.pipeline.calls import Call, Peek, Reply, StreamError
from plantain.pipeline.commands import EngineDownError
from plantain.pipeline.engine.item import Item
from plantain.pipeline.engine.pool import Pool
from plantain.pipeline.engine.stream import RESTING, Stream
from plantain.pipeline.engine.workers import Workers
from plantain.pipeline.graph import Graph

# A query about a stream waits so long for it to be open and to have a frame.
PATIENCE_S = 5.0
AGAIN_S = 0.05


@dataclass(slots=True)
class Query:
    """Frames that are asked something, once.

    Attributes:
        query_id: Its name in the engine.
        num_parts: How many answers it waits for; 0 until a stream's frame has come.
        stream_id: The stream whose newest frame is asked; empty where the frames are given.
        prompts: What is asked of a stream's frame.
        deadline_s: It waits for a stream's frame no longer than this, in the engine's clock.
        next_look_s: A stream's frame is not looked for before this.
        made: References to the answers that are there, by the frame's place in the query and the part of it.
    """

    query_id: str
    num_parts: int
    stream_id: str = ""
    prompts: tuple[Prompt, ...] = ()
    deadline_s: float = 0.0
    next_look_s: float = 0.0
    made: dict[tuple[int, int], Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query came to.

    Attributes:
        query_id: The query.
        handles: The executor's references to its results, in the order of its frames, for each pool that was asked.
        error: Why there are none.
    """

    query_id: str
    handles: Sequence[Any] = ()
    error: PlantainError | None = None


def frames_of(results: Sequence[Result]) -> list[Result]:
    """One result for each frame of a query, of what its pools answered."""
    whole: list[list[Result]] = []
    for result in results:
        if not result.header.part:
            whole.append([])
        whole[-1].append(result)
    return [joined(parts[0].header, parts) for parts in whole]


class Queries:
    """The queries that wait.

    Args:
        graph: The stages.
        pools: Who answers, by name.
        streams: Whose newest frames may be asked, by name.
        workers: Those of the source stage are told to look.

    Attributes:
        answers: What queries came to since somebody looked.
        is_open: Whether further ones are taken: whoever asks without a pause would keep a run from ending.
    """

    def __init__(
        self, graph: Graph, pools: Mapping[str, Pool], streams: Mapping[str, Stream], workers: Workers
    ) -> None:
        self._graph = graph
        self._pools = pools
        self._streams = streams
        self._workers = workers
        self._queries: dict[str, Query] = {}
        self._peeks: deque[str] = deque()
        self.answers: deque[Answer] = deque()
        self.is_open = True

    def __len__(self) -> int:
        return len(self._queries)

    def __contains__(self, query_id: str) -> bool:
        return query_id in self._queries

    def ask(self, query_id: str, headers: Sequence[Header], handles: Sequence[Any], now: float) -> None:
        """Puts frames in front of the models, before those of streams.

        Raises:
            UsageError: If there is no model.
            ModelBusyError: If too many frames of queries wait already.
            EngineDownError: If the run is ending.
        """
        self._check_taking()
        waiting = sum(max(1, query.num_parts) - len(query.made) for query in self._queries.values())
        if waiting and waiting + len(headers) > self._graph.max_frames_in_flight:
            raise ModelBusyError(f"{waiting} frames of queries wait for the model; ask again later")
        self._queries[query_id] = Query(query_id, len(headers))
        self._put(headers, handles, now)

    def ask_stream(self, query_id: str, stream_id: str, prompts: tuple[Prompt, ...], now: float) -> None:
        """Asks the newest frame of a stream, as soon as it has one.

        Raises:
            EngineDownError: If the run is ending.
        """
        self._check_taking()
        self._queries[query_id] = Query(query_id, 0, stream_id, prompts, now + PATIENCE_S)
        self._peeks.append(query_id)

    def _check_taking(self) -> None:
        if not self.is_open:
            raise EngineDownError("the run is ending")
        if not self._pools:
            raise UsageError("this pipeline has no model that could be asked")

    def _put(self, headers: Sequence[Header], handles: Sequence[Any], now: float) -> None:
        for header, handle in zip(headers, handles, strict=True):
            item = Item(header, (handle,), 0, 0, now, is_query=True)
            (self._pools.get(header.pool) or next(iter(self._pools.values()))).put(item, None)

    def cancel(self, query_id: str) -> None:
        """Nobody waits for a query any more; what has not been given to a model yet will not be."""
        if self._queries.pop(query_id, None) is not None:
            for pool in self._pools.values():
                pool.discard(query_id)

    def fail(self, query_id: str, error: PlantainError) -> None:
        """A query will not be answered."""
        if query_id in self._queries:
            self.cancel(query_id)
            self.answers.append(Answer(query_id, error=error))

    def take(self, item: Item, handle: Any) -> None:
        """One part of a query is answered."""
        query = self._queries[item.header.stream_id]
        query.made[item.header.frame_index, item.header.part] = handle
        if len(query.made) == query.num_parts:
            del self._queries[query.query_id]
            self.answers.append(Answer(query.query_id, [query.made[place] for place in sorted(query.made)]))

    # -- frames of streams ---------------------------------------------------------------------------------

    def peeks(self, now: float) -> Iterator[Call]:
        """Looks for the newest frames of streams that queries wait for; ends those that wait in vain."""
        for _ in range(len(self._peeks)):
            query = self._queries.get(self._peeks.popleft())
            if query is None:
                continue
            stream = self._streams.get(query.stream_id)
            if stream is None or stream.phase in RESTING or _is_away(stream) or now >= query.deadline_s:
                self.fail(query.query_id, _reason(query, stream, now))
            elif not stream.is_open or now < query.next_look_s:
                self._peeks.append(query.query_id)
            else:
                peek = Peek(query.query_id, query.prompts)
                yield self._workers.send(self._workers.call_about(self._graph.source, stream, peek))

    def take_peek(self, peek: Peek, reply: Reply, handles: Sequence[Any], now: float) -> None:
        """The frame that a query waited for goes to the models, before the others."""
        query = self._queries.get(peek.query_id)
        if query is None:
            return
        if reply.headers:
            query.num_parts = len(reply.headers)
            self._put(reply.headers, handles, now)
            return
        reason = next((note.error for note in reply.notes if isinstance(note, StreamError)), "")
        if reason or now >= query.deadline_s:
            why = reason or "it has not had a frame yet"
            self.fail(query.query_id, SourceError(f"stream '{query.stream_id}': {why}"))
            return
        query.next_look_s = now + AGAIN_S
        self._peeks.append(query.query_id)

    def look_again(self, query_id: str) -> None:
        """Whoever was to look for a query's frame has died."""
        if query_id in self._queries:
            self._peeks.append(query_id)

    def deadlines(self) -> Iterator[float]:
        """When `peeks` should be called, in the engine's clock."""
        for query_id in self._peeks:
            if (query := self._queries.get(query_id)) is not None:
                yield min(query.next_look_s, query.deadline_s)


def _is_away(stream: Stream) -> bool:
    """Whether a camera has given frames and gives none just now: what there is of it is not what it sees."""
    return stream.is_live and stream.health not in ("", "connecting", *FLOWING)


def _reason(query: Query, stream: Stream | None, now: float) -> SourceError:
    if stream is None:
        return SourceError(f"stream '{query.stream_id}': it is gone")
    if stream.newest_s is None:
        had = "it has not had a frame yet"
    else:
        had = f"its newest frame is {now - stream.newest_s:.0f} s old"
    return SourceError(f"stream '{query.stream_id}' is {stream.state}: {had}")
