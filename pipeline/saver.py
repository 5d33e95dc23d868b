"""Stores checkpoints beside the engine, which waits for no disk and no object store."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from plantain.operators.errors import SinkError
from plantain.operators.segments import Durable
from plantain.pipeline.checkpoint import Checkpoints

# Checkpoints are written no oftener than leaves the disk free for so many times as long.
REST = 4.0


@dataclass(frozen=True, slots=True)
class Saved:
    """What became of a promise of the sinks.

    Attributes:
        durable: What it said.
        error: Why nobody can go on with it; empty if it is stored.
    """

    durable: Durable
    error: str = ""


class Saver:
    """One thread that writes what is new, all streams together; of each stream only the newest counts.

    Args:
        checkpoints: Where to; None to keep nothing.
        wake: Ends the engine's waiting when something is stored.
    """

    def __init__(self, checkpoints: Checkpoints | None, wake: Callable[[], None]) -> None:
        self._checkpoints = checkpoints
        self._wake = wake
        self._wanted: deque[Durable] = deque()
        self._saved: deque[Saved] = deque()
        self._is_over = threading.Event()
        self._has_work = threading.Event()
        self._thread = threading.Thread(target=self._work, name="plantain-saver", daemon=True)
        if checkpoints is not None:
            self._thread.start()

    def put(self, durable: Durable) -> None:
        """Has something stored, soon."""
        if self._checkpoints is None:
            self._saved.append(Saved(durable))
            return
        self._wanted.append(durable)
        self._has_work.set()

    def take(self) -> list[Saved]:
        """What has been stored, or could not be, since the last look."""
        return [self._saved.popleft() for _ in range(len(self._saved))]

    def close(self) -> None:
        """Stores what is left, and ends."""
        self._is_over.set()
        self._has_work.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        assert self._checkpoints is not None
        while not self._is_over.is_set() or self._wanted or self._checkpoints.has_news:
            self._has_work.wait()
            self._has_work.clear()
            begin = time.monotonic()
            wanted = [self._wanted.popleft() for _ in range(len(self._wanted))]
            self._saved.extend(self._save(self._checkpoints, wanted))
            self._wake()
            self._is_over.wait(min(1.0, REST * (time.monotonic() - begin)))

    @staticmethod
    def _save(checkpoints: Checkpoints, wanted: list[Durable]) -> list[Saved]:
        try:
            checkpoints.save(wanted)
        except SinkError as error:
            return [Saved(durable, str(error)) for durable in wanted]
        return [Saved(durable) for durable in wanted]
