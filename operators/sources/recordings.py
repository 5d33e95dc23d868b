"""Which recordings of a folder are to be taken up now, while others write into it."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plantain.operators.sources.stills import files_in, natural
from plantain.operators.sources.suffixes import VIDEO_SUFFIXES, tell_left_out

# A recording that has not changed for so long is taken for whole; whoever writes one flushes more often.
SETTLED_S = 3.0
# One that is written for longer is taken up as far as it goes, and again so often; what could not be read (a file whose
# index comes last) is tried again half as often each time.
AGAIN_S, MOST_AGAIN_S = 30.0, 600.0

_MAX_NAME = 99


@dataclass(slots=True)
class _Seen:
    """A recording.

    Attributes:
        size, mtime_ns: As it was last seen.
        since_s: Since when it has been so.
        is_due: It has something that nobody has taken.
        next_s: It is not taken up before this while it changes.
        again_s: The pause before it is taken up once more.
        is_over: It is written over where it is: it waits until that is over.
    """

    size: int
    mtime_ns: int
    since_s: float
    is_due: bool
    next_s: float
    again_s: float = AGAIN_S
    is_over: bool = False

    def is_ready(self, now_s: float) -> bool:
        """Whether it may be taken up."""
        rest_s = now_s - self.since_s
        if self.is_over:
            return self.is_due and rest_s >= AGAIN_S
        return self.is_due and (rest_s >= SETTLED_S or now_s >= self.next_s)


class Recordings:
    """The recordings of a folder and below it, in natural order of their paths, whatever their times are.

    Hidden files, those without a suffix of videos (`.part`, `.tmp`), empty ones and pipes are not looked at: who writes
    under such a name renames it when it is whole.

    Args:
        folder: Where they come.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[Path, _Seen] = {}
        self._told: set[str] = set()

    def look(self, now_s: float) -> None:
        """Takes note of what is there.

        Args:
            now_s: On the monotonic clock.

        Raises:
            OSError: If the folder cannot be read.
        """
        found: dict[Path, _Seen] = {}
        files = files_in(self._folder)
        self._tell(files)
        for path in files:
            if path.suffix.lower() not in VIDEO_SUFFIXES or path.name.startswith("."):
                continue
            try:
                status = path.stat()
            except OSError:  # taken away meanwhile, or not ours to read
                continue
            if not status.st_size or not stat.S_ISREG(status.st_mode):
                continue
            seen = self._seen.get(path)
            if seen is None:
                seen = _Seen(status.st_size, status.st_mtime_ns, now_s, True, now_s + AGAIN_S)
            elif (seen.size, seen.mtime_ns) != (status.st_size, status.st_mtime_ns):
                seen.is_over = status.st_size <= seen.size  # nobody knows what of it is old
                seen.size, seen.mtime_ns = status.st_size, status.st_mtime_ns
                seen.since_s, seen.is_due = now_s, True
            found[path] = seen
        self._seen = found

    def _tell(self, files: Sequence[Path]) -> None:
        """Says once of each suffix that files of it are left out."""
        unknown = [file for file in files if file.suffix.lower() not in self._told]
        self._told |= {file.suffix.lower() for file in unknown}
        tell_left_out(self._folder, unknown)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Those that are there."""
        return tuple(self._seen)

    def due(self, now_s: float) -> list[Path]:
        """Those that are to be taken up now, in order."""
        due = (path for path, seen in self._seen.items() if seen.is_ready(now_s))
        return sorted(due, key=lambda path: natural(path.relative_to(self._folder)))

    def take(self, path: Path) -> None:
        """One is taken up as it is now; what comes later is due again."""
        if (seen := self._seen.get(path)) is not None:
            seen.is_due = seen.is_over = False

    def take_later(self, path: Path) -> None:
        """One that was to be taken up could not be just now."""
        if (seen := self._seen.get(path)) is not None:
            seen.is_due = True

    def done(self, path: Path, now_s: float, *, is_good: bool) -> None:
        """One that was taken up has been read, as far as it went, or could not be."""
        if (seen := self._seen.get(path)) is not None:
            seen.again_s = AGAIN_S if is_good else min(MOST_AGAIN_S, 2 * seen.again_s)
            seen.next_s = now_s + seen.again_s


def recording_name(prefix: str, folder: Path, path: Path) -> str:
    """The name of a recording's stream, which no other recording changes: its folder's, and its path below that."""
    below = str(path.relative_to(folder))
    name = f"{prefix}-{re.sub(r'[^A-Za-z0-9._-]+', '_', below)}"
    if len(name) <= _MAX_NAME and name == f"{prefix}-{below}":
        return name
    digest = hashlib.blake2b(below.encode(errors="surrogateescape"), digest_size=4).hexdigest()
    return f"{name[: _MAX_NAME - 9]}-{digest}"
