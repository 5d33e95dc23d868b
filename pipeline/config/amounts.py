"""Amounts as people write them: `2GB`, `400d`, `80%`."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

_BYTES = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "B": 1}
_SECONDS = {"m": 60.0, "h": 3600.0, "d": 86400.0}

Size = Annotated[str, StringConstraints(pattern=r"^\d{1,9}(\.\d{1,9})?(B|kB|MB|GB|TB)$")]
"""Of bytes; `size_of` reads it."""

Age = Annotated[str, StringConstraints(pattern=r"^\d{1,6}(\.\d{1,6})?[mhd]$")]
"""Minutes, hours or days; `age_of` reads it."""

Share = Annotated[str, StringConstraints(pattern=r"^([1-9]\d?|100)%$")]
"""Percent; `share_of` reads it."""


def size_of(written: Size) -> int:
    """Bytes."""
    unit = next(unit for unit in _BYTES if written.endswith(unit))
    return int(float(written.removesuffix(unit)) * _BYTES[unit])


def age_of(written: Age) -> float:
    """Seconds."""
    return float(written[:-1]) * _SECONDS[written[-1]]


def share_of(written: Share) -> float:
    """Between 0 and 1."""
    return int(written[:-1]) / 100
