"""What happened to the streams of a run, the newest of it, numbered."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable

from plantain.operators.health import HealthEvent
from plantain.operators.types import Event
from plantain.pipeline.commands import Note

MAX_NOTES = 5000


class Notes:
    """The last thousands of notes; their numbers go on growing over restarts, as they begin with the time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._notes: deque[Note] = deque(maxlen=MAX_NOTES)
        self._number = 0

    def add(self, event: HealthEvent | Event) -> None:
        """Takes a note."""
        with self._lock:
            self._number = max(self._number + 1, time.time_ns() // 1000)
            self._notes.append(Note(self._number, event))

    def restore(self, notes: Iterable[Note]) -> None:
        """Goes on after notes of an earlier process, oldest first."""
        with self._lock:
            self._notes.extendleft(reversed([*notes]))
            self._number = max((note.number for note in self._notes), default=0)

    def after(self, number: int) -> list[Note]:
        """Notes after one, oldest first."""
        if self._number <= number:
            return []
        with self._lock:
            return [note for note in self._notes if note.number > number]
