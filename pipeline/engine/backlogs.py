"""What the sinks keep on disk for somebody who is away: asked of each writer now and then, and before a run is over."""

from __future__ import annotations

from collections.abc import Iterator

from plantain.operators.segments import Backlog
from plantain.pipeline.calls import Call, Cut, Finish, Reply, Weigh
from plantain.pipeline.engine.stream import Stream
from plantain.pipeline.engine.workers import Workers
from plantain.pipeline.graph import Graph

# Writers are asked so often, seconds.
EVERY_S = 1.0


class Backlogs:
    """See the module.

    Args:
        graph: The stages; those that spool are asked.
        workers: Who is asked.
    """

    def __init__(self, graph: Graph, workers: Workers) -> None:
        self._workers = workers
        self._copies = [
            (stage.name, worker)
            for stage in graph.followers
            if stage.spools
            for worker in range(stage.workers)
        ]
        self._known: dict[tuple[str, int], tuple[Backlog, ...]] = {}
        # What is known of these is as it was when they last committed.
        self._fresh: set[tuple[str, int]] = set()
        self._next_s = dict.fromkeys(self._copies, 0.0)
        self._asked: set[tuple[str, int]] = set()

    @property
    def all(self) -> list[Backlog]:
        """What each sink of each writer keeps."""
        return [backlog for known in self._known.values() for backlog in known]

    def behind(self, stream: Stream) -> str:
        """What the sinks of a stream keep on disk, and why, in a sentence; empty if nothing."""
        told = []
        for stage, worker in self._copies:
            if stream.workers.get(stage) != worker:
                continue
            for each in self._known.get((stage, worker), ()):
                if each.messages:
                    room = (
                        f"{each.size / 1e6:.1f} of {each.max_bytes / 1e6:.0f} MB, oldest {each.age_s:.0f} s"
                    )
                    lost = f", {each.lost} lost" if each.lost else ""
                    why = f": {each.trouble}" if each.trouble else ""
                    told.append(f"{each.sink}: {each.messages} messages wait on disk ({room}{lost}){why}")
        return "; ".join(told)

    def is_settled(self, *, is_draining: bool) -> bool:
        """Whether everything that was promised is passed on, as far as is known.

        Args:
            is_draining: What waits for somebody who is away is left to the next start.
        """
        return (
            not self._asked
            and self._fresh.issuperset(self._copies)
            and not any(backlog.messages for backlog in self.all if not (is_draining and backlog.trouble))
        )

    def dispatch(self, now: float, *, is_ending: bool) -> Iterator[Call]:
        """Asks those whose time has come.

        Args:
            now: The engine's clock.
            is_ending: There is nothing else to be done.
        """
        for copy in self._copies:
            is_due = now >= self._next_s[copy] or (is_ending and copy not in self._fresh)
            if is_due and copy not in self._asked:
                self._asked.add(copy)
                self._fresh.add(copy)
                yield self._workers.send(Call(0, *copy, Weigh()))

    def deadlines(self) -> Iterator[float]:
        """When `dispatch` should be called, in the engine's clock."""
        return (self._next_s[copy] for copy in self._copies if copy not in self._asked)

    def take(self, call: Call, reply: Reply, now: float) -> None:
        """A writer has answered something."""
        copy = (call.stage, call.worker)
        if copy not in self._next_s:
            return
        if isinstance(call.work, Weigh):
            self._asked.discard(copy)
            self._known[copy] = reply.backlogs
            self._next_s[copy] = now + EVERY_S
        elif isinstance(call.work, Cut | Finish):  # there may be more now
            self._fresh.discard(copy)

    def forget(self, call: Call) -> None:
        """A writer has died with this call."""
        copy = (call.stage, call.worker)
        self._asked.discard(copy)
        self._fresh.discard(copy)
        self._known.pop(copy, None)
