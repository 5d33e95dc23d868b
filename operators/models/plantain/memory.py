"""Keeps freed memory in the process, because fresh pages cost more than the arithmetic done on them."""

from __future__ import annotations

import ctypes
import sys

# Parameters of glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_TOP_PAD_BYTES = 256 << 20


def keep_freed_memory() -> bool:
    """Makes glibc reuse large blocks instead of giving each back to the kernel.

    A feature map of some megabytes is otherwise mapped, zeroed page by page and unmapped for every layer.
    Measured 2026-11-21 on two cores: decoding 40 prompts takes 13 ms instead of 31 ms per frame, a training
    step half.

    Returns:
        Whether it took effect (only with glibc on Linux).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all(
        mallopt(parameter, value) == 1
        for parameter, value in (
            (_M_MMAP_MAX, 0),
            (_M_TRIM_THRESHOLD, 2**31 - 1),
            (_M_TOP_PAD, _TOP_PAD_BYTES),
        )
    )
