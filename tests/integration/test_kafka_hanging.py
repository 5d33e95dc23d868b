"""Transactions that hang in the brokers: ended as they were decided, also where that is broken off in its turn."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from pkgutil import resolve_name
from typing import Any

import pytest
import structlog
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from plantain.operators.errors import SinkBackpressureError
from plantain.operators.sinks.kafka.brokers import abandon, errors, structs
from tests.kafka_broker import Broker
from tests.kafka_client import ids, records
from tests.kafka_sinks import Sinks, given, identities, patiently, segment, store

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.usefixtures("no_socket_is_left"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <s"),  # sockets that kafka-python 3.0.12 forgets
]


@contextlib.contextmanager
def transactions_unchecked(broker: Broker) -> Iterator[None]:
    """Brokers take what is written in the name of a transaction without asking whether that is under way."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})

    name = "transaction.partition.verification.enable"

    def verify(value: str) -> None:
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        node = ConfigResource(ConfigResource.Type.BROKER, "1", incremental_configs=[entry])
        admin.incremental_alter_configs([node])[node].result(60)
        deadline = time.monotonic() + 60
        while admin.describe_configs([node])[node].result(60)[name].value != value:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    verify("false")
    try:
        yield
    finally:
        verify("true")


def lose_markers(producer: Any, topic: str, lost: str, outcome: str, *, is_heard: bool = False) -> None:
    """Lets a producer's next transaction hang in some places, by never telling the brokers of them.

    Args:
        producer: Of a sink.
        topic: Where it sends.
        lost: Which markers will be missing: of the `messages`, of the `note`, or of `both`.
        outcome: Of the transaction, as the brokers know it.
        is_heard: The sink hears that it was accepted; otherwise, nothing.
    """
    from kafka.producer.transaction_manager import TransactionalRequestResult, TxnOffsetCommitHandler

    manager, commit, abort = (
        producer._transaction_manager,
        producer.commit_transaction,
        producer.abort_transaction,
    )
    if lost != "note":
        manager._partitions_in_transaction.update(
            structs.TopicPartition(topic, number) for number in range(4)
        )

    def send_offsets(offsets: Any, group: Any) -> None:
        with manager._lock:
            handler = TxnOffsetCommitHandler(manager, group, offsets, TransactionalRequestResult())
            manager._pending_txn_offset_commits.update(offsets)
            manager._enqueue_request(handler)
        producer._sender.wakeup()
        assert handler.result.wait(60_000)

    def end() -> None:
        if outcome != "unknown":
            producer.send(f"{topic}.elsewhere", b"").get(60)
            (commit if outcome == "commit" else abort)()
        if is_heard:
            return
        raise errors.KafkaTimeoutError("no answer")

    if lost != "messages":
        producer.send_offsets_to_transaction = send_offsets
    producer.commit_transaction = end


@pytest.mark.parametrize(
    ("outcome", "lost"),
    [
        *((outcome, lost) for outcome in ("commit", "abort") for lost in ("messages", "note", "both")),
        ("unknown", "both"),
    ],
)
def test_a_transaction_that_hangs_in_the_brokers_is_ended_as_it_was_decided(
    sinks: Sinks, broker: Broker, prefix: str, outcome: str, lost: str
) -> None:
    if not broker.is_ours:
        pytest.skip("the broker that was named is not ours to set up")
    topic = f"{prefix}.predictions"
    sink = sinks(transactional=True)
    sink.begin("clip", is_resumed=False)
    store(sink, 0, range(4))
    sink.write(segment(1), given(range(4, 8)))
    with transactions_unchecked(broker):
        lose_markers(sink._delivery._streams["clip"].producer, topic, lost, outcome)  # type: ignore[attr-defined]
        with pytest.raises(SinkBackpressureError, match="no answer"):
            sink.commit(segment(1))
    is_seen = outcome == "commit" and lost == "note"
    assert ids(records(broker.bootstrap, prefix)) == identities(range(8 if is_seen else 4))
    sink.close()
    if outcome == "unknown":  # a process that takes over is killed at once
        abandon(sink._delivery._brokers.producer(f"{topic}.run.clip"))  # type: ignore[attr-defined]
    again = sinks(transactional=True)
    again.begin("clip", is_resumed=True)
    with structlog.testing.capture_logs() as logs:
        patiently(lambda: again.write(segment(1), given(range(4, 8))))
    healed = [entry for entry in logs if entry["event"] == "healed a hanging transaction"]
    assert [entry["was"] for entry in healed] == [outcome]
    committed = identities(range(8 if outcome == "commit" else 4))
    assert ids(records(broker.bootstrap, prefix)) == committed  # before anything new is sent
    patiently(lambda: again.commit(segment(1)))
    patiently(lambda: again.write(segment(2), given(range(8, 12))))
    patiently(lambda: again.commit(segment(2)))
    assert ids(records(broker.bootstrap, prefix)) == identities(range(12))
    num_sent = len(records(broker.bootstrap, prefix, isolation="read_uncommitted"))
    assert num_sent == 2 * (12 if outcome == "commit" else 16)


