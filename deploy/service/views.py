"""Live views that somebody looks at: opened when they are first asked for, shared, closed when nobody asks any more."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from plantain.deploy.service.gateway import Shot, Want
from plantain.deploy.service.notes import Signal
from plantain.pipeline.control import Picture

# A view that nobody has asked for in this long is closed.
LEASE_S = 4.0
# Where there is nothing to be seen, it is looked for again after this long.
AGAIN_S = 1.0

Opener = Callable[[Want, Callable[[Picture], None]], Awaitable[Callable[[], None] | None]]


@dataclass(slots=True)
class _View:
    """One view: `end` closes it, None while there is nothing to be seen."""

    asked_s: float
    tried_s: float = float("-inf")
    end: Callable[[], None] | None = None
    shot: Shot | None = None


class Views:
    """The views of one engine.

    Args:
        open_view: Begins to look; gives how to end it, or None where there is nothing to be seen just now.
    """

    def __init__(self, open_view: Opener) -> None:
        self._open = open_view
        self._lock = threading.Lock()
        self._views: dict[Want, _View] = {}
        self._number = time.time_ns() // 1000
        self._signal = Signal()
        self._reaper: asyncio.Task[None] | None = None

    async def shots(self, wants: Sequence[Want], seen: Mapping[Want, int], wait_s: float) -> list[Shot]:
        """The newest picture of each view that is newer than the one seen; waits for one up to `wait_s`."""
        deadline_s = time.monotonic() + wait_s
        with self._signal.waiter() as waiter:
            while True:
                for want in wants:
                    await self._attend(want)
                with self._lock:
                    newest = [view.shot for want in wants if (view := self._views.get(want)) and view.shot]
                found = [shot for shot in newest if shot.number > seen.get(shot.want, 0)]
                left_s = deadline_s - time.monotonic()
                if found or left_s <= 0:
                    return found
                await waiter.wait(min(left_s, AGAIN_S))

    def forget(self) -> None:
        """The engine has ended, and with it all views; they are opened again when they are asked for."""
        with self._lock:
            self._views.clear()

    def close(self) -> None:
        """Ends all views, from any thread."""
        with self._lock:
            ended = [view.end for view in self._views.values() if view.end is not None]
            self._views.clear()
        for end in ended:
            end()

    async def _attend(self, want: Want) -> None:
        """Keeps a view open, or tries to open it."""
        now = time.monotonic()
        with self._lock:
            view = self._views.setdefault(want, _View(now))
            view.asked_s = now
            if view.end is not None or now < view.tried_s + AGAIN_S:
                return
            view.tried_s = now
        end = await self._open(want, lambda picture: self._take(want, picture))
        with self._lock:
            if end is not None and self._views.get(want) is view and view.end is None:
                view.end, end = end, None
        if end is not None:
            end()
        if self._reaper is None or self._reaper.done():
            self._reaper = asyncio.ensure_future(self._reap())

    def _take(self, want: Want, picture: Picture) -> None:
        """A picture has come; in the engine's thread."""
        with self._lock:
            view = self._views.get(want)
            if view is None:
                return
            self._number += 1
            view.shot = Shot(want, self._number, picture.jpeg, picture.time_s, picture.latency_ms)
        self._signal.ring()

    async def _reap(self) -> None:
        """Closes what nobody looks at, until nothing is left."""
        while True:
            await asyncio.sleep(LEASE_S / 4)
            limit = time.monotonic() - LEASE_S
            with self._lock:
                old = [want for want, view in self._views.items() if view.asked_s < limit]
                ended = [self._views.pop(want).end for want in old]
                is_over = not self._views
            for end in ended:
                if end is not None:
                    end()
            if is_over:
                return
