"""The command `plantain` in a world whose days last minutes; every few seconds it writes down what its memory holds.

    PLANTAIN_SOAK_DAY_S=120 PLANTAIN_SOAK_MEMORY=FILE python -m tests.soak.within run ...

Of what the kernel counts (read from outside) part is alive and part is kept by allocators for later: only from inside
can the two be told apart.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
import time
from datetime import date
from pathlib import Path

import pyarrow as pa

from plantain.operators.sinks.parquet import parts, tidy
from plantain.pipeline import tidying

LOOK_EVERY_S = 5.0
_DAY_NS = int(float(os.environ["PLANTAIN_SOAK_DAY_S"]) * 1e9)
_FIRST_DAY = time.time_ns() // _DAY_NS
_FILE = Path(os.environ["PLANTAIN_SOAK_MEMORY"])


class _MallInfo(ctypes.Structure):
    """What glibc's mallinfo2 says, bytes, over all arenas."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks")
    ] + [("fordblks", ctypes.c_size_t), ("keepcost", ctypes.c_size_t)]


_mallinfo = ctypes.CDLL(None).mallinfo2
_mallinfo.restype = _MallInfo


def held() -> dict[str, float]:
    """What is alive.

    Returns:
        `malloc_mb`: given out by glibc's malloc; `malloc_free_mb`: kept by it; `arrow_mb`: given out by Arrow's own;
        `blocks`: Python's small objects.
    """
    info = _mallinfo()
    return {
        "malloc_mb": round((info.uordblks + info.hblkhd) / 1e6, 3),
        "malloc_free_mb": round(info.fordblks / 1e6, 3),
        "arrow_mb": round(pa.total_allocated_bytes() / 1e6, 3),
        "blocks": sys.getallocatedblocks(),
    }


def _day_of(at_ns: int) -> date:
    return date.fromordinal(max(1, 730_000 + at_ns // _DAY_NS - _FIRST_DAY))


def _write_down() -> None:
    while True:
        aside = _FILE.with_suffix(".new")
        aside.write_text(json.dumps(held()))
        aside.replace(_FILE)
        time.sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    from plantain.deploy.cli.app import main

    parts.day_of = tidy.day_of = _day_of
    tidying.FIRST_S = tidying.EVERY_S = _DAY_NS / 4e9
    threading.Thread(target=_write_down, name="memory", daemon=True).start()
    main()
