"""One stream's items back in sequence."""

from __future__ import annotations

from typing import Generic, TypeVar

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
