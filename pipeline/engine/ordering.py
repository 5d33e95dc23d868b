"""One stream's items back in order behind the models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Generic, TypeVar

from plantain.operators.types import Header
from plantain.pipeline.engine.item import Item, whole

T = TypeVar("T")


class Reorder(Generic[T]):
    """Gives items out in the order of their sequence numbers, however they come in.

    A missing number holds back what follows it, so every number must come, or be announced as a gap.
    """

    def __init__(self) -> None:
        self._next = 0
        self._early: dict[int, T | None] = {}

    def __len__(self) -> int:
        return len(self._early)

    def put(self, sequence: int, item: T | None) -> list[T]:
        """What can go out now that `item` has come; an item of None announces that the number will stay empty.

        Raises:
            ValueError: If the number has come before.
        """
        if sequence < self._next or sequence in self._early:
            raise ValueError(f"sequence number {sequence} has come before")
        self._early[sequence] = item
        ready = []
        while self._next in self._early:
            released = self._early.pop(self._next)
            self._next += 1
            if released is not None:
                ready.append(released)
        return ready


class Order:
    """Where a stream's items stand behind the pools.

    A file waits for all that was asked of a frame: its parts leave as one item, in the order of the frames, so that a
    repeated run gives the same rows. A camera waits for nobody: the items of each pool keep their own order, and a slow
    pool holds up no other.

    Args:
        joins: Whether it is a file's.
    """

    def __init__(self, *, joins: bool) -> None:
        self._joins = joins
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._reorders: defaultdict[str, Reorder[Item]] = defaultdict(Reorder)
        self._parts: defaultdict[int, list[Item]] = defaultdict(list)

    def enter(self, parts: Sequence[Header]) -> list[int]:
        """Places for the parts of the next frame."""
        places = []
        for header in parts:
            line = self._line(header)
            places.append(self._counts[line])
            if not self._joins or header.part == header.parts - 1:
                self._counts[line] += 1
        return places

    def put(self, item: Item) -> list[Item]:
        """What can go on now that a pool has done with an item."""
        if not self._joins or item.header.parts == 1:
            return self._reorders[self._line(item.header)].put(item.sequence, item)
        parts = self._parts[item.sequence]
        parts.append(item)
        if len(parts) < item.header.parts:
            return []
        del self._parts[item.sequence]
        return self._reorders[self._line(item.header)].put(item.sequence, whole(parts))

    def skip(self, item: Item) -> list[Item]:
        """What can go on now that an item of a camera will not come."""
        return self._reorders[self._line(item.header)].put(item.sequence, None)

    def _line(self, header: Header) -> str:
        return "" if self._joins else header.pool
