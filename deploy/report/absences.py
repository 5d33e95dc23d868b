"""When a camera was away, from the rows of its gaps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from plantain.deploy.report.charts import number_of


@dataclass(frozen=True, slots=True)
class Absence:
    """A span of time in which nothing was seen of a stream.

    Attributes:
        since, until: When, UTC.
        reason: Why it began.
    """

    since: np.datetime64
    until: np.datetime64
    reason: str

    @property
    def length_s(self) -> float:
        """How long it was, seconds."""
        return float((self.until - self.since) / np.timedelta64(1, "s"))


def absences_of(rows: Iterable[tuple[np.datetime64, np.datetime64, str]]) -> list[Absence]:
    """The absences that rows of gaps tell of, in order.

    Args:
        rows: Since when, until when and why: one for each prompt, and several for one absence that is long.
    """
    found: list[Absence] = []
    for since, until, reason in sorted(set(rows), key=lambda row: row[:2]):
        if found and since <= found[-1].until:
            found[-1] = replace(found[-1], until=max(found[-1].until, until))
        else:
            found.append(Absence(since, until, reason))
    return found


def duration_of(seconds: float) -> str:
    """A length of time in words: `40 s`, `4.5 min`, `3 h`, `2.5 days`."""
    for unit, length_s, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 72)):
        if seconds < most * length_s:
            return f"{number_of(seconds / length_s)}&nbsp;{unit}"
    return f"{number_of(seconds / 86400)}&nbsp;days"
