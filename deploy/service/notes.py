"""What happened to the streams of a service, the newest of it, numbered."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque

from plantain.deploy.service.gateway import Note

MAX_NOTES = 1000


class Signal:
    """Wakes coroutines of any loop from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def ring(self) -> None:
        """Wakes all that wait now."""
        with self._lock:
            waiting = list(self._waiting)
        for loop, event in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    def waiter(self) -> Waiter:
        """Something that hears every ring from now on."""
        return Waiter(self)

    def _join(self, pair: tuple[asyncio.AbstractEventLoop, asyncio.Event]) -> None:
        with self._lock:
            self._waiting.add(pair)

    def _leave(self, pair: tuple[asyncio.AbstractEventLoop, asyncio.Event]) -> None:
        with self._lock:
            self._waiting.discard(pair)


class Waiter:
    """One coroutine's ear for a signal; a context, so that it is not left behind."""

    def __init__(self, signal: Signal) -> None:
        self._signal = signal
        self._event = asyncio.Event()
        self._pair = (asyncio.get_running_loop(), self._event)

    def __enter__(self) -> Waiter:
        self._signal._join(self._pair)
        return self

    def __exit__(self, *_: object) -> None:
        self._signal._leave(self._pair)

    async def wait(self, timeout_s: float) -> bool:
        """Whether it rang, since the last time, before the time was over."""
        try:
            await asyncio.wait_for(self._event.wait(), timeout_s)
        except TimeoutError:
            return False
        self._event.clear()
        return True


class Notes:
    """The last thousand notes; their numbers go on growing over restarts, as they begin with the time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._notes: deque[Note] = deque(maxlen=MAX_NOTES)
        self._number = 0
        self._signal = Signal()

    def add(self, stream_id: str, epoch: int, kind: str, sentence: str, at_ns: int) -> None:
        """Takes a note, from any thread."""
        with self._lock:
            self._number = max(self._number + 1, time.time_ns() // 1000)
            self._notes.append(Note(self._number, at_ns, stream_id, epoch, kind, sentence))
        self._signal.ring()

    async def after(self, number: int, wait_s: float) -> list[Note]:
        """Notes after one, oldest first; waits for one."""
        deadline_s = time.monotonic() + wait_s
        with self._signal.waiter() as waiter:
            while True:
                with self._lock:
                    found = [note for note in self._notes if note.number > number]
                left_s = deadline_s - time.monotonic()
                if found or left_s <= 0:
                    return found
                await waiter.wait(left_s)
