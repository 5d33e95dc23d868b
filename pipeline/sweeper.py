"""Gives back what a process holds and does not use: garbage in circles, and pages that malloc keeps for later."""

from __future__ import annotations

import ctypes
import gc
import threading

EVERY_S = 15.0
"""A run over a thousand clips of one picture with annotated videos, two cores, 2026-11-30: at most 374 MB, and 438 with
a sweep each minute; one over twenty takes 280 to 360."""

# Only glibc has it, and only glibc needs it: each of its arenas keeps what threads have freed, in pieces. Eight cameras
# that were killed and came back (tests/soak, two cores, load 12, 2026-11-30): of 528 MB after 11 minutes 33 were such
# pages, more than had come since the start, while what was alive had stayed at 220 MB. Giving them back took 0.1 s.
_libc = ctypes.CDLL(None)
_trim = getattr(_libc, "malloc_trim", None)

# Blocks from this size on, bytes, go back to the system when they are freed. Left alone, glibc raises the size to that
# of the largest block it has seen freed (up to 32 MB): pictures then lie in the arenas, among what stays. A hundred
# clips of one picture with annotated videos (two cores, load 15 to 25, 2026-12-01) take, beside files of libraries, at
# most 179 instead of 297 MB at 320x180, and 196 instead of 284 MB at 640x360; the embedded model takes no more CPU, and
# decoding 1080p and measuring its masks 0.9 ms more a frame.
LARGE_BYTES = 256 << 10
_M_MMAP_THRESHOLD = -3  # malloc.h


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


def give_back_large() -> None:
    """Has this process give back large blocks as soon as they are free, where malloc is that of glibc."""
    if _trim is not None:
        _libc.mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)


def sweep() -> None:
    """Collects what nobody can reach, and gives free pages back to the system."""
    gc.collect()
    if _trim is not None:
        _trim(0)
