"""Where every frame went: decoded = results + dropped + failed + in flight, per stream."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from operators.types import Durable


@dataclass(slots=True)
class Account:
    """The books of one stream, in frames, over all runs that made its results.

    Attributes:
        decoded: Delivered by the source.
        results: Answered to every prompt, and taken by the sinks.
        failed: Not answered to some prompt, by the stage where it failed.
        dropped: Let go before the model, by reason.
    """

    decoded: int = 0
    results: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    @classmethod
    def at(cls, durable: Durable) -> Account:
        """The books of a stream that goes on where it is durable."""
        failed = Counter(dict(durable.failed))
        delivered = durable.position.delivered
        return cls(delivered, delivered - failed.total(), failed)

    @property
    def in_flight(self) -> int:
        """Decoded, and neither answered nor lost yet."""
        return self.decoded - self.results - self.failed.total() - self.dropped.total()
