"""What a process takes for granted and may lack: open output and error, a name, a home, descriptors."""

from __future__ import annotations

import contextlib
import getpass
import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

from plantain.operators.errors import UsageError

# What a process opens beside its cameras: libraries, workers, tables, brokers, clients.
SPARE_DESCRIPTORS = 128
# No machine runs out of memory by so many, which some containers allow by the thousand million.
MOST_DESCRIPTORS = 1 << 16


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
    user()
    descriptors()


def descriptors() -> int:
    """How many descriptors this process may have; as many as it is allowed to ask for, like programs in Go and Java.

    The limit that shells and services begin with, 1,024, is that of `select`, which nobody here may wait by.
    """
    may, at_most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if at_most == resource.RLIM_INFINITY else min(at_most, MOST_DESCRIPTORS)
    if may != resource.RLIM_INFINITY and may < wanted:
        with contextlib.suppress(OSError, ValueError):  # not everywhere is what is allowed possible
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, at_most))
            may = wanted
    return MOST_DESCRIPTORS if may == resource.RLIM_INFINITY else may


def ensure_descriptors(cameras: int) -> None:
    """Finds out before the first of many cameras is opened that the last ones could not be.

    A camera takes one; more where it is guarded (`hosts`) or sends over UDP, and then it is the one that says so.

    Args:
        cameras: That this process keeps open.

    Raises:
        UsageError: If the process may not have as many descriptors.
    """
    may = descriptors()
    if cameras > max(may - SPARE_DESCRIPTORS, may // 2):
        raise UsageError(
            f"{cameras:,} cameras need some {cameras + SPARE_DESCRIPTORS:,} file descriptors, and this process may "
            f"have {may:,}: raise the limit (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of Docker), or run "
            "on Ray on several machines"
        )


def user() -> str:
    """Who runs this process. A user id that has neither a name nor a home, as in containers, is given them.

    Libraries ask for both, and keep secrets in the home: it is a folder of the user's own.
    """
    try:
        Path.home()
    except RuntimeError:
        with contextlib.suppress(OSError):  # no such place: those who need a home say so
            home = Path(tempfile.gettempdir()) / f"plantain-{os.getuid()}"
            home.mkdir(mode=0o700, exist_ok=True)
            if home.stat().st_uid == os.getuid():
                os.environ["HOME"] = str(home)
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return os.environ.setdefault("USER", f"uid{os.getuid()}")


def ensure_temporary(out: str) -> None:
    """Where no place for temporary files can be written to, libraries are given one in the output folder.

    Args:
        out: The output folder; nothing happens where it is no local one.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        if "://" in out:
            return
        folder = Path(out).absolute() / ".plantain" / "temporary"
        with contextlib.suppress(OSError):  # whoever stores there says so
            folder.mkdir(parents=True, exist_ok=True)
            os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


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
