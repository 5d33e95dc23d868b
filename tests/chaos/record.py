"""What a series of trials came to."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Record:
    """The report of a series.

    Attributes:
        name: Of the series.
        trials: How often each fault was inflicted.
        losses: Answers that are missing.
        duplicates: Answers that are there again.
        gaps_s: From the end of each fault to the next sign of work, seconds, by fault.
        missing: Faults that cannot be inflicted here, and why.
    """

    name: str
    trials: Counter[str] = field(default_factory=Counter)
    losses: int = 0
    duplicates: int = 0
    gaps_s: dict[str, list[float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, fault: str, gap_s: float | None) -> None:
        """Notes a trial; None where the job had nothing more to do."""
        self.trials[fault] += 1
        if gap_s is not None:
            self.gaps_s.setdefault(fault, []).append(gap_s)

    @property
    def longest_gap_s(self) -> float:
        """Of all trials."""
        return max((gap for gaps in self.gaps_s.values() for gap in gaps), default=0.0)

    def tell(self, **more: object) -> None:
        """Prints the report."""
        told = {
            "chaos": self.name,
            "trials": self.trials.total(),
            "losses": self.losses,
            "duplicates": self.duplicates,
            "longest_gap_s": round(self.longest_gap_s, 1),
            "faults": dict(sorted(self.trials.items())),
            "longest_gaps_s": {fault: round(max(gaps), 1) for fault, gaps in sorted(self.gaps_s.items())},
            "not_inflicted": self.missing,
        }
        sys.stdout.write("\n" + json.dumps(told | more) + "\n")
