"""One stream's items back in order behind the models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class _Group:
    """Parts of a camera's frame that belong together.

    Attributes:
        missing: So many are still at their models.
        until_s: They wait no longer than this for one another, in the engine's clock; set when the first is there.
        there: Those that are.
    """

    missing: int
    until_s: float = float("inf")
    there: list[Item] = field(default_factory=list)


class Order:
    """Where a stream's items stand behind the pools.

    A file waits for all that was asked of a frame: its parts leave as one item, in the order of the frames, so that a
    repeated run gives the same rows. Of a camera the items of each pool keep their own order, and a slow pool holds up
    no other; only parts that belong together (`Header.joins`) wait for one another for a while, and then leave as one.

    Args:
        joins: Whether it is a file's.
        patience_s: How long parts of a camera's frame wait for one another, seconds.
    """

    def __init__(self, *, joins: bool, patience_s: float = 0.0) -> None:
        self._joins = joins
        self._patience_s = patience_s
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._reorders: defaultdict[str, Reorder[Item]] = defaultdict(Reorder)
        self._parts: defaultdict[int, list[Item]] = defaultdict(list)
        self._groups: dict[tuple[int, int], _Group] = {}

    def enter(self, parts: Sequence[Header]) -> list[int]:
        """Places for the parts of the next frame."""
        places = []
        for header in parts:
            line = self._line(header)
            places.append(self._counts[line])
            if not self._joins or header.part == header.parts - 1:
                self._counts[line] += 1
        joining = [header for header in parts if header.joins]
        if not self._joins and self._patience_s and len(joining) > 1:
            self._groups[joining[0].epoch, joining[0].frame_index] = _Group(len(joining))
        return places

    def put(self, item: Item, now: float) -> list[Item]:
        """What can go on now that a pool has done with an item."""
        if not self._joins:
            return self._put_of_camera(item, now)
        if item.header.parts == 1:
            return self._release(item)
        parts = self._parts[item.sequence]
        parts.append(item)
        if len(parts) < item.header.parts:
            return []
        del self._parts[item.sequence]
        return self._release(whole(parts))

    def skip(self, item: Item) -> list[Item]:
        """What can go on now that an item of a camera will not come: also what waited for it."""
        freed = self._disband(_frame_of(item)) if item.header.joins else []
        return freed + self._release(item, is_there=False)

    def expire(self, now: float) -> list[Item]:
        """What has waited long enough for another part of its frame."""
        late = [frame for frame, group in self._groups.items() if now >= group.until_s]
        return [item for frame in late for item in self._disband(frame)]

    def deadline(self) -> float:
        """When `expire` has something, in the engine's clock."""
        return min((group.until_s for group in self._groups.values()), default=float("inf"))

    def _put_of_camera(self, item: Item, now: float) -> list[Item]:
        group = self._groups.get(_frame_of(item)) if item.header.joins else None
        if group is None:
            return self._release(item)
        group.there.append(item)
        group.missing -= 1
        group.until_s = min(group.until_s, now + self._patience_s)
        if group.missing:
            return []
        del self._groups[_frame_of(item)]
        joined = whole(group.there)
        others = [part for part in group.there if part.header.part != joined.header.part]
        freed = [item for part in others for item in self._release(part, is_there=False)]
        return self._release(joined) + freed

    def _disband(self, frame: tuple[int, int]) -> list[Item]:
        """Each part of a frame goes on alone."""
        group = self._groups.pop(frame, None)
        return [] if group is None else [item for part in group.there for item in self._release(part)]

    def _release(self, item: Item, *, is_there: bool = True) -> list[Item]:
        """An item in its turn; or none, where its place in its own line stays empty."""
        return self._reorders[self._line(item.header)].put(item.sequence, item if is_there else None)

    def _line(self, header: Header) -> str:
        return "" if self._joins else header.pool


def _frame_of(item: Item) -> tuple[int, int]:
    return item.header.epoch, item.header.frame_index
