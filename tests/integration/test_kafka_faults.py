"""The Kafka sink while brokers are away or die, and while somebody else is in its way."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from plantain.operators.errors import SinkBackpressureError, SinkError
from plantain.operators.health import HealthEvent
from plantain.operators.sinks.kafka.brokers import abandon, structs
from tests.kafka_broker import Broker
from tests.kafka_client import ids, records
from tests.kafka_sinks import Sinks, given, identities, patiently, segment, store

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.usefixtures("no_socket_is_left"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <s"),  # sockets that kafka-python 3.0.12 forgets
]


def test_memory_is_bounded_while_nothing_is_acknowledged(
    sinks: Sinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plantain.operators.sinks.kafka.at_least_once.MAX_WAIT_FOR_ROOM_S", 0.2)
    sink = sinks(max_unacknowledged=10)
    sink.begin("clip", is_resumed=False)
    store(sink, 0, range(1))
    producer = sink._delivery._producer  # type: ignore[attr-defined]
    monkeypatch.setattr(producer, "send", lambda *_args, **_options: errors_future())
    sink.write(segment(1), given(range(1, 5)))
    with pytest.raises(SinkBackpressureError, match="has not acknowledged 8 messages"):
        sink.write(segment(1), given(range(5, 9)))


def errors_future() -> Any:
    """A delivery of which nothing is heard."""
    from kafka.producer.future import FutureProduceResult, FutureRecordMetadata

    return FutureRecordMetadata(FutureProduceResult(None), 0, 0, None, 0, 0, 0)


@pytest.mark.timeout(600)
def test_nothing_is_lost_while_the_broker_is_away(
    sinks: Sinks, broker: Broker, prefix: str, tmp_path: Path
) -> None:
    if not broker.is_ours:
        pytest.skip("the broker that was named is not ours to kill")
    live, exact = sinks(), sinks(transactional=True, topic_prefix=f"{prefix}x", timeout_s=60)
    for sink in (live, exact):
        sink.begin("clip", is_resumed=False)
        store(sink, 0, range(4))
        sink.write(segment(1), given(range(4, 6)))
        sink.tell(HealthEvent("clip", 0, "live", "stream 'clip': live", time.time_ns()))
    broker.kill()
    for sink in (live, exact):
        sink.tell(HealthEvent("clip", 0, "silent", "stream 'clip': silent", time.time_ns()))
    is_back = threading.Thread(target=broker.start, name="broker-start")
    is_back.start()
    try:
        for sink in (live, exact):
            for work in (
                lambda s=sink: s.write(segment(1), given(range(6, 8))),
                lambda s=sink: s.commit(segment(1)),
            ):
                patiently(work)
            patiently(lambda s=sink: s.write(segment(2), given(range(8, 12))))
            patiently(lambda s=sink: s.commit(segment(2)))
    finally:
        is_back.join()
    live.close()
    exact.close()
    for name in (prefix, f"{prefix}x"):
        found = [json.loads(record.value())["state"] for record in records(broker.bootstrap, name, "health")]
        assert list(dict.fromkeys(found)) == ["live", "silent"]
    once = list(
        dict.fromkeys(ids(records(broker.bootstrap, prefix)))
    )  # repeats are allowed, first arrivals are in order
    assert once == identities(range(12))
    assert ids(records(broker.bootstrap, f"{prefix}x")) == identities(range(12))


def test_a_disk_that_is_full_when_a_commit_is_noted_leaves_no_transaction_open(
    sinks: Sinks, broker: Broker, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = sinks(transactional=True)
    sink.begin("clip", is_resumed=False)
    store(sink, 0, range(4))
    sink.write(segment(1), given(range(4, 8)))
    with monkeypatch.context() as patch:
        full = SinkError("no space is left")
        patch.setattr("plantain.operators.sinks.store.Store.put", MagicMock(side_effect=full))
        with pytest.raises(SinkError, match="no space is left"):
            sink.commit(segment(1))
    patiently(lambda: sink.commit(segment(1)))
    assert ids(records(broker.bootstrap, prefix)) == identities(range(8))


def test_a_transaction_of_somebody_else_that_hangs_is_named_until_it_ends(
    sinks: Sinks, broker: Broker, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plantain.operators.sinks.kafka.coordinator.PATIENCE_S", 0.5)
    topic = f"{prefix}.predictions"
    sink = sinks(transactional=True)
    sink.begin("clip", is_resumed=False)
    store(sink, 0, range(4))
    attempt = json.loads((sinks.folder / ".plantain" / "streams" / "clip.kafka").read_text())["name"]
    other = sink._delivery._brokers.producer(f"{prefix}.other")  # type: ignore[attr-defined]
    try:
        other.begin_transaction()
        offsets = {structs.TopicPartition(topic, 0): structs.OffsetAndMetadata(9, "", -1)}
        other.send_offsets_to_transaction(
            offsets, structs.ConsumerGroupMetadata(f"{topic}.run.clip.{attempt}", -1, "", None)
        )
        again = sinks(transactional=True)
        again.begin("clip", is_resumed=True)
        with pytest.raises(SinkBackpressureError, match=r"how far the stream is committed .* does not end"):
            again.write(segment(1), given(range(4, 8)))
        other.abort_transaction()
        patiently(lambda: again.write(segment(1), given(range(4, 8))))
        patiently(lambda: again.commit(segment(1)))
    finally:
        abandon(other)
    assert ids(records(broker.bootstrap, prefix)) == identities(range(8))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("phase", ["send_offsets_to_transaction", "commit_transaction"])
def test_the_only_broker_is_killed_in_the_midst_of_a_transaction(
    sinks: Sinks, broker: Broker, prefix: str, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    if not broker.is_ours:
        pytest.skip("the broker that was named is not ours to kill")
    sink = sinks(transactional=True, timeout_s=30)
    sink.begin("clip", is_resumed=False)
    store(sink, 0, range(4))
    sink.write(segment(1), given(range(4, 8)))
    producer = sink._delivery._streams["clip"].producer  # type: ignore[attr-defined]
    work = getattr(producer, phase)
    killers: list[threading.Thread] = []

    def strike() -> None:
        time.sleep(0.003)
        broker.kill()
        broker.start()

    def struck(*arguments: Any) -> None:
        if not killers:
            killers.append(threading.Thread(target=strike, name="strike"))
            killers[0].start()
        work(*arguments)

    monkeypatch.setattr(producer, phase, struck)
    patiently(lambda: sink.commit(segment(1)))
    killers[0].join()
    again = sinks(transactional=True, timeout_s=30)  # the next run finds how far the stream is committed
    again.begin("clip", is_resumed=True)
    patiently(lambda: again.write(segment(1), given(range(4, 8))))
    patiently(lambda: again.commit(segment(1)))
    patiently(lambda: again.write(segment(2), given(range(8, 12))))
    patiently(lambda: again.commit(segment(2)))
    assert ids(records(broker.bootstrap, prefix)) == identities(range(12))
