"""Recordings under names that are used again, as those of recorders that write in circles: each has rows of its own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

# No suffix of videos and no digest looks like it, so that no other recording has such a name.
_TAKE = re.compile(r"(.+)-take(\d+)")
_MAX_STEM = 88


class Takes:
    """Which recording of a name is the latest: the first has the name itself, the second is its take 2.

    Args:
        names: Of all streams that are known.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._latest: dict[str, int] = {}
        for name in names:
            if (found := _TAKE.fullmatch(name)) is not None:
                stem, take = found[1], int(found[2])
                self._latest[stem] = max(take, self._latest.get(stem, 1))

    def latest(self, name: str) -> str:
        """The name of the latest recording of a name."""
        stem = _stem(name)
        take = self._latest.get(stem, 1)
        return name if take == 1 else f"{stem}-take{take}"

    def begin(self, name: str) -> str:
        """A further recording has a name: what it is called."""
        stem = _stem(name)
        self._latest[stem] = self._latest.get(stem, 1) + 1
        return self.latest(name)


def _stem(name: str) -> str:
    """A name with room for a number behind it."""
    if len(name) <= _MAX_STEM:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
    return f"{name[: _MAX_STEM - 9]}-{digest}"
