"""What is on a topic, as another client than the one that wrote sees it; every value is checked by the schema."""

from __future__ import annotations

import gc
import json
import logging
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import jsonschema
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from confluent_kafka import Message as Record

from plantain.operators.sinks.kafka.messages import json_schema

VALIDATORS = {
    topic: jsonschema.Draft202012Validator(json_schema()["$defs"][kind])
    for topic, kind in (("predictions", "Prediction"), ("events", "Event"), ("health", "Health"))
}


def records(
    bootstrap: str, prefix: str, kind: str = "predictions", *, isolation: str = "read_committed"
) -> list[Record]:
    """Everything on the topic PREFIX.KIND, partition by partition."""
    topic = f"{prefix}.{kind}"
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": uuid.uuid4().hex,
            "isolation.level": isolation,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=60).topics[topic].partitions
        assert partitions
        found, ended = [], set()
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        while ended != set(partitions):
            record = consumer.poll(60)
            assert record is not None
            error = record.error()
            if error is None:
                VALIDATORS[kind].validate(json.loads(record.value()))
                found.append(record)
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error
                ended.add(record.partition())
        return found
    finally:
        consumer.close()


def header(record: Record, name: str) -> str:
    """A header's text."""
    return dict(record.headers())[name].decode()


def ids(found: list[Record], stream_id: str = "clip") -> list[str]:
    """The identities of a stream's records, in their order."""
    return [header(record, "ce_id") for record in found if record.key() == stream_id.encode()]


@contextmanager
def forgotten_sockets_are_closed() -> Iterator[None]:
    """Those that kafka-python 3.0.12 leaves to the garbage collector when a connection is refused."""
    logger = logging.getLogger("kafka")
    before, logger.propagate = logger.propagate, False  # kept log records hold sockets
    known = {id(one) for one in _sockets()}
    try:
        yield
    finally:
        for one in _sockets():
            if id(one) not in known:
                one.close()
        gc.collect()
        logger.propagate = before


def _sockets() -> list[socket.socket]:
    # By `type`: asking a dead weak reference for its class raises.
    return [thing for thing in gc.get_objects() if issubclass(type(thing), socket.socket)]


@dataclass(frozen=True, slots=True)
class Arrival:
    """An answer that a consumer has been given.

    Attributes:
        at_s: When, on the monotonic clock.
        late_s: Time since its frame was captured, seconds; None where that is unknown.
        stream_id, epoch, frame_index, prompt: What it is about.
        value_of: Digest of what it says.
    """

    at_s: float
    late_s: float | None
    stream_id: str
    epoch: int
    frame_index: int
    prompt: str
    value_of: int


class Follower:
    """Reads the topic PREFIX.predictions of one partition, as it grows, in a thread.

    Args:
        bootstrap: Where.
        prefix: Of the topic, which is there.
        late_ms: How much later than they are there answers may be given, milliseconds; the less, the more is computed.
    """

    def __init__(self, bootstrap: str, prefix: str, late_ms: int = 5) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": uuid.uuid4().hex,
                "isolation.level": "read_committed",
                "reconnect.backoff.max.ms": 500,
                "fetch.wait.max.ms": late_ms,
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(f"{prefix}.predictions", 0, OFFSET_BEGINNING)])
        self.arrivals: list[Arrival] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower")
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            record = self._consumer.poll(0.1)
            if record is None or record.error() is not None:
                continue
            now_s, now_ns = time.monotonic(), time.time_ns()
            value = json.loads(record.value())
            if value["status"] == "gap":  # no answer, and no sign of life
                continue
            late_s = None
            if value["captured_at"] is not None:
                late_s = now_ns / 1e9 - datetime.fromisoformat(value["captured_at"]).timestamp()
            self.arrivals.append(
                Arrival(
                    now_s,
                    late_s,
                    value["stream_id"],
                    value["epoch"],
                    value["frame_index"],
                    value["prompt"],
                    hash((value["pts"], value["captured_at"])),
                )
            )

    def wait(self, is_so: Callable[[], bool], seconds: float) -> bool:
        """Waits for something to be so; whether it is."""
        deadline_s = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.02)
        return True

    def close(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join(30)
        self._consumer.close()
