"""Standard output and error, which may be closed or full: what is stored is stored, whoever can be told of it."""

from __future__ import annotations

import os
import sys
from typing import IO, Any


class _Patient:
    """A stream that takes what it can, and is silent about the rest; everything else is the stream's own."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # full, or closed meanwhile
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def secure() -> None:
    """Makes something of what is missing, first of all in a process; nothing then ends by what nobody can read."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        try:
            os.fstat(number)
        except OSError:  # the next file that is opened would be taken for it
            descriptor = os.open(os.devnull, os.O_WRONLY)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))
    sys.stderr = _Patient(sys.stderr)


def tell(line: str) -> None:
    """Writes a result to standard output; where that is closed or full, the log says so."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError as error:
        import structlog

        structlog.get_logger().warning(
            "not told", what="the result could not be written to standard output", error=error.strerror
        )
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python fails at its end, too
