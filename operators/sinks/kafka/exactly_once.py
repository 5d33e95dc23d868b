"""Exactly once: a segment is collected, and sent in one transaction on commit."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from plantain.operators.errors import SinkBackpressureError, SinkError
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.kafka.attempts import Attempt, Attempts, Mark
from plantain.operators.sinks.kafka.brokers import RETRY_AFTER_S, Brokers, abandon, errors, structs
from plantain.operators.sinks.kafka.coordinator import Coordinator, settle
from plantain.operators.sinks.kafka.deliveries import MAX_UNACKNOWLEDGED_BYTES
from plantain.operators.sinks.kafka.held import Held
from plantain.operators.sinks.kafka.messages import Message, Topic
from plantain.operators.sinks.store import Store

log = structlog.get_logger()


@dataclass(slots=True)
class _Stream:
    """A stream's open segment, and its producer.

    Attributes:
        is_resumed: What was committed of it counts, also of a camera.
        attempt: Stands for itself until the first message.
        is_known: The attempt is the one that another process could go on with.
    """

    held: Held
    is_resumed: bool
    attempt: Attempt = field(default_factory=Attempt)
    is_known: bool = False
    producer: Any = None
    mark: Mark | None = None
    num_fenced: int = 0
    num_skipped: int = 0


class ExactlyOnce:
    """Collects a segment, then sends it in one transaction.

    The transaction is as short as the sending, however slow the model is, and a transaction that was broken off is made
    again as a whole. How far the stream is committed is stored with it, as the offset of a consumer group: after a
    kill at any moment, what is committed is not sent again. A commit is taken for done when that can be read and no
    partition holds the transaction open any more: what the brokers have accepted may still hang (`settle`), and the
    next transaction that is broken off would take it away.

    Args:
        brokers: Where to.
        topics: Where to, by what messages say; that of predictions is noted how far a stream is committed.
        run_id: With the stream's name, the name of the producer: a new one fences the one before.
        store: Where attempts are remembered, beside the checkpoints of the streams: whoever forgets those starts
            a new attempt, which sends everything.
        max_unacknowledged: Messages that may wait for acknowledgement.
    """

    def __init__(
        self,
        brokers: Brokers,
        topics: Mapping[Topic, str],
        run_id: str,
        store: Store,
        max_unacknowledged: int,
    ) -> None:
        self._brokers = brokers
        self._topics = topics
        self._topic = topics["predictions"]
        self._run_id = run_id
        self._attempts = Attempts(store)
        self._max_unacknowledged = max_unacknowledged
        self._coordinator = Coordinator(brokers, brokers.standstill_s)
        self._streams: dict[str, _Stream] = {}

    def begin(self, stream_id: str, *, is_resumed: bool) -> None:
        """Forgets the open segment. The producer is made, and the earlier one fenced, with the first message.

        Args:
            stream_id: The stream.
            is_resumed: What an earlier process committed counts. Of a file it always does: it is read again from its
                start, so that a frame is the same frame.
        """
        self._drop(stream_id)
        self._streams[stream_id] = _Stream(Held(), is_resumed)

    def send(self, segment: Segment, messages: Sequence[Message]) -> None:
        """Keeps messages for the transaction."""
        stream = self._streams[segment.stream_id]
        if not stream.is_known:
            goes_on = stream.is_resumed or not segment.is_live
            stream.attempt = (self._attempts.get if goes_on else self._attempts.new)(segment.stream_id)
            stream.is_known = True
        self._connect(segment.stream_id, stream)
        stream.held.add(messages)

    def commit(self, segment: Segment) -> None:
        """Sends what is not committed yet, and commits it."""
        stream = self._streams[segment.stream_id]
        if not stream.is_known:
            return
        self._connect(segment.stream_id, stream)
        try:
            self._transact(segment.stream_id, stream)
        except SinkError:
            self._part(stream)
            raise
        except errors.KafkaError as error:
            self._part(stream)
            explained = self._brokers.error_of(error)
            if isinstance(error, errors.ProducerFencedError | errors.InvalidProducerEpochError):
                # A process that was stopped for longer than its transaction may last is fenced once, by the broker.
                stream.num_fenced += 1
                if stream.num_fenced == 1:
                    explained = SinkBackpressureError(str(explained), RETRY_AFTER_S)
            raise explained from None
        stream.num_fenced = 0
        stream.held.clear()

    def finish(self, stream_id: str) -> None:
        """Lets go of the producer."""
        stream = self._streams.get(stream_id)
        if stream is not None and stream.num_skipped:
            log.info("already in kafka", stream=stream_id, messages=stream.num_skipped, topic=self._topic)
        self._drop(stream_id)

    def close(self) -> None:
        """Open segments are gone.

        Who closes it while another thread is in the midst of a call has that thread close it again: a producer that it
        made meanwhile is given back then.
        """
        for stream in list(self._streams.values()):
            stream.held.close()
            self._part(stream)
        self._coordinator.close()

    def _drop(self, stream_id: str) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            stream.held.close()
            self._part(stream)

    @staticmethod
    def _part(stream: _Stream) -> None:
        """Leaves the producer, and a transaction that is under way to whoever takes over."""
        if stream.producer is not None:
            abandon(stream.producer)
            stream.producer = None

    def _remember(self, stream_id: str, stream: _Stream, **changes: Any) -> None:
        """Changes what is known of the attempt, and stores it."""
        changed = replace(stream.attempt, **changes)
        if changed != stream.attempt and stream.is_known:
            self._attempts.put(stream_id, changed)
        stream.attempt = changed

    def _connect(self, stream_id: str, stream: _Stream) -> None:
        """A producer that has fenced its predecessors, and then what they had committed."""
        if stream.producer is not None:
            return
        name = self._name(stream_id)
        with self._brokers.explained():
            outcome = self._coordinator.outcome_of(name)
        if outcome != "unknown" or stream.attempt.outcome is None:
            self._remember(stream_id, stream, outcome=outcome)
        producer = self._brokers.producer(name)
        try:
            with self._brokers.explained():
                stream.mark = self._take_over(stream_id, stream, producer)
        except BaseException:
            abandon(producer)
            raise
        stream.producer = producer

    def _take_over(self, stream_id: str, stream: _Stream, producer: Any) -> Mark | None:
        """How far the stream is committed, after what may hang of the last transaction was ended as that ended."""
        group = self._group(stream_id, stream)
        partitions = {
            structs.TopicPartition(topic, number)
            for topic in self._topics.values()
            for number in producer.partitions_for(topic)
        }
        outcome, notes = stream.attempt.outcome, dict[Any, Any]()
        if outcome is None:
            return stream.attempt.reaches(self._coordinator.note_of(group, self._topic))
        is_pending = self._coordinator.is_pending(group, self._topic)
        is_open = self._coordinator.is_open(partitions, producer)
        commits = not is_pending if outcome == "unknown" else outcome == "commit"
        if commits and is_open and not is_pending:
            text = self._coordinator.note_of(group, self._topic)
            self._remember(stream_id, stream, outcome="commit", half="mark", mark=text)
            told = Mark.read(text)
            notes = {} if told is None else self._note(told.renewed())
        elif commits and is_pending and not is_open:
            self._remember(stream_id, stream, half="messages", mark=stream.attempt.promise)
        settle(producer, partitions, group, commits=commits, notes=notes)
        self._coordinator.await_end(partitions, producer)
        mark = stream.attempt.reaches(self._coordinator.note_of(group, self._topic))
        self._remember(stream_id, stream, outcome=None)
        if is_pending or is_open:
            log.warning(
                "healed a hanging transaction",
                stream=stream_id,
                topic=self._topic,
                was=outcome,
                ended_by="commit" if commits else "abort",
                committed_to=None if mark is None else mark.last,
            )
        return mark

    def _name(self, stream_id: str) -> str:
        return f"{self._topic}.{self._run_id}.{stream_id}"

    def _group(self, stream_id: str, stream: _Stream) -> str:
        return f"{self._name(stream_id)}.{stream.attempt.name}"

    def _transact(self, stream_id: str, stream: _Stream) -> None:
        producer, futures, size = stream.producer, [], 0
        first = last = None
        fingerprint = "" if stream.mark is None else stream.mark.fingerprint
        partitions: set[Any] = set()
        for message in stream.held:
            if stream.mark is not None and stream.mark.covers(message):
                stream.num_skipped += 1
                continue
            if first is None:
                first = message
                producer.begin_transaction()
            futures.append(self._brokers.send(producer, self._topics[message.topic], message))
            size += message.size
            last, fingerprint = message, message.fingerprint or fingerprint
            if len(futures) >= self._max_unacknowledged or size >= MAX_UNACKNOWLEDGED_BYTES:
                partitions |= self._await(futures)
                futures, size = [], 0
        if first is None or last is None:
            return
        partitions |= self._await(futures)
        number = 0 if stream.mark is None else stream.mark.number + 1
        mark = Mark(first.position, last.position, fingerprint, number)
        self._remember(stream_id, stream, promise=mark.written())
        group = self._group(stream_id, stream)
        members = structs.ConsumerGroupMetadata(group, -1, "", None)
        producer.send_offsets_to_transaction(self._note(mark), members)
        producer.commit_transaction()
        self._coordinator.await_end(partitions, producer)
        if self._coordinator.note_of(group, self._topic) != mark.written():
            raise errors.KafkaError("what was committed does not count")
        stream.mark = mark

    def _note(self, mark: Mark) -> dict[Any, Any]:
        """A mark as what the brokers store: the offset of a consumer group, with a text."""
        offset = structs.OffsetAndMetadata(mark.last[1] + 1, mark.written(), -1)
        return {structs.TopicPartition(self._topic, 0): offset}

    def _await(self, futures: Sequence[Any]) -> set[Any]:
        """Returns when every message is stored, if only in the open transaction: the partitions they are in."""
        deadline = time.monotonic() + self._brokers.standstill_s
        return {
            future.get(timeout=max(0.0, deadline - time.monotonic())).topic_partition for future in futures
        }
