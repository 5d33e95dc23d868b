"""Messages about the streams themselves, sent beside their results: rare, small, and nobody waits for them."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

import structlog

from plantain.operators.errors import SinkBackpressureError, SinkError
from plantain.operators.sinks.kafka.brokers import Brokers, abandon
from plantain.operators.sinks.kafka.messages import Record

# Notices that wait for brokers that are away; beyond, the oldest are lost, and counted.
MAX_WAITING = 4096
# How many are on their way at a time.
BATCH = 64
# How long `close` waits for what is left.
CLOSE_S = 5.0

log = structlog.get_logger()


class Notices:
    """Sends records in their order from a thread of its own, which begins with the first one.

    At least once: what may not have arrived is sent again, with the same `ce_id`. What cannot be sent is lost at last,
    with a line in the log that says how much.

    Args:
        brokers: Where to.
        topic: Where to.
    """

    def __init__(self, brokers: Brokers, topic: str) -> None:
        self._brokers = brokers
        self._topic = topic
        self._waiting: deque[Record] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._close_at_s: float | None = None
        self._num_lost = 0
        self._is_away = False
        self._producer: Any = None

    def put(self, record: Record) -> None:
        """Takes a record, and returns at once."""
        with self._changed:
            if len(self._waiting) >= MAX_WAITING:
                self._waiting.popleft()
                self._num_lost += 1
            self._waiting.append(record)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="kafka-notices", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Sends what is left, if the brokers are there and take it soon."""
        with self._changed:
            patience_s = 0.0 if self._is_away else CLOSE_S
            thread, self._close_at_s = self._thread, time.monotonic() + patience_s
            self._changed.notify_all()
        if thread is not None:
            thread.join(patience_s)
            if thread.is_alive() and self._producer is not None:
                abandon(self._producer)  # which ends what it is in the midst of
                thread.join(CLOSE_S)
        with self._changed:
            lost = self._num_lost + len(self._waiting)
            self._num_lost = 0
            self._waiting.clear()
        if lost:
            log.warning("lost", topic=self._topic, messages=lost)

    def _run(self) -> None:
        while batch := self._next():
            try:
                if self._producer is None:
                    self._producer = self._brokers.producer()
                self._send(self._producer, batch)
                self._is_away = False
            except SinkError as error:
                self._let_go()
                if not self._is_away:
                    log.warning("not sent", topic=self._topic, error=str(error))
                self._is_away = True
                if isinstance(error, SinkBackpressureError):
                    self._pause(error.retry_after_s)
                else:  # the brokers refuse it; they may take the next one
                    self._done(batch[0], is_lost=True)
        self._let_go()

    def _let_go(self) -> None:
        if self._producer is not None:
            abandon(self._producer)
            self._producer = None

    def _next(self) -> list[Record]:
        """What is to be sent next; nothing when there is no more, or no more time."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._close_at_s is not None)
            if self._close_at_s is not None and time.monotonic() >= self._close_at_s:
                return []
            return [self._waiting[k] for k in range(min(BATCH, len(self._waiting)))]

    def _send(self, producer: Any, batch: list[Record]) -> None:
        """Sends records and forgets those that arrived.

        Raises:
            SinkBackpressureError: If the first that is left may be sent later.
            SinkError: If it is refused.
        """
        with self._brokers.explained():
            futures = [self._brokers.send(producer, self._topic, record) for record in batch]
            for record, future in zip(batch, futures, strict=True):
                future.get(timeout=self._brokers.timeout_s)
                self._done(record)

    def _done(self, record: Record, *, is_lost: bool = False) -> None:
        with self._changed:
            self._num_lost += is_lost
            if self._waiting and self._waiting[0] is record:  # it may have had to make room meanwhile
                self._waiting.popleft()

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._close_at_s is not None, timeout=seconds)
