"""What is on a topic, as another client than the one that wrote sees it; every value is checked by the schema."""

from __future__ import annotations

import gc
import json
import logging
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import jsonschema
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from confluent_kafka import Message as Record

from operators.sinks.messages import json_schema

VALIDATORS = {
    topic: jsonschema.Draft202012Validator(json_schema()["$defs"][kind])
    for topic, kind in (("predictions", "Prediction"), ("health", "Health"))
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
