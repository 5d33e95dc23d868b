"""The moment to strike: chosen by what a job is seen to have done, so that it meets any machine at work."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

# How often the folder is looked at, seconds.
LOOK_EVERY_S = 0.002


class Progress:
    """What has changed in a folder since this was made: files that were made, replaced or renamed.

    Args:
        folder: It may not be there yet.
        gap_s: Time between two changes, seconds, until two were seen.
    """

    def __init__(self, folder: Path, gap_s: float = 0.5) -> None:
        self._folder = folder
        self._seen = self._look()
        self._before = len(self._seen)
        self._last_s = time.monotonic()
        self._gap_s = gap_s

    @property
    def changes(self) -> int:
        """How many there were, as far as was looked."""
        return len(self._seen) - self._before

    def wait(self, changes: int, goes_on: Callable[[], bool]) -> bool:
        """Returns when there were so many, or when the job does not go on; whether there were."""
        while self.changes < changes:
            is_over = not goes_on()
            found = self._look() - self._seen
            if found:
                self._seen |= found
                now_s = time.monotonic()
                self._gap_s, self._last_s = now_s - self._last_s, now_s
            elif is_over:
                return False
            else:
                time.sleep(LOOK_EVERY_S)
        return True

    def pause(self, chance: random.Random) -> None:
        """Lets a random part of the time pass that lay between the last two changes."""
        time.sleep(chance.uniform(0, min(1.0, self._gap_s)))

    def _look(self) -> set[tuple[str, int]]:
        """Each file by path and inode: one that is replaced gets another."""
        found = set()
        folders = [str(self._folder)]
        while folders:
            with contextlib.suppress(FileNotFoundError), os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        found.add((entry.path, entry.inode()))
        return found
