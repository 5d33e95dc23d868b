"""One job for each output folder: two at a time would take each other's rows for their own."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from plantain.operators.errors import UsageError
from plantain.operators.sinks.store import storage_error

log = structlog.get_logger()


@contextmanager
def locked(out: str) -> Iterator[None]:
    """Holds a local output folder; the lock ends with the process, however that ends.

    Object stores cannot be locked: there, whoever starts two jobs has to know.

    Raises:
        UsageError: If another job holds it.
        SinkError: If the folder cannot be made.
    """
    if "://" in out and not out.startswith("file://"):
        yield
        return
    path = Path(out.removeprefix("file://")) / ".plantain" / "lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise storage_error(out, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode(errors="replace").strip()
            raise UsageError(
                f"another job (process {holder or 'unknown'}) writes to {out}: wait for it, stop it, "
                "or choose another --out"
            ) from error
        except OSError as error:  # some network file systems have no locks
            log.warning("unlocked", out=out, error=str(error))
        with contextlib.suppress(OSError):  # full: who holds it is then not told, but it is held
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
