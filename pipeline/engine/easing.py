"""Takes cameras up and down the ladders of overload, as what they have to bear says."""

from __future__ import annotations

from collections.abc import Callable

from plantain.operators.health import FLOWING, HealthState
from plantain.pipeline.calls import Relieve
from plantain.pipeline.engine.overload import Overload
from plantain.pipeline.engine.stream import Stream
from plantain.pipeline.engine.workers import Workers
from plantain.pipeline.graph import Graph


class Easing:
    """See the module.

    Args:
        graph: The stages.
        workers: Whose readers are told.
        say: Tells of a step.
    """

    def __init__(
        self, graph: Graph, workers: Workers, say: Callable[[Stream, HealthState, str], None]
    ) -> None:
        self._graph = graph
        self._workers = workers
        self._say = say
        self._overloads = {stage.name: stage.overload or graph.overload for stage in graph.pools}

    def step(self, stream: Stream, now: float) -> None:
        """Lets a camera take a step on the ladder of a pool, where it is time to."""
        if not stream.is_open:
            return
        for pool, strain in stream.strains.items():
            if stream.health and stream.health not in FLOWING:
                strain.pause(now)
                continue
            overload = self._overload_of(pool)
            if not overload.ladder:
                continue
            before = stream.rungs.get(pool, 0)
            rung = stream.rungs[pool] = strain.step(overload, before, now)
            if rung == before:
                continue
            self._order(stream, pool, rung)
            step = overload.ladder[max(rung, before) - 1]
            sentence = f"gives up half the {step}" if rung > before else f"gets its {step} back"
            of = "" if len(self._graph.pools) == 1 else f" for {pool}"
            what: HealthState = "slowed" if rung > before else "recovered"
            self._say(stream, what, f"{sentence}{of}, rung {rung} of {len(overload.ladder)}")

    def again(self, stream: Stream) -> None:
        """Tells a reader that begins with a stream what that has given up."""
        for pool, rung in stream.rungs.items():
            if rung:
                self._order(stream, pool, rung)

    def _order(self, stream: Stream, pool: str, rung: int) -> None:
        ease = self._overload_of(pool).ease(rung, pool)
        self._workers.order(self._graph.source, stream, Relieve(ease))

    def _overload_of(self, pool: str) -> Overload:
        return self._overloads.get(pool) or self._graph.overload
