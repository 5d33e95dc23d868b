"""One datum, as the engine knows it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from plantain.operators.types import Header


@dataclass(slots=True)
class Item:
    """Whose a datum is, and where the executor keeps it.

    Attributes:
        header: Identity, batch key and cost.
        handles: The executor's references to the payload: one, or one from each pool that answered.
        generation: Restart of the stream that it belongs to; items of an older one are let go.
        sequence: Its place among those that leave the models in the same order.
        queued_at: When it began to wait, in the engine's clock.
        attempts: Workers that died with it.
        failed: The stage where each of its prompts failed, where one did; it goes on as an announced failure.
        cost_usd: What its answers have cost, US dollars.
        is_query: It is of a query and not of a stream, and goes first.
        read_at: When it was read, in the engine's clock.
    """

    header: Header
    handles: tuple[Any, ...]
    generation: int
    sequence: int
    queued_at: float = 0.0
    attempts: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    cost_usd: float = 0.0
    is_query: bool = False
    read_at: float = 0.0

    @property
    def failed_in(self) -> str | None:
        """The stage where a prompt of it failed; None if none did."""
        return next(iter(self.failed.values()), None)

    @property
    def born_at(self) -> float:
        """When it was captured, or decoded where nobody knows that, in the engine's clock."""
        return self.read_at - self.header.age_s

    @property
    def came_at(self) -> float:
        """When it arrived, by no clock but this machine's, in the engine's clock."""
        return self.read_at - self.header.waited_s

    @property
    def key(self) -> tuple[str, int, int, int]:
        """What an output shares with the item that it was made of."""
        return key_of(self.header)

    def moved_on(self, handle: Any, now: float) -> Item:
        """The same item, with what a stage made of it."""
        self.handles, self.queued_at, self.attempts = (handle,), now, 0
        return self


def key_of(header: Header) -> tuple[str, int, int, int]:
    """What tells items apart: stream, epoch, frame, and which part of it."""
    return header.stream_id, header.epoch, header.frame_index, header.part


def whole(parts: list[Item]) -> Item:
    """One item of several parts of a frame, in the order of the parts; it goes on as the first of them."""
    if len(parts) == 1:
        return parts[0]
    parts = sorted(parts, key=lambda item: item.header.part)
    first = parts[0]
    header = replace(
        first.header,
        prompts=tuple(prompt for part in parts for prompt in part.header.prompts),
        cost=sum(part.header.cost for part in parts),
    )
    failed = {prompt: stage for part in parts for prompt, stage in part.failed.items()}
    handles = tuple(handle for part in parts for handle in part.handles)
    queued_at = max(part.queued_at for part in parts)
    return Item(
        header,
        handles,
        first.generation,
        first.sequence,
        queued_at,
        0,
        failed,
        sum(part.cost_usd for part in parts),
        read_at=first.read_at,
    )
