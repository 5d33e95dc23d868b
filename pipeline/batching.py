"""Which waiting items make the next batch."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from operators.types import Header
from pipeline.graph import Batch


@dataclass(slots=True)
class Item:
    """What the engine knows about one datum: whose it is, and where the executor keeps it.

    Attributes:
        header: Identity, batch key and cost.
        handle: The executor's reference to the payload.
        generation: Restart of the stream that it belongs to; items of an older one are let go.
        sequence: Position among the stream's items, given when it was first dispatched.
        queued_at: When it began to wait, in the engine's clock.
        attempts: Workers that died with it.
        failed_in: The stage where it failed, if it did; it goes on as an announced failure.
    """

    header: Header
    handle: object
    generation: int
    sequence: int
    queued_at: float = 0.0
    attempts: int = 0
    failed_in: str | None = None


@dataclass(slots=True)
class _Queue:
    items: deque[Item] = field(default_factory=deque)
    cost: int = 0


class Batcher:
    """Groups items by batch key and releases a group when it is full, at its deadline, or when nothing more can come.

    Args:
        batch: The limits.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._queues: dict[str, _Queue] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, item: Item) -> None:
        """Adds an item behind the others of its key; one that was tried before goes to the front."""
        queue = self._queues.setdefault(item.header.batch_key, _Queue())
        if item.attempts:
            queue.items.appendleft(item)
        else:
            queue.items.append(item)
        queue.cost += item.header.cost
        self._count += 1

    def pop(self, now: float, *, drain: bool = False) -> list[Item]:
        """The next batch, or nothing if every group should wait for company.

        The group whose oldest item has waited longest is looked at first. An item that was tried before goes alone,
        so that one that kills its worker is found.

        Args:
            now: The engine's clock, seconds.
            drain: Release what there is: nothing more can come.
        """
        for key in sorted(self._queues, key=lambda key: self._queues[key].items[0].queued_at):
            queue = self._queues[key]
            if not (drain or self._is_full(queue) or now >= self._deadline(queue)):
                continue
            batch = [self._take(queue)]
            cost = batch[0].header.cost
            while (
                queue.items
                and len(batch) < self._batch.max_items
                and cost + queue.items[0].header.cost <= self._batch.max_cost
                and not batch[0].attempts
                and not queue.items[0].attempts
            ):
                batch.append(self._take(queue))
                cost += batch[-1].header.cost
            if not queue.items:
                del self._queues[key]
            return batch
        return []

    def deadline(self) -> float | None:
        """When the next batch must go whether it is full or not, in the engine's clock; None if nothing waits."""
        return min((self._deadline(queue) for queue in self._queues.values()), default=None)

    def _take(self, queue: _Queue) -> Item:
        item = queue.items.popleft()
        queue.cost -= item.header.cost
        self._count -= 1
        return item

    def _is_full(self, queue: _Queue) -> bool:
        return (
            len(queue.items) >= self._batch.max_items
            or queue.cost >= self._batch.max_cost
            or bool(queue.items[0].attempts)
        )

    def _deadline(self, queue: _Queue) -> float:
        return queue.items[0].queued_at + self._batch.max_wait_s
