"""What happened to the streams of a service, kept in its output folder over every restart.

.plantain/serve/history.json    how the streams were doing; what analytics told is in the table `events`
"""

from __future__ import annotations

import json
import threading
from dataclasses import astuple

import structlog

from plantain.operators.errors import SinkError
from plantain.operators.health import HealthEvent
from plantain.operators.sinks.store import Store
from plantain.pipeline.checkpoint import FOLDER
from plantain.pipeline.commands import Note
from plantain.pipeline.notes import Notes

NAME = f"{FOLDER}/serve/history.json"
# The newest of them, a quarter of a megabyte.
MAX_KEPT = 1000
# News are stored together, so often at most.
EVERY_S = 5.0

log = structlog.get_logger()


class History:
    """Keeps notes, beside the engine, which waits for no disk.

    Args:
        out: The output folder.
        notes: What is kept; those of an earlier process are put before them.
    """

    def __init__(self, out: str, notes: Notes) -> None:
        self._store = Store(out)
        self._notes = notes
        self._kept = 0
        self._is_over = threading.Event()
        notes.restore(self._load())
        self._thread = threading.Thread(target=self._work, name="plantain-history", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stores what is left, and ends."""
        self._is_over.set()
        self._thread.join()

    def _load(self) -> list[Note]:
        """Those that were kept; of a damaged file none, as nothing depends on them."""
        try:
            held = json.loads(self._store.get(NAME) or b"[]")
            return [Note(number, HealthEvent(*fields)) for number, fields in held]
        except (SinkError, ValueError, TypeError) as error:
            log.warning("history", error=f"{NAME} cannot be read and is begun anew: {error}")
            return []

    def _work(self) -> None:
        while not self._is_over.wait(EVERY_S):
            self._save()
        self._save()

    def _save(self) -> None:
        news = self._notes.after(self._kept)
        if not news:
            return
        kept = [note for note in self._notes.after(0) if isinstance(note.event, HealthEvent)][-MAX_KEPT:]
        try:
            held = [[note.number, astuple(note.event)] for note in kept]
            self._store.put(NAME, json.dumps(held).encode())
        except SinkError as error:
            log.warning("history", error=str(error))
            return
        self._kept = news[-1].number
