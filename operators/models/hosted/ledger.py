"""What was spent, in a file: it outlives the worker, and models that name the same file spend out of one budget."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from plantain.operators.errors import UsageError
from plantain.operators.redaction import redact

PIECE_BYTES = 1 << 20
"""Of the file, so much is read at a time."""


class Ledger:
    """Lines of seconds since 1970 and billionths of a US dollar: put aside, given back, spent.

    Lines are short and appended whole, so that several processes of a machine can write into one file. Money that was
    put aside by one that was killed stays so for its hour: nobody knows whether its call was charged.

    Args:
        path: Made if it is not there, with its folder.
        wall: Seconds since 1970.

    Raises:
        UsageError: If it cannot be written.
    """

    def __init__(self, path: str, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._read_to = 0
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            with self.alone():  # or this file system has no locks
                pass
        except OSError as error:
            raise UsageError(f"ledger cannot be written: {redact(str(error))}") from error

    @property
    def now(self) -> float:
        """Seconds since 1970."""
        return self._wall()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other ledger of this file is inside: between what is read and what is noted then, nobody spends.

        Raises:
            OSError: If the file cannot be locked.
        """
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def add(self, when: float, nano_usd: int) -> None:
        """Notes money as of a time.

        Raises:
            OSError: If that cannot be stored, for instance on a full disk.
        """
        os.write(self._file, f"{when:.3f} {nano_usd}\n".encode())

    def news(self) -> list[tuple[float, int]]:
        """What was noted since this was last asked, by whomever: how long ago, seconds, and how much."""
        found: list[tuple[float, int]] = []
        now = self._wall()
        while whole := self._whole_lines():  # of years there are many
            for line in whole.splitlines():
                when, _, cost = line.partition(b" ")
                try:
                    found.append((max(0.0, now - float(when)), int(cost)))
                except ValueError:  # not ours
                    continue
        return found

    def _whole_lines(self) -> bytes:
        """The next lines that were not read yet; empty at the end."""
        data = os.pread(self._file, PIECE_BYTES, self._read_to)
        whole = data[: data.rfind(b"\n") + 1]
        self._read_to += len(whole)
        return whole

    def close(self) -> None:
        """Closes the file."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1