def test_what_was_accepted_but_hangs_is_ended_before_the_next_segment_could_take_it_away(
    sinks: Sinks, broker: Broker, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not broker.is_ours:
        pytest.skip("the broker that was named is not ours to set up")
    monkeypatch.setattr("plantain.operators.sinks.kafka.coordinator.PATIENCE_S", 0.5)
    sink = sinks(transactional=True)
    sink.begin("clip", is_resumed=False)
    store(sink, 0, range(4))
    sink.write(segment(1), given(range(4, 8)))
    producer = sink._delivery._streams["clip"].producer  # type: ignore[attr-defined]
    with transactions_unchecked(broker):
        lose_markers(producer, f"{prefix}.predictions", "messages", "commit", is_heard=True)
        with pytest.raises(SinkBackpressureError, match="whether committed messages count"):
            sink.commit(segment(1))
    patiently(lambda: sink.commit(segment(1)))
    assert ids(records(broker.bootstrap, prefix)) == identities(range(8))
    sink.write(segment(2), given(range(8, 12)))
    sink.close()  # a process that is killed with the next segment under way
    again = sinks(transactional=True)
    again.begin("clip", is_resumed=True)
    patiently(lambda: again.write(segment(2), given(range(8, 12))))
    patiently(lambda: again.commit(segment(2)))
    assert ids(records(broker.bootstrap, prefix)) == identities(range(12))


def leave_hanging(sinks: Sinks, broker: Broker, prefix: str, lost: str) -> None:
    """A sink whose second segment was committed, and hangs in some places."""
    sink = sinks(transactional=True)
    sink.begin("clip", is_resumed=False)
    store(sink, 0, range(4))
    sink.write(segment(1), given(range(4, 8)))
    with transactions_unchecked(broker):
        producer = sink._delivery._streams["clip"].producer  # type: ignore[attr-defined]
        lose_markers(producer, f"{prefix}.predictions", lost, "commit")
        with pytest.raises(SinkBackpressureError, match="no answer"):
            sink.commit(segment(1))
    sink.close()


class KilledError(Exception):
    """A process ends here, without a word."""


def end_before(work: Callable[..., Any]) -> Callable[..., Any]:
    def instead(*_arguments: Any, **_named: Any) -> Any:
        raise KilledError

    return instead


def end_after(work: Callable[..., Any]) -> Callable[..., Any]:
    def instead(*arguments: Any, **named: Any) -> Any:
        work(*arguments, **named)
        raise KilledError

    return instead


MOMENTS = {
    "before the initialisation": ("plantain.operators.sinks.kafka.brokers.Brokers.producer", end_before),
    "after the initialisation": ("plantain.operators.sinks.kafka.brokers.Brokers.producer", end_after),
    "before settling": ("plantain.operators.sinks.kafka.exactly_once.settle", end_before),
    "before the settling commit": (
        "plantain.operators.sinks.kafka.brokers.Producer.commit_transaction",
        end_before,
    ),
    "after the settling commit": (
        "plantain.operators.sinks.kafka.brokers.Producer.commit_transaction",
        end_after,
    ),
    "after settling": ("plantain.operators.sinks.kafka.coordinator.Coordinator.await_end", end_before),
}


@pytest.mark.parametrize(
    "moments",
    [
        ["after the initialisation"],
        ["before the settling commit"],
        ["after the settling commit"],
        list(MOMENTS),
    ],
)
@pytest.mark.parametrize("lost", ["messages", "note", "both"])
def test_settling_that_is_broken_off_neither_takes_away_nor_repeats(
    sinks: Sinks, broker: Broker, prefix: str, monkeypatch: pytest.MonkeyPatch, lost: str, moments: list[str]
) -> None:
    if not broker.is_ours:
        pytest.skip("the broker that was named is not ours to set up")
    leave_hanging(sinks, broker, prefix, lost)
    for number, moment in enumerate(moments):
        name, ends = MOMENTS[moment]
        again = sinks(transactional=True)
        again.begin("clip", is_resumed=True)
        with monkeypatch.context() as patch:
            patch.setattr(name, ends(resolve_name(name)))
            is_killed = False
            try:
                again.write(segment(1), given(range(4, 8)))
            except KilledError:
                is_killed = True
        assert is_killed or number > 0  # later ones may find nothing to do
        again.close()
    for _ in range(2):  # the second finds nothing to do
        last = sinks(transactional=True)
        last.begin("clip", is_resumed=True)
        patiently(partial(last.write, segment(1), given(range(4, 8))))
        patiently(partial(last.commit, segment(1)))
        last.close()
        assert ids(records(broker.bootstrap, prefix)) == identities(range(8))


def test_what_settling_took_away_is_sent_again_although_that_is_broken_off_too(
    sinks: Sinks, broker: Broker, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not broker.is_ours:
        pytest.skip("the broker that was named is not ours to set up")
    leave_hanging(sinks, broker, prefix, "messages")
    for _ in range(3):  # settling, then sending
        again = sinks(transactional=True)
        again.begin("clip", is_resumed=True)
        with monkeypatch.context() as patch, contextlib.suppress(KilledError):
            patch.setattr(
                "plantain.operators.sinks.kafka.brokers.Producer.commit_transaction", end_before(print)
            )
            again.write(segment(1), given(range(4, 8)))
            again.commit(segment(1))
            pytest.fail("nothing was to be committed")
        again.close()
    last = sinks(transactional=True)
    last.begin("clip", is_resumed=False)  # from its start
    patiently(lambda: last.write(segment(0), given(range(4))))
    patiently(lambda: last.commit(segment(0)))
    patiently(lambda: last.write(segment(1), given(range(4, 8))))
    patiently(lambda: last.commit(segment(1)))
    assert ids(records(broker.bootstrap, prefix)) == identities(range(8))
