"""Live sources that say when they have something, so that one look serves many of them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from plantain.operators.types import Frame


@runtime_checkable
class Waking(Protocol):
    """What a live source can do beyond `Source`; a user's own need not."""

    @property
    def newest(self) -> Frame | None:
        """The frame that came last, read or not, with how long ago (`Header.waited_s`); None before the first."""
        ...

    def listen(self, event: threading.Event) -> None:
        """Sets `event` whenever a frame arrives or the stream ends; at once if one is there."""
        ...

    def forget(self, event: threading.Event) -> None:
        """Undoes `listen`."""
        ...

    def show(self, long_side: int) -> None:
        """Keeps a display picture with each frame, its longer side at most this; 0 for none but what the view asks."""
        ...


def wait_for_any(sources: Sequence[Waking], timeout_s: float) -> None:
    """Sleeps until a frame of any of the sources is there, or one of them has ended, or the time is over."""
    arrived = threading.Event()
    for source in sources:
        source.listen(arrived)
    try:
        if sources:
            arrived.wait(timeout_s)
    finally:
        for source in sources:
            source.forget(arrived)
