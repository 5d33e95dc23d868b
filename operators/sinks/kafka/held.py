"""Messages in memory, or in a temporary file when they are many; read as often as wanted, while more are added."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from plantain.operators.sinks.kafka.messages import Message
from plantain.operators.sinks.store import storage_error

# So much is kept in memory; beyond, everything waits in a temporary file.
MEMORY_BYTES = 8 << 20


class Held:
    """See the module.

    Args:
        folder: Where the temporary file is; the system's place for such if left out.

    Attributes:
        count, size: Messages, and their bytes as they are kept.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.count = 0
        self.size = 0
        self._folder = folder
        self._file: Any = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - see `close`
            MEMORY_BYTES, dir=None if folder is None else str(folder)
        )

    def add(self, messages: Sequence[Message]) -> None:
        """Appends messages, all or none.

        Raises:
            SinkError: If the disk is full.
        """
        try:
            self._file.seek(self.size)
            for message in messages:
                pickle.dump(message, self._file)
            self.size = self._file.tell()
        except OSError as error:
            raise storage_error(str(self._folder or tempfile.gettempdir()), error) from error
        self.count += len(messages)

    def after(self, place: int, max_bytes: int) -> tuple[list[Message], int]:
        """Some messages from a place on, at least one if there is any, and the place behind them; places begin at 0."""
        found: list[Message] = []
        self._file.seek(place)
        while (here := self._file.tell()) < self.size and (not found or here - place < max_bytes):
            found.append(pickle.load(self._file))
        return found, self._file.tell() if found else place

    def __iter__(self) -> Iterator[Message]:
        place = 0
        while place < self.size:
            found, place = self.after(place, MEMORY_BYTES)
            yield from found

    def clear(self) -> None:
        """Forgets everything."""
        self._file.seek(0)
        self._file.truncate()
        self.count = self.size = 0

    def close(self) -> None:
        """Gives back the file."""
        self._file.close()
