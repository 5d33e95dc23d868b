"""Decides which batch goes to which worker, and when.

Pure: no threads, no I/O, no clock of its own. It moves headers and handles, never pixels. Each turn is

    complete(completion)    collect what a worker has done, and route it to the next stage     (routing.py, deaths.py)
    dispatch(now)           from the back to the front, so that space is made before it is filled       (dispatch.py)

and between two turns streams may be added, changed, paused and removed (lifecycle.py), and questions asked
(queries.py). Memory is bounded by `Graph.max_frames_in_flight`: a stream is only read while frames may still enter.
A worker that dies costs time, never results of files: a parallel stage's items are tried again, and the streams of a
source or stream stage go back to what is durable, which is also what a resumed run does.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from plantain.operators.errors import ModelBusyError, PlantainError, UsageError
from plantain.operators.prompts import Prompt
from plantain.operators.render.looks import Picture
from plantain.operators.streams import Start
from plantain.operators.types import Durable, Header, HealthEvent
from plantain.pipeline import lifecycle
from plantain.pipeline.batching import Item
from plantain.pipeline.commands import EngineDownError
from plantain.pipeline.dispatch import deadline, dispatch
from plantain.pipeline.graph import Graph
from plantain.pipeline.meter import Meter
from plantain.pipeline.queries import PATIENCE_S, Answer, Query
from plantain.pipeline.routing import take
from plantain.pipeline.state import Completion, Load, Scaling, State, Swap
from plantain.pipeline.stream import ENDED, Phase, Stream
from plantain.pipeline.worker import Call


class Engine:
    """See the module.

    Args:
        graph: The stages.
        starts: The streams.
        wall_ns: Dates what happens to streams, ns since 1970 UTC.

    Attributes:
        streams: Every stream by its name.
    """

    def __init__(
        self, graph: Graph, starts: Iterable[Start], wall_ns: Callable[[], int] = time.time_ns
    ) -> None:
        graph.validate()
        self._state = State(graph, wall_ns)
        self._wall_ns = wall_ns
        self.streams = self._state.streams
        for start in starts:
            self.streams[start.spec.stream_id] = Stream.of(start)

    @property
    def is_done(self) -> bool:
        """Whether every stream has ended, every query is answered, and no call is out."""
        state = self._state
        return (
            all(call.verb == "hello" for call, _ in state.calls.values())
            and not state.queries
            and all(stream.phase in ENDED and not stream.is_leaving for stream in state.streams.values())
            and not state.has_orders
        )

    @property
    def frames_in_flight(self) -> int:
        """Frames between decoder and sink."""
        return sum(stream.num_items for stream in self.streams.values())

    @property
    def busy_s(self) -> dict[str, float]:
        """Time that each stage's operators have worked, seconds."""
        return self._state.busy_s

    @property
    def meter(self) -> Meter:
        """Counts what it does, for whoever publishes it."""
        return self._state.meter

    def loads(self, now: float) -> dict[str, Load]:
        """What each stage has to do."""
        return self._state.loads(now)

    # -- turns ---------------------------------------------------------------------------------------------

    def complete(self, completion: Completion, now: float) -> None:
        """Takes what a worker has done, and passes it on.

        A worker does its calls in order. Its answers may overtake one another on their way here, and then wait for
        their turn: the order of a stream's frames hangs on it.
        """
        state = self._state
        if completion.ticket not in state.calls:
            return  # its worker's death has been dealt with
        call, _ = state.calls[completion.ticket]
        lane = state.lanes[call.stage][call.worker]
        lane.early[completion.ticket] = completion
        while lane.tickets and (ticket := min(lane.tickets)) in lane.early:
            take(state, lane.early.pop(ticket), now)

    def restarts(self) -> list[tuple[str, int]]:
        """Workers that must be started anew before `dispatch`, as (stage, worker)."""
        restarts, self._state.restarts = self._state.restarts, []
        return restarts

    def scalings(self) -> list[Scaling]:
        """Copies of the model to be made or let go, after `dispatch` and before its calls are submitted."""
        scalings, self._state.scalings = self._state.scalings, []
        return scalings

    def dispatch(self, now: float) -> list[Call]:
        """Calls that can be made now, each for a worker that will do them in this order."""
        return dispatch(self._state, now)

    def deadline(self) -> float | None:
        """When `dispatch` should be called even if nothing completes, in the engine's clock."""
        return deadline(self._state)

    # -- what the runner takes out -------------------------------------------------------------------------

    @property
    def durables(self) -> deque[Durable]:
        """What has become durable since the runner last looked."""
        return self._state.durables

    @property
    def events(self) -> deque[HealthEvent]:
        """How the health of streams has changed, and what was done to them, since the runner last looked."""
        return self._state.events

    @property
    def answers(self) -> deque[Answer]:
        """What queries have come to since the runner last looked."""
        return self._state.answers

    @property
    def pictures(self) -> deque[Picture]:
        """What was drawn for viewers since the runner last looked."""
        return self._state.pictures

    @property
    def departed(self) -> deque[Stream]:
        """Streams that were removed and are forgotten, since the runner last looked."""
        return self._state.departed

    @property
    def swapped(self) -> deque[PlantainError | None]:
        """How swaps of the model ended since the runner last looked: an error, or None."""
        return self._state.swapped

    # -- streams -------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Takes no more questions and reads nothing more; what is in flight is answered, or finished and stored."""
        lifecycle.drain(self._state)

    def fail(self, stream_id: str, error: str) -> None:
        """Ends a stream for a reason from outside."""
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        lifecycle.fail(self._state, stream, error, keep=False)
        if stream.phase is not Phase.RETRYING:
            stream.phase, stream.error = Phase.FAILED, stream.error or error

    def find(self, stream_id: str) -> Stream:
        """A stream by its name.

        Raises:
            UnknownStreamError: If there is none.
        """
        return lifecycle.find(self._state, stream_id)

    def add(self, start: Start) -> Stream:
        """A further stream; see `lifecycle.add`."""
        return lifecycle.add(self._state, start, self._wall_ns())

    def change(self, start: Start) -> Stream:
        """Other prompts, sampling or options for a stream; see `lifecycle.change`."""
        return lifecycle.change(self._state, start, self._wall_ns())

    def pause(self, stream_id: str) -> Stream:
        """Lets a stream rest; see `lifecycle.pause`."""
        return lifecycle.pause(self._state, stream_id, self._wall_ns())

    def resume(self, stream_id: str) -> Stream:
        """Lets a stream go on; see `lifecycle.resume`."""
        return lifecycle.resume(self._state, stream_id, self._wall_ns())

    def remove(self, stream_id: str, *, drain: bool = True) -> Stream:
        """Ends a stream and forgets it; see `lifecycle.remove`."""
        return lifecycle.remove(self._state, stream_id, self._wall_ns(), drain=drain)

    def watch(self, stream_id: str, looks: Sequence[Any]) -> None:
        """Draws pictures of a stream from now on, as `looks` say; none of them ends it."""
        lifecycle.watch(self._state, stream_id, tuple(looks))

    # -- queries and the model -----------------------------------------------------------------------------

    def ask(self, query_id: str, headers: Sequence[Header], handles: Sequence[Any], now: float) -> None:
        """Puts frames in front of the model, before those of streams.

        Args:
            query_id: Its name, beginning with `queries.MARK`.
            headers: Of the frames, under the name of the query.
            handles: The executor's references to them.
            now: The engine's clock.

        Raises:
            UsageError: If there is no model.
            ModelBusyError: If too many frames of queries wait already.
            EngineDownError: If the run is ending.
        """
        state = self._state
        self._check_taking()
        if state.model is None:
            raise UsageError("this pipeline has no model that could be asked")
        batcher = state.batchers[state.model.name]
        waiting = sum(query.num_frames - len(query.made) for query in state.queries.values())
        if waiting and waiting + len(headers) > state.graph.max_frames_in_flight:
            raise ModelBusyError(f"{waiting} frames of queries wait for the model; ask again later")
        state.queries[query_id] = Query(query_id, len(headers))
        for place, (header, handle) in enumerate(zip(headers, handles, strict=True)):
            batcher.put(Item(header, handle, 0, place, now, is_query=True))

    def ask_stream(self, query_id: str, stream_id: str, prompts: tuple[Prompt, ...], now: float) -> None:
        """Asks the newest frame of a stream.

        Raises:
            UnknownStreamError: If there is no such stream.
            EngineDownError: If the run is ending.
        """
        self._check_taking()
        lifecycle.find(self._state, stream_id)
        query = Query(query_id, 1, stream_id, prompts, now + PATIENCE_S)
        self._state.queries[query_id] = query
        self._state.peeks.append(query_id)

    def _check_taking(self) -> None:
        """Whoever asks without a pause would keep a run from ending."""
        if self._state.is_draining:
            raise EngineDownError("the run is ending")

    def cancel(self, query_id: str) -> None:
        """Nobody waits for a query any more; what has not been given to the model yet will not be."""
        if self._state.queries.pop(query_id, None) is not None and self._state.model is not None:
            self._state.batchers[self._state.model.name].discard(query_id)

    def swap_model(self, options: Mapping[str, Any]) -> None:
        """Lets each copy of the model load other weights, one after the other; `swapped` says how it ended.

        Raises:
            UsageError: If another swap is under way.
        """
        state = self._state
        if state.swap is not None:
            raise UsageError("the model is being swapped already")
        if state.model is None:
            raise UsageError("this pipeline has no model that could be swapped")
        state.swap = Swap(dict(options), list(range(state.active[state.model.name])))
