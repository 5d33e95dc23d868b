"""Which waiting items make the next batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from plantain.pipeline.engine.item import Item
from plantain.pipeline.graph import Batch


@dataclass(slots=True)
class _Queue:
    """Items of one batch key.

    Attributes:
        items: Of streams.
        queries: Of queries.
        cost: Of all of them.
        gave_queries_more: The odd place of the last batch that both wanted went to a query.
        owes_streams: The last batch that both wanted had no room left for a stream.
    """

    items: deque[Item] = field(default_factory=deque)
    queries: deque[Item] = field(default_factory=deque)
    cost: int = 0
    gave_queries_more: bool = False
    owes_streams: bool = False

    def __len__(self) -> int:
        return len(self.items) + len(self.queries)

    @property
    def heads(self) -> list[Item]:
        return [waiting[0] for waiting in (self.queries, self.items) if waiting]

    @property
    def since(self) -> float:
        return min(head.queued_at for head in self.heads)


class Batcher:
    """Groups items by batch key and releases a group when it is full, at its deadline, or when nothing more can come.

    Queries go first and do not wait for company, but while streams wait, too, these keep half of the places and half
    of the cost of every batch, and every other batch where the keys differ: nobody starves. A batch with a few queries
    that have waited as long as a frame may wait for company has two places less: beside six cameras that saturate two
    cores p99 is 200 instead of 235 ms, and a query costs the cameras 1.4 to 1.9 frames instead of 1.5; if it always
    had, it would be 190 ms and 2.0 (the load of `python -m tests.bench serve`, 2026-11-22).

    Args:
        batch: The limits.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._queues: dict[str, _Queue] = {}
        self._count = 0
        self._was_for_queries = False

    def __len__(self) -> int:
        return self._count

    def put(self, item: Item) -> None:
        """Adds an item behind the others of its key; one that was tried before goes to the front."""
        queue = self._queues.get(item.header.batch_key)
        if queue is None:
            queue = self._queues[item.header.batch_key] = _Queue()
        waiting = queue.queries if item.is_query else queue.items
        if item.attempts:
            waiting.appendleft(item)
        else:
            waiting.append(item)
        queue.cost += item.header.cost
        self._count += 1

    def discard(self, stream_id: str) -> None:
        """Lets go of all items of a stream or query."""
        for key in list(self._queues):
            queue = self._queues[key]
            for waiting in (queue.queries, queue.items):
                gone = [item for item in waiting if item.header.stream_id == stream_id]
                for item in gone:
                    waiting.remove(item)
                    queue.cost -= item.header.cost
                    self._count -= 1
            if not len(queue):
                del self._queues[key]

    def pop(self, now: float, *, drain: bool = False, only_full: bool = False) -> list[Item]:
        """The next batch, or nothing if every group should wait for company.

        Groups with queries are looked at first, then the group whose oldest item has waited longest. An item that was
        tried before goes alone, so that one that kills its worker is found.

        Args:
            now: The engine's clock, seconds.
            drain: Release what there is: nothing more can come.
            only_full: Let groups that are not full wait even at their deadline, unless drained.
        """
        for key in sorted(self._queues, key=self._rank):
            queue = self._queues[key]
            is_due = not only_full and now >= self._deadline(queue)
            if not (drain or self._is_full(queue) or is_due):
                continue
            batch = self._take(queue, now)
            self._count -= len(batch)
            queue.cost -= sum(item.header.cost for item in batch)
            self._was_for_queries = any(item.is_query for item in batch)
            if not len(queue):
                del self._queues[key]
            return batch
        return []

    def deadline(self) -> float | None:
        """When the next batch must go whether it is full or not, in the engine's clock; None if nothing waits."""
        return min((self._deadline(queue) for queue in self._queues.values()), default=None)

    @property
    def has_full(self) -> bool:
        """Whether a group need not wait for company."""
        return any(self._is_full(queue) for queue in self._queues.values())

    def waiting(self) -> Iterator[Item]:
        """Every item that waits."""
        for queue in self._queues.values():
            yield from queue.queries
            yield from queue.items

    def oldest(self) -> float | None:
        """Since when the item that has waited longest waits, in the engine's clock; None if nothing waits."""
        return min((queue.since for queue in self._queues.values()), default=None)

    def _rank(self, key: str) -> tuple[bool, float]:
        queue = self._queues[key]
        return bool(queue.queries) == self._was_for_queries, queue.since

    def _take(self, queue: _Queue, now: float) -> list[Item]:
        """A batch out of a group."""
        for head, waiting in zip(queue.heads, (w for w in (queue.queries, queue.items) if w), strict=True):
            if head.attempts:
                return [waiting.popleft()]
        limit, max_cost = self._batch.max_items, self._batch.max_cost
        if not (queue.queries and queue.items):
            return self._fill([], queue.queries or queue.items, limit, max_cost)
        if queue.owes_streams:
            queue.owes_streams = False
            return self._fill(self._fill([], queue.items, limit, max_cost), queue.queries, limit, max_cost)
        if len(queue.queries) <= limit // 4 and now - queue.queries[0].queued_at >= self._batch.max_wait_s:
            limit -= 2
        half, odd = divmod(limit, 2)
        for_queries = half + (odd and not queue.gave_queries_more)
        queue.gave_queries_more = not queue.gave_queries_more
        for_streams = min(limit - for_queries, len(queue.items))
        batch = self._fill(
            [], queue.queries, limit - for_streams, max_cost if not for_streams else max_cost // 2
        )
        batch = self._fill(batch, queue.items, limit, max_cost)
        queue.owes_streams = bool(for_streams) and all(item.is_query for item in batch)
        return self._fill(batch, queue.queries, limit, max_cost)

    @staticmethod
    def _fill(batch: list[Item], waiting: deque[Item], limit: int, max_cost: int) -> list[Item]:
        """`batch` with waiting items, as far as they fit; a single one always does."""
        cost = sum(item.header.cost for item in batch)
        while waiting and len(batch) < limit and not waiting[0].attempts:
            cost += waiting[0].header.cost
            if batch and cost > max_cost:
                break
            batch.append(waiting.popleft())
        return batch

    def _is_full(self, queue: _Queue) -> bool:
        return (
            len(queue) >= self._batch.max_items
            or queue.cost >= self._batch.max_cost
            or any(head.attempts for head in queue.heads)
        )

    def _deadline(self, queue: _Queue) -> float:
        if queue.queries:
            return queue.queries[0].queued_at
        return queue.items[0].queued_at + self._batch.max_wait_s
