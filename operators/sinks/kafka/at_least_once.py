"""At least once: each message is sent as it comes, and every delivery verified on commit."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog

from plantain.operators.errors import SinkBackpressureError, SinkError
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.kafka.brokers import RETRY_AFTER_S, Brokers, abandon, errors
from plantain.operators.sinks.kafka.deliveries import MAX_UNACKNOWLEDGED_BYTES
from plantain.operators.sinks.kafka.messages import Message, Topic
from plantain.operators.sinks.kafka.outbox import Outbox, Sent

# How long a full outbox is waited for before the writer is told to come back.
MAX_WAIT_FOR_ROOM_S = 30.0
# How long an arrival may go unnoticed that came between a look and the wait for the next.
MAX_PAUSE_S = 0.1

log = structlog.get_logger()


class AtLeastOnce:
    """Sends each message as it comes.

    One producer serves all streams. A delivery that failed is repeated together with everything of its stream that came
    after it, so that first arrivals stay in order; repeats have the same `ce_id`.

    Args:
        brokers: Where to.
        topics: Where to, by what messages say.
        max_unacknowledged: Messages that may wait for acknowledgement.
    """

    def __init__(self, brokers: Brokers, topics: Mapping[Topic, str], max_unacknowledged: int) -> None:
        self._brokers = brokers
        self._topics = topics
        self._max_unacknowledged = max_unacknowledged
        self._producer: Any = None
        self._outbox = Outbox()
        self._is_behind = False
        self._refused: dict[str, SinkError] = {}

    def begin(self, stream_id: str, *, is_resumed: bool) -> None:
        """What was sent cannot be taken back; it is no longer waited for."""
        del is_resumed
        self._outbox.begin(stream_id)
        self._refused.pop(stream_id, None)

    def send(self, segment: Segment, messages: Sequence[Message]) -> None:
        """Sends messages, when there is room for them."""
        self._look_after(segment.stream_id)
        self._catch_up()
        self._wait_for_room(messages)
        added = self._outbox.add(segment.stream_id, messages)
        if not self._is_behind:
            self._hand_over(added)

    def commit(self, segment: Segment) -> None:
        """Waits until everything of the stream is acknowledged."""
        waiting = self._outbox.waiting(segment.stream_id)
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
        if self._outbox.waiting(segment.stream_id):
            raise self._no_answer()

    def finish(self, stream_id: str) -> None:
        """Nothing of the stream is waited for any more."""
        self._outbox.forget(stream_id)
        self._refused.pop(stream_id, None)

    def close(self) -> None:
        """Messages that are not acknowledged may or may not arrive."""
        if self._producer is not None:
            abandon(self._producer)
            self._producer = None
        self._outbox.clear()

    def _look_after(self, stream_id: str) -> None:
        """Forgets what has arrived, and starts over where something failed.

        Raises:
            SinkError: If a message was refused; nothing of the stream is waited for any more.
        """
        waiting = self._outbox.waiting(stream_id)
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
        self._outbox.take_back()

    def _find_refused(self) -> None:
        """Sends what waits one by one, for a producer that was refused one message fails all others, too."""
        for stream_id in self._outbox.streams():
            while waiting := self._outbox.waiting(stream_id):
                self._connect()
                try:
                    future = self._send(waiting[0].message)
                    self._outbox.give(waiting[0], future)
                    future.get(timeout=self._brokers.timeout_s + 10)
                except errors.KafkaError as error:
                    self._start_over()
                    explained = self._brokers.error_of(error)
                    if explained.retryable:
                        return
                    self._refused[stream_id] = explained
                    self._outbox.empty(stream_id)

    def _connect(self) -> None:
        """A producer that knows the topics, so that its `send` does not wait."""
        if self._producer is None:
            self._producer = self._brokers.producer()
        with self._brokers.explained():
            for topic in self._topics.values():
                self._producer.partitions_for(topic)

    def _catch_up(self) -> None:
        """A producer that has been given everything that is to be sent again."""
        self._connect()
        if self._is_behind:
            self._is_behind = False
            for stream_id in self._outbox.streams():
                self._hand_over(self._outbox.waiting(stream_id))

    def _hand_over(self, items: Iterable[Sent]) -> None:
        """Gives messages to the producer; where it does not take one, that and all after it are behind."""
        for item in items:
            if item.future is None:
                try:
                    with self._brokers.explained():
                        self._outbox.give(item, self._send(item.message))
                except SinkBackpressureError:
                    self._is_behind = True
                    return

    def _send(self, message: Message) -> Any:
        return self._brokers.send(self._producer, self._topics[message.topic], message)

    def _wait_for_room(self, messages: Sequence[Message]) -> None:
        """Returns when so many more messages may wait.

        Raises:
            SinkBackpressureError: If too many are on their way, and none of them arrives.
        """
        outbox, deadline = self._outbox, time.monotonic() + min(MAX_WAIT_FOR_ROOM_S, self._brokers.timeout_s)
        while outbox.count and (
            outbox.count + len(messages) > self._max_unacknowledged or outbox.size > MAX_UNACKNOWLEDGED_BYTES
        ):
            left_s = deadline - time.monotonic()
            if left_s <= 0 or self._is_behind:
                raise self._no_answer()
            outbox.wait(min(left_s, MAX_PAUSE_S))

    def _no_answer(self) -> SinkBackpressureError:
        return SinkBackpressureError(
            f"Kafka at {self._brokers.bootstrap} has not acknowledged {self._outbox.count} messages yet",
            RETRY_AFTER_S,
        )
