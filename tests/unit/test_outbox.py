"""What is on its way to Kafka: counted as it changes, never looked through; by operations, not by time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from plantain.operators.errors import SinkBackpressureError
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.kafka import at_least_once
from plantain.operators.sinks.kafka.at_least_once import AtLeastOnce
from plantain.operators.sinks.kafka.brokers import Brokers, errors
from plantain.operators.sinks.kafka.messages import Message, Record

TOPICS = {"predictions": "p.predictions", "events": "p.events"}


class Counted:
    """A delivery, as the client makes them, that counts how often somebody looks at it."""

    looks = 0

    def __init__(self) -> None:
        self.exception: Exception | None = None
        self._is_done = False
        self._heard: dict[str, list[Callable[[object], object]]] = {"callback": [], "errback": []}

    @property
    def is_done(self) -> bool:
        Counted.looks += 1
        return self._is_done

    def succeeded(self) -> bool:
        return self.is_done and self.exception is None

    def failed(self) -> bool:
        return self.is_done and self.exception is not None

    def add_callback(self, hear: Callable[..., object], *arguments: object) -> None:
        self._heard["callback"].append(partial(hear, *arguments))

    def add_errback(self, hear: Callable[..., object], *arguments: object) -> None:
        self._heard["errback"].append(partial(hear, *arguments))

    def success(self, value: object) -> None:
        self._is_done = True
        for hear in self._heard["callback"]:
            hear(value)

    def failure(self, error: Exception) -> None:
        self._is_done, self.exception = True, error
        for hear in self._heard["errback"]:
            hear(error)

    def get(self, timeout: float | None = None) -> None:
        if not self.is_done:
            raise errors.KafkaTimeoutError("not yet")
        if self.exception is not None:
            raise self.exception


class _Sender:
    def force_close(self) -> None:
        pass


class Producer:
    """Takes messages, and acknowledges what it is told to."""

    def __init__(self) -> None:
        self._sender = _Sender()
        self.sent: list[tuple[str, bytes, Counted]] = []

    def partitions_for(self, topic: str) -> set[int]:
        return {0}

    def close(self, timeout: float) -> None:
        for _, _, future in self.sent:
            if not future.is_done:
                future.failure(errors.KafkaTimeoutError("closed"))

    def acknowledge(self, count: int | None = None) -> None:
        open_ = [future for _, _, future in self.sent if not future.is_done]
        for future in open_[:count]:
            future.success(None)


class Local(Brokers):
    """Brokers whose producers are in this process."""

    def __init__(self) -> None:
        super().__init__(
            "nowhere:9", timeout_s=0.3, bootstrap_timeout_ms=100, api_version=None, max_request_bytes=1 << 20,
            security={},
        )  # fmt: skip
        self.producers: list[Producer] = []

    def producer(self, transactional_id: str | None = None) -> Any:
        self.producers.append(Producer())
        return self.producers[-1]

    def send(self, producer: Producer, topic: str, record: Record) -> Counted:
        producer.sent.append((topic, record.value, Counted()))
        return producer.sent[-1][2]


def message(number: int, *, size: int = 10, topic: Any = "predictions") -> Message:
    return Message(b"clip", str(number).encode().ljust(size), (), 0, (0, number), "0123", topic)


def delivery(max_unacknowledged: int = 10_000, *streams: str) -> tuple[AtLeastOnce, Local]:
    brokers = Local()
    made = AtLeastOnce(brokers, TOPICS, max_unacknowledged)  # type: ignore[arg-type]  # names of topics
    for stream_id in streams or ("clip",):
        made.begin(stream_id, is_resumed=False)
    return made, brokers


def send(to: AtLeastOnce, numbers: range, stream_id: str = "clip") -> None:
    to.send(Segment(stream_id, 0, 0), [message(number) for number in numbers])


@pytest.mark.parametrize("num_streams", [1, 30])
@pytest.mark.parametrize("waiting", [10, 9000])
def test_a_write_looks_at_no_more_than_a_few_deliveries_however_many_wait(waiting, num_streams):
    streams = [f"clip{k}" for k in range(num_streams)]
    to, _ = delivery(10_000, *streams)
    for k in range(num_streams):
        send(to, range(waiting // num_streams), streams[k])
    Counted.looks = 0
    for number in range(100):
        send(to, range(number, number + 1), streams[number % num_streams])
    assert Counted.looks <= 10 * 100


def test_what_has_arrived_makes_room_in_whatever_order_it_arrives():
    to, brokers = delivery(100)
    send(to, range(100))
    with pytest.raises(SinkBackpressureError, match="has not acknowledged 100 messages yet"):
        send(to, range(100, 101))
    for _, _, future in brokers.producers[0].sent[50:]:
        future.success(None)
    send(to, range(100, 150))
    with pytest.raises(SinkBackpressureError):
        send(to, range(150, 151))


def test_large_messages_are_bounded_by_their_bytes(monkeypatch):
    monkeypatch.setattr(at_least_once, "MAX_UNACKNOWLEDGED_BYTES", 10_000)
    to, brokers = delivery()
    for number in range(2):
        to.send(Segment("clip", 0, 0), [message(number, size=5_000)])
    with pytest.raises(SinkBackpressureError):
        send(to, range(4, 5))
    brokers.producers[0].acknowledge()
    send(to, range(4, 5))


def test_a_writer_that_waits_for_room_goes_on_when_something_arrives():
    to, brokers = delivery(10)
    send(to, range(10))
    timer = threading.Timer(0.05, brokers.producers[0].acknowledge, [1])
    timer.start()
    send(to, range(10, 11))
    timer.join()


def test_after_a_failure_everything_that_did_not_arrive_is_sent_again_in_order_and_counted_once():
    to, brokers = delivery(100, "clip", "other")
    send(to, range(10))
    send(to, range(100, 103), "other")
    first = brokers.producers[0]
    first.acknowledge(4)
    first.sent[4][2].failure(errors.KafkaTimeoutError("lost"))
    send(to, range(10, 12))
    again = brokers.producers[1]
    assert [int(value) for _, value, _ in again.sent] == [*range(4, 10), *range(100, 103), 10, 11]
    again.acknowledge()
    for stream_id in ("clip", "other"):
        to.commit(Segment(stream_id, 0, 0))
    assert (to._outbox.count, to._outbox.size) == (0, 0)


def test_a_stream_that_is_forgotten_leaves_its_room_to_the_others():
    to, _ = delivery(10, "clip", "other")
    send(to, range(10))
    to.finish("clip")
    send(to, range(10), "other")
    assert to._outbox.count == 10


def test_late_news_of_an_earlier_try_do_not_count():
    to, brokers = delivery(100)
    send(to, range(3))
    first = brokers.producers[0]
    kept = [future for _, _, future in first.sent]
    first.sent = first.sent[:1]  # the others are not told that it was closed
    kept[0].failure(errors.KafkaTimeoutError("lost"))
    send(to, range(3, 4))
    kept[1].success(None)
    kept[2].failure(errors.KafkaTimeoutError("late"))
    assert to._outbox.count == 4


def test_events_go_to_their_own_topic_between_the_answers():
    to, brokers = delivery()
    batch = [message(0), message(1, topic="events"), message(2)]
    to.send(Segment("clip", 0, 0), batch)
    assert [topic for topic, _, _ in brokers.producers[0].sent] == [
        "p.predictions",
        "p.events",
        "p.predictions",
    ]
