"""Gives back what a process holds and does not use: garbage in circles, and pages that malloc keeps for later."""

from __future__ import annotations

import ctypes
import gc
import threading

EVERY_S = 15.0
"""A run over a thousand clips of one picture with annotated videos, two cores, 2026-11-30: at most 374 MB, and 438 with
a sweep each minute; one over twenty takes 280 to 360. A sweep each second gave no less. Blocks that go back as soon as
they are freed (M_MMAP_THRESHOLD of 256 KiB) took 90 to 120 MB less, and 11 % more CPU for a recording of 1080p."""

# Only glibc has it, and only glibc needs it: each of its arenas keeps what threads have freed, in pieces. Eight cameras
# that were killed and came back (tests/soak, two cores, load 12, 2026-11-30): of 528 MB after 11 minutes 33 were such
# pages, more than had come since the start, while what was alive had stayed at 220 MB. Giving them back took 0.1 s.
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


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
        while not self._is_over.wait(EVERY_S):
            sweep()


def sweep() -> None:
    """Collects what nobody can reach, and gives free pages back to the system."""
    gc.collect()
    if _trim is not None:
        _trim(0)
