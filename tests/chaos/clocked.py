"""The command `plantain` on a machine whose time of day somebody sets: by seconds in the file PLANTAIN_CLOCK.

Python's own clock of the day is replaced, before anything is imported. (libfaketime 0.9.10, which replaces that of
libraries in C as well, makes Python's selectors fail with EINVAL.)
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_FILE = Path(os.environ["PLANTAIN_CLOCK"])
_time_ns = time.time_ns
_monotonic = time.monotonic
_known = [-1.0, 0]  # when the file was read, and what it said, ns


def _wall_ns() -> int:
    now_s = _monotonic()
    if now_s - _known[0] > 0.1:
        _known[:] = now_s, int(float(_FILE.read_text()) * 1e9)
    return _time_ns() + int(_known[1])


time.time_ns = _wall_ns
time.time = lambda: _wall_ns() / 1e9


if __name__ == "__main__":
    from plantain.deploy.cli.app import main

    main()
