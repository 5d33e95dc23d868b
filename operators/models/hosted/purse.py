"""Money: what may still be spent in this hour."""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import structlog

from plantain.operators.errors import ModelBusyError, ModelLostError, PlantainError
from plantain.operators.models.hosted.ledger import Ledger
from plantain.operators.models.hosted.pace import span
from plantain.operators.redaction import sentence_of

log = structlog.get_logger()

HOUR_S = 3600.0
# Sums are kept in whole billionths of a dollar, so that adding and taking away for months leaves nothing over.
_NANO = 1_000_000_000


@dataclass(slots=True)
class Bill:
    """A call that is being paid for.

    Attributes:
        usd: What it may cost at most, US dollars; what it did cost once that is known.
    """

    usd: float


class Purse:
    """Keeps what calls cost within any hour below a bound; safe to use from several threads.

    The price of a call is put aside before it is made, at most what it can cost, and put right after. What a server
    charges beyond that is counted, and so keeps later calls back.

    Args:
        max_usd_per_hour: The bound; None for none.
        clock: Seconds.
        ledger: Where what is spent is kept beyond this purse; None for nowhere.
    """

    def __init__(
        self,
        max_usd_per_hour: float | None,
        clock: Callable[[], float] = time.monotonic,
        ledger: Ledger | None = None,
    ) -> None:
        self._max_usd = max_usd_per_hour
        self._bound = math.inf if max_usd_per_hour is None else math.floor(max_usd_per_hour * _NANO)
        self._clock = clock
        self._ledger = ledger
        self._lock = threading.Lock()
        self._spent: list[tuple[float, int]] = []  # a heap of (when, how much), within the last hour
        self._sum = 0
        self._aside = 0  # what no ledger knows of

    @contextmanager
    def paying(self, max_usd: float) -> Iterator[Bill]:
        """A call is made inside; it sets the bill's `usd` to what it cost.

        If it raises, it cost nothing, unless its answer is lost, or nobody knows what happened: then it counts whole.

        Raises:
            ModelBusyError: If there is not as much money; it says when there will be.
        """
        aside = math.ceil(max_usd * _NANO)
        with self._lock, nullcontext() if self._ledger is None else self._ledger.alone():
            self._check(aside)
            noted_at = self._put_aside(aside)
        bill = Bill(max_usd)
        try:
            yield bill
        except ModelLostError:
            raise
        except PlantainError:
            bill.usd = 0.0
            raise
        finally:
            with self._lock:
                self._give_back(aside, noted_at)
                if cost := math.ceil(bill.usd * _NANO):
                    self._spend(cost)

    def close(self) -> None:
        """Closes the ledger."""
        if self._ledger is not None:
            self._ledger.close()

    def _put_aside(self, nano_usd: int) -> float | None:
        """When the ledger says that it was; None if it is only known here."""
        if self._ledger is not None and nano_usd and self._is_noted(now := self._ledger.now, nano_usd):
            return now
        self._aside += nano_usd
        return None

    def _give_back(self, nano_usd: int, noted_at: float | None) -> None:
        if noted_at is None:
            self._aside -= nano_usd
        else:  # as of the same time, so that both leave the hour together
            self._is_noted(noted_at, -nano_usd)

    def _spend(self, cost: int) -> None:
        if self._ledger is None or not self._is_noted(self._ledger.now, cost):
            self._take(self._clock(), cost)

    def _is_noted(self, when: float, nano_usd: int) -> bool:
        """Whether the ledger has it, and gives it back as news."""
        assert self._ledger is not None
        try:
            self._ledger.add(when, nano_usd)
        except OSError as error:
            log.warning("ledger cannot be written; what is spent is kept in memory", error=sentence_of(error))
            return False
        return True

    def _take(self, when: float, cost: int) -> None:
        heapq.heappush(self._spent, (when, cost))
        self._sum += cost

    def _check(self, wanted: int) -> None:
        now = self._clock()
        if self._ledger is not None:
            for age_s, cost in self._ledger.news():
                self._take(now - age_s, cost)
        while self._spent and now - self._spent[0][0] >= HOUR_S:
            self._sum -= heapq.heappop(self._spent)[1]
        lacking = self._sum + self._aside + wanted - self._bound
        if lacking <= 0:
            return
        wait_s = HOUR_S
        for when, cost in sorted(self._spent):
            lacking -= cost
            if lacking <= 0:
                wait_s = HOUR_S - (now - when)
                break
        raise ModelBusyError(
            f"the budget of {self._max_usd:g} USD an hour is spent; more in {span(wait_s)}", wait_s
        )
