"""Gives back what a process holds and does not use: garbage in circles, and pages that malloc keeps for later."""

from __future__ import annotations

import ctypes
import gc
import resource
import threading
import time
from pathlib import Path

EVERY_S = 15.0
LOOK_S = 1.0
GROWN_BYTES = 8 << 20
"""Pages go back each 15 s, and when so much more is held than a second after they last went: work at one level
does not come to that (recordings of 1080p take the CPU that they took), short clips do. A thousand of one picture of
640x360 with annotated videos take 411 MB at most, 495 with each 15 s alone; twenty take 360 to 376 (two cores, quiet,
2026-12-01). Blocks that go back as soon as they are freed (M_MMAP_THRESHOLD) took less, and 11 % more CPU for 1080p."""

# Only glibc has it, and only glibc needs it: each of its arenas keeps what threads have freed, in pieces. Eight cameras
# that were killed and came back (tests/soak, two cores, load 12, 2026-11-30): of 528 MB after 11 minutes 33 were such
# pages, more than had come since the start, while what was alive had stayed at 220 MB. Giving them back took 0.1 s.
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
_STATM = Path("/proc/self/statm")


class Sweeper:
    """Sweeps now and then, in a thread of its own, from `start` to `close`.

    What is there when it starts (libraries, models, workers) is taken to stay, and is not looked through again: a pass
    over all 370,000 objects of a run with the embedded model would stop every thread for 0.3 s.
    """

    def __init__(self) -> None:
        self._has_frozen = False
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins."""
        self._is_over.clear()
        if not gc.get_freeze_count():  # or somebody else in this process has done so
            gc.freeze()
            self._has_frozen = True
        self._thread = threading.Thread(target=self._work, name="plantain-sweeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends; everything is looked through again."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()
        if self._has_frozen:
            gc.unfreeze()
            self._has_frozen = False

    def _work(self) -> None:
        swept_s, settled = time.monotonic(), None
        while not self._is_over.wait(LOOK_S):
            now_s, held = time.monotonic(), resident_bytes()
            if now_s - swept_s >= EVERY_S:
                sweep()
            elif settled is not None and held > settled + GROWN_BYTES:
                trim()
            else:
                settled = held if settled is None else settled
                continue
            swept_s, settled = now_s, None


def sweep() -> None:
    """Collects what nobody can reach, and gives free pages back to the system."""
    gc.collect()
    trim()


def trim() -> None:
    """Gives pages that are free back to the system, where malloc keeps them."""
    if _trim is not None:
        _trim(0)


def resident_bytes() -> int:
    """What this process has in memory; 0 where no file says so."""
    try:
        return int(_STATM.read_bytes().split()[1]) * resource.getpagesize()
    except OSError:
        return 0
