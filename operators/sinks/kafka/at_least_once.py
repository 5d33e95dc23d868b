"""At least once: each message is sent as it comes, and every delivery verified on commit."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from plantain.operators.errors import SinkBackpressureError, SinkError
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.kafka.brokers import RETRY_AFTER_S, Brokers, abandon, errors
from plantain.operators.sinks.kafka.deliveries import MAX_UNACKNOWLEDGED_BYTES
from plantain.operators.sinks.kafka.messages import Message

# How long a full outbox is waited for before the writer is told to come back.
MAX_WAIT_FOR_ROOM_S = 30.0

log = structlog.get_logger()


@dataclass(slots=True)
class _Sent:
    """A message that is not known to be stored; without a future it waits to be sent (again)."""

    message: Message
    future: Any = None


class AtLeastOnce:
    """Sends each message as it comes.

    One producer serves all streams. A delivery that failed is repeated together with everything of its stream that came
    after it, so that first arrivals stay in order; repeats have the same `ce_id`.

    Args:
        brokers: Where to.
        topic: Where to.
        max_unacknowledged: Messages that may wait for acknowledgement.
    """

    def __init__(self, brokers: Brokers, topic: str, max_unacknowledged: int) -> None:
        self._brokers = brokers
        self._topic = topic
        self._max_unacknowledged = max_unacknowledged
        self._producer: Any = None
        self._waiting: dict[str, deque[_Sent]] = {}
        self._is_behind = False
        self._refused: dict[str, SinkError] = {}

    def begin(self, stream_id: str) -> None:
        """What was sent cannot be taken back; it is no longer waited for."""
        self._waiting[stream_id] = deque()
        self._refused.pop(stream_id, None)

    def send(self, segment: Segment, messages: Sequence[Message], *, is_repeatable: bool) -> None:
        """Sends messages, when there is room for them."""
        del is_repeatable
        self._look_after(segment.stream_id)
        self._catch_up()
        self._wait_for_room(messages)
        self._hand_over(self._waiting[segment.stream_id], [_Sent(message) for message in messages])

    def commit(self, segment: Segment) -> None:
        """Waits until everything of the stream is acknowledged."""
        waiting = self._waiting[segment.stream_id]
        if not waiting:
            return
        self._catch_up()
        deadline = time.monotonic() + self._brokers.timeout_s + 10  # the client itself gives up before
        for item in list(waiting):
            if item.future is None:
                raise self._no_answer()
            with contextlib.suppress(errors.KafkaError):  # looked at below
                item.future.get(timeout=max(0.0, deadline - time.monotonic()))
        self._look_after(segment.stream_id)
        if waiting:
            raise self._no_answer()

    def finish(self, stream_id: str) -> None:
        """Nothing of the stream is waited for any more."""
        self._waiting.pop(stream_id, None)
        self._refused.pop(stream_id, None)

    def close(self) -> None:
        """Messages that are not acknowledged may or may not arrive."""
        if self._producer is not None:
            abandon(self._producer)
            self._producer = None
        self._waiting.clear()

    def _look_after(self, stream_id: str) -> None:
        """Forgets what has arrived, and starts over where something failed.

        Raises:
            SinkError: If a message was refused; nothing of the stream is waited for any more.
        """
        waiting = self._waiting[stream_id]
        _drop_acknowledged(waiting)
        if waiting and waiting[0].future is not None and waiting[0].future.failed():
            error = self._brokers.error_of(waiting[0].future.exception)
            log.warning("sent again", stream=stream_id, messages=len(waiting), error=str(error))
            self._start_over()
            if not error.retryable:
                self._find_refused()
        if stream_id in self._refused:
            raise self._refused.pop(stream_id)

    def _start_over(self) -> None:
        """Drops the producer; everything that has not arrived is to be sent again."""
        abandon(self._producer)
        self._producer = None
        self._is_behind = True
        for waiting in self._waiting.values():
            _drop_acknowledged(waiting)
            for item in waiting:
                item.future = None

    def _find_refused(self) -> None:
        """Sends what waits one by one, for a producer that was refused one message fails all others, too."""
        for stream_id, waiting in self._waiting.items():
            while waiting:
                self._connect()
                try:
                    future = self._brokers.send(self._producer, self._topic, waiting[0].message)
                    future.get(timeout=self._brokers.timeout_s + 10)
                    waiting.popleft()
                except errors.KafkaError as error:
                    self._start_over()
                    explained = self._brokers.error_of(error)
                    if explained.retryable:
                        return
                    self._refused[stream_id] = explained
                    waiting.clear()

    def _connect(self) -> None:
        """A producer that knows the topic, so that its `send` does not wait."""
        if self._producer is None:
            self._producer = self._brokers.producer()
        with self._brokers.explained():
            self._producer.partitions_for(self._topic)

    def _catch_up(self) -> None:
        """A producer that has been given everything that is to be sent again."""
        self._connect()
        if self._is_behind:
            self._is_behind = False
            for waiting in self._waiting.values():
                again = list(waiting)
                waiting.clear()
                self._hand_over(waiting, again)

    def _hand_over(self, waiting: deque[_Sent], sent: Iterable[_Sent]) -> None:
        """Gives messages to the producer; where it does not take one, that and all after it are behind."""
        is_taken = True
        for item in sent:
            waiting.append(item)
            if is_taken and item.future is None:
                try:
                    with self._brokers.explained():
                        item.future = self._brokers.send(self._producer, self._topic, item.message)
                except SinkBackpressureError:
                    is_taken, self._is_behind = False, True

    def _wait_for_room(self, messages: Sequence[Message]) -> None:
        """Returns when so many more messages may wait.

        Raises:
            SinkBackpressureError: If too many are on their way, and none of them arrives.
        """
        deadline = time.monotonic() + min(MAX_WAIT_FOR_ROOM_S, self._brokers.timeout_s)
        while True:
            for waiting in self._waiting.values():
                _drop_acknowledged(waiting)
            on_their_way = [
                item
                for waiting in self._waiting.values()
                for item in waiting
                if item.future is None or not item.future.is_done
            ]
            count, size = len(on_their_way), sum(item.message.size for item in on_their_way)
            if count == 0 or (
                count + len(messages) <= self._max_unacknowledged and size <= MAX_UNACKNOWLEDGED_BYTES
            ):
                return
            left_s = deadline - time.monotonic()
            if left_s <= 0 or on_their_way[0].future is None:
                raise self._no_answer()
            with contextlib.suppress(errors.KafkaError):
                on_their_way[0].future.get(timeout=left_s)

    def _no_answer(self) -> SinkBackpressureError:
        count = sum(len(waiting) for waiting in self._waiting.values())
        return SinkBackpressureError(
            f"Kafka at {self._brokers.bootstrap} has not acknowledged {count} messages yet", RETRY_AFTER_S
        )


def _drop_acknowledged(waiting: deque[_Sent]) -> None:
    while waiting and waiting[0].future is not None and waiting[0].future.succeeded():
        waiting.popleft()
