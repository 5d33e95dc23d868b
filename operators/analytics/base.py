"""The contract of every analytic: one stream's results in, results with more in them and events out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from plantain.operators.types import Event, Result


class Analytic(Protocol):
    """Sees the results of one stream, in order; each stream has one of its own, made as `Class(**options)`.

    Time is that of the results (`StreamClock`), never a count of frames; geometry is source pixels and metres, never
    pixels of a canvas: how many frames are looked at and how large they are changes under load.

    What it raises is taken for a failure about this one result: it goes back to what it knew before, the other
    analytics and the answers are not touched, and an event `failed` says so.

    Attributes:
        is_stateless: It needs nothing but the result itself, so that queries pass through it, too, which have no past.
    """

    is_stateless: ClassVar[bool]

    def step(self, result: Result) -> tuple[Result, Sequence[Event]]:
        """The result with what can be said about it, and what is now known to have happened."""
        ...

    def snapshot(self) -> str:
        """What it knows, as a short text: it is stored with each segment, and made before each step."""
        ...

    def restore(self, state: str, lost: int) -> None:
        """Goes on from a `snapshot`, which an earlier process may have made.

        Args:
            state: The snapshot; empty for nothing known.
            lost: 0 where nothing came after the snapshot. Otherwise what a camera showed since then is unknown here,
                though it may have been stored; the number tells such gaps since the same snapshot apart.
        """
        ...


class Stateless:
    """What an analytic has that keeps nothing."""

    is_stateless: ClassVar[bool] = True

    def snapshot(self) -> str:
        """Nothing."""
        return ""

    def restore(self, state: str, lost: int) -> None:
        """There is nothing to go back to."""
