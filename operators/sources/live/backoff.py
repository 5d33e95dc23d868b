"""How long to wait before the next attempt."""

from __future__ import annotations

from random import Random

JITTER = 0.3
"""How much of a pause is chance: it is between `1 - JITTER` and 1 of its full length."""


class Backoff:
    """Pauses that double up to a cap, each a little longer or shorter by chance.

    The chance keeps a thousand cameras behind one switch from coming back in the same instant.

    Args:
        first_s: The first pause, seconds.
        cap_s: No pause is longer, seconds.
        random: Where the chance comes from.

    Attributes:
        cap_s: The longest pause, seconds.
    """

    def __init__(self, first_s: float, cap_s: float, random: Random) -> None:
        self._first_s = first_s
        self.cap_s = cap_s
        self._random = random
        self._num_failures = 0

    def next_s(self) -> float:
        """The pause after one more failure, seconds."""
        # 2**60 first pauses are longer than any cap; beyond that a float would overflow.
        full_s = min(self.cap_s, self._first_s * 2.0 ** min(self._num_failures, 60))
        self._num_failures += 1
        return full_s * (1.0 - JITTER * self._random.random())

    def reset(self) -> None:
        """Begins again with the first pause."""
        self._num_failures = 0
