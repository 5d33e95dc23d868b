"""Where prompts become requests: so many at once, paid from the purse, waited for where it helps; answers in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from plantain.operators.errors import ModelBusyError
from plantain.operators.models.base import Answer
from plantain.operators.models.drawn import failure_of
from plantain.operators.models.hosted.ledger import Ledger
from plantain.operators.models.hosted.options import Hosting
from plantain.operators.models.hosted.pace import Pace
from plantain.operators.models.hosted.purse import Bill, Purse
from plantain.operators.retry import retry
from plantain.operators.types import Failure, Value


class Told(NamedTuple):
    """What came of a request.

    Attributes:
        value: The answer, or why there is none: a refusal, a picture of another size.
        usd: What it cost, US dollars.
        codec_ms: Time spent on reading the answer, milliseconds.
    """

    value: Value | Failure
    usd: float = 0.0
    codec_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Job:
    """A request to be made.

    Attributes:
        ask: Makes it; what it raises is paid for as `Api` says.
        read: What the reply means; it is paid for whatever this raises.
        max_usd: What it can cost, US dollars.
    """

    ask: Callable[[], Any]
    read: Callable[[Any], Told]
    max_usd: float = 0.0


class Desk:
    """Makes requests; safe to use from several threads.

    A server that is busy has done nothing, and is asked again (`operators/retry.py`). Whatever may have been paid for
    is never asked again. No error leaves the desk: each is its own job's answer.

    Args:
        name: Of the backend, for the log.
        hosting: How much may be asked.
        clock: Seconds.
        sleep: How to wait.
    """

    def __init__(
        self,
        name: str,
        hosting: Hosting,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._name = name
        self._at_once = hosting.at_once
        self._patience_s = hosting.patience_s
        self._clock, self._sleep = clock, sleep
        self._slots = threading.BoundedSemaphore(hosting.at_once)
        self._pace = Pace(hosting.requests_per_minute, hosting.at_once, clock, sleep)
        ledger = Ledger(hosting.ledger) if hosting.ledger else None
        self._purse = Purse(hosting.max_usd_per_hour, clock, ledger)

    def answers(self, jobs: Sequence[Job | Failure]) -> list[Answer]:
        """One answer for each job, in their order; what has failed already stays so."""
        if sum(isinstance(job, Job) for job in jobs) < 2:
            return [self._answer(job) for job in jobs]
        threads = min(self._at_once, len(jobs))
        with ThreadPoolExecutor(threads, thread_name_prefix="plantain-hosted") as pool:
            return list(pool.map(self._answer, jobs))

    def close(self) -> None:
        """Closes the purse."""
        self._purse.close()

    def _answer(self, job: Job | Failure) -> Answer:
        if isinstance(job, Failure):
            return Answer(job)
        bill = Bill(0.0)
        try:
            return retry(partial(self._attempt, job, bill), self._name, self._sleep, self._patience_s)
        except Exception as error:  # noqa: BLE001 - whatever one answer holds, it concerns no other
            return Answer(failure_of(error), cost_usd=bill.usd)

    def _attempt(self, job: Job, total: Bill) -> Answer:
        """One request; `total` takes what it cost, also where it raises."""
        paid: Bill | None = None
        try:
            with self._purse.paying(job.max_usd) as paid:
                with self._slots:
                    self._pace.wait(self._patience_s)
                    begin = self._clock()
                    reply = self._reply(job)
                    model_ms = (self._clock() - begin) * 1e3
                told = _read(job, reply)
                paid.usd = told.usd
        finally:
            total.usd = 0.0 if paid is None else paid.usd
        return Answer(told.value, model_ms=model_ms, codec_ms=told.codec_ms, cost_usd=told.usd)

    def _reply(self, job: Job) -> Any:
        """What comes back; where a server asks for a pause, nobody goes on before it is over."""
        try:
            return job.ask()
        except ModelBusyError as error:
            if error.retry_after_s:
                self._pace.hold(error.retry_after_s)
            raise


def _read(job: Job, reply: Any) -> Told:
    try:
        return job.read(reply)
    except Exception as error:  # noqa: BLE001 - an answer that cannot be read is paid for all the same
        return Told(failure_of(error), job.max_usd)
