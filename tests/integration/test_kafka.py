"""The Kafka sink against a real broker, read by another client than the one that wrote."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import psutil
import pytest
import structlog
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from deploy.job import run_job
from operators.errors import SinkBackpressureError, SinkError
from operators.retry import retry
from operators.sinks.base import Segment
from operators.sinks.brokers import abandon, errors, structs
from operators.sinks.kafka import KafkaSink
from operators.sinks.reading import read_frames
from operators.types import HealthEvent, HealthState, Result
from pipeline.config import check
from tests.kafka_broker import PASSWORD, USER, Broker, BrokerUnavailableError
from tests.kafka_client import forgotten_sockets_are_closed, header, ids, records
from tests.kafka_kills import NUM_FRAMES
from tests.results import CARS, masks, result

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.filterwarnings("ignore:Exception ignored in. <s"),  # sockets that kafka-python 3.0.12 forgets
]


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    try:
        found = Broker.find()
    except BrokerUnavailableError as error:
        if os.environ.get("REQUIRE_KAFKA") == "1":
            raise
        pytest.skip(f"no Kafka broker: {error}")
    yield found
    found.close()


@pytest.fixture(autouse=True)
def _no_socket_is_left() -> Iterator[None]:
    with forgotten_sockets_are_closed():
        yield


@pytest.fixture
def prefix() -> str:
    return f"t{uuid.uuid4().hex[:10]}"


@dataclass
class Sinks:
    """Makes sinks for one topic and run, and closes them."""

    broker: Broker
    prefix: str
    folder: Path
    stack: contextlib.ExitStack

    def __call__(self, **options: Any) -> KafkaSink:
        given = {"bootstrap": self.broker.bootstrap, "topic_prefix": self.prefix} | options
        sink = KafkaSink(str(self.folder), "run", **given)
        self.stack.callback(sink.close)
        return sink


@pytest.fixture
def sinks(broker: Broker, prefix: str, tmp_path: Path) -> Iterator[Sinks]:
    with contextlib.ExitStack() as stack:
        yield Sinks(broker, prefix, tmp_path, stack)


def identities(frames: range, stream_id: str = "clip") -> list[str]:
    return [
        f"{stream_id}/0/{index}/{prompt}/0123" for index in frames for prompt in ("instances:car", "depth")
    ]


def segment(index: int, stream_id: str = "clip") -> Segment:
    return Segment(stream_id, 0, index)


def results(frames: range, stream_id: str = "clip") -> list[Result]:
    return [result(index, stream_id=stream_id) for index in frames]


def store(sink: KafkaSink, index: int, frames: range) -> None:
    sink.write(segment(index), results(frames))
    sink.commit(segment(index))


def patiently(work: Callable[[], None]) -> None:
    """As the step `Write` calls sinks."""
    retry(work, "test")


@pytest.mark.parametrize("transactional", [False, True])
def test_streams_arrive_in_order_and_by_the_schema(
    sinks: Sinks, broker: Broker, prefix: str, transactional: bool
) -> None:
    sink = sinks(transactional=transactional)
    streams = ["north", "south", "east"]
    for stream_id in streams:
        sink.begin(stream_id, is_resumed=False)
    for index in range(4):
        for stream_id in streams:
            for half in (0, 5):
                frames = range(10 * index + half, 10 * index + half + 5)
                sink.write(segment(index, stream_id), results(frames, stream_id))
            sink.commit(segment(index, stream_id))
    for stream_id in streams:
        sink.finish(stream_id)
    found = records(broker.bootstrap, prefix)
    assert len(found) == 3 * 40 * 2
    for stream_id in streams:
        assert ids(found, stream_id) == identities(range(40), stream_id)
        assert len({record.partition() for record in found if record.key() == stream_id.encode()}) == 1
    for record in found:
        value = json.loads(record.value())
        assert record.key().decode() == value["stream_id"]
        assert header(record, "traceparent").split("-")[1] == value["trace_id"]
        assert (header(record, "ce_specversion"), header(record, "schema-version")) == ("1.0", "2")


def test_health_is_told_in_order_beside_the_results(sinks: Sinks, broker: Broker, prefix: str) -> None:
    sink = sinks(transactional=True)
    told: list[HealthEvent] = []
    for number, state in enumerate(get_args(HealthState)):
        told.append(HealthEvent("gate", number, state, f"stream 'gate': {state}", time.time_ns()))
        sink.tell(told[-1])
    sink.close()
    found = records(broker.bootstrap, prefix, "health")
    values = [json.loads(record.value()) for record in found]
    assert [value["state"] for value in values] == list(get_args(HealthState))
    assert [value["epoch"] for value in values] == list(range(len(told)))
    assert len(set(ids(found, "gate"))) == len(told)
    assert {header(record, "ce_type") for record in found} == {"plantain.health.v1"}
    assert [record.timestamp()[1] for record in found] == [event.at_ns // 1_000_000 for event in told]


def test_the_time_of_a_record_is_the_capture_time(sinks: Sinks, broker: Broker, prefix: str) -> None:
    sink = sinks()
    sink.begin("clip", is_resumed=False)
    given = result(0)
    sink.write(segment(0), [replace(given, info=replace(given.info, captured_ns=1_790_000_000_123_000_000))])
    sink.commit(segment(0))
    assert {record.timestamp()[1] for record in records(broker.bootstrap, prefix)} == {1_790_000_000_123}


@pytest.mark.parametrize("transactional", [False, True])
def test_a_machine_whose_clock_is_far_ahead_sends_its_messages_without_time(
    sinks: Sinks, broker: Broker, prefix: str, monkeypatch: pytest.MonkeyPatch, transactional: bool
) -> None:
    now_ns = time.time_ns
    sink = sinks(transactional=transactional)
    sink.begin("clip", is_resumed=False)
    store(sink, 0, range(2))
    monkeypatch.setattr("operators.sinks.messages.time.time_ns", lambda: now_ns() + 86_400 * 10**9)
    patiently(lambda: sink.write(segment(1), results(range(2, 4))))
    patiently(lambda: sink.commit(segment(1)))
    sink.tell(HealthEvent("clip", 0, "live", "stream 'clip': live", time.time_ns()))
    sink.close()
    found = records(broker.bootstrap, prefix)
    assert ids(found) == identities(range(4))
    assert [record.timestamp()[1] > 0 for record in found] == [True] * 4 + [False] * 4
    assert len(records(broker.bootstrap, prefix, "health")) == 1


def test_a_segment_is_seen_as_a_whole_or_not_at_all(
    sinks: Sinks, broker: Broker, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = sinks(transactional=True, timeout_s=30)
    sink.begin("clip", is_resumed=False)
    store(sink, 0, range(4))
    sink.write(segment(1), results(range(4, 8)))
    producer = sink._delivery._streams["clip"].producer  # type: ignore[attr-defined]

    def lost() -> None:
        raise errors.KafkaTimeoutError("lost")

    monkeypatch.setattr(producer, "commit_transaction", lost)
    with pytest.raises(SinkBackpressureError, match="lost"):
        sink.commit(segment(1))
    assert ids(records(broker.bootstrap, prefix)) == identities(range(4))
    assert len(ids(records(broker.bootstrap, prefix, isolation="read_uncommitted"))) == 16
    sink.commit(segment(1))
    assert ids(records(broker.bootstrap, prefix)) == identities(range(8))
    assert len(ids(records(broker.bootstrap, prefix, isolation="read_uncommitted"))) == 24


def test_a_commit_whose_answer_is_lost_is_not_repeated(
    sinks: Sinks, broker: Broker, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = sinks(transactional=True)
    sink.begin("clip", is_resumed=False)
    sink.write(segment(0), results(range(4)))
    producer = sink._delivery._streams["clip"].producer  # type: ignore[attr-defined]
    commit = producer.commit_transaction

    def unheard() -> None:
        commit()
        raise errors.KafkaTimeoutError("no answer")

    monkeypatch.setattr(producer, "commit_transaction", unheard)
    with pytest.raises(SinkBackpressureError, match="no answer"):
        sink.commit(segment(0))
    sink.commit(segment(0))
    store(sink, 1, range(4, 8))
    assert ids(records(broker.bootstrap, prefix, isolation="read_uncommitted")) == identities(range(8))


def test_a_segment_that_is_made_again_is_not_sent_again(sinks: Sinks, broker: Broker, prefix: str) -> None:
    first = sinks(transactional=True)
    first.begin("clip", is_resumed=False)
    store(first, 0, range(4))
    store(first, 1, range(4, 6))  # a run that is interrupted commits what it has of its last segment
    again = sinks(transactional=True)  # killed before a checkpoint was stored: it starts anew
    again.begin("clip", is_resumed=False)
    store(again, 0, range(4))
    store(again, 1, range(4, 8))
    resumed = sinks(transactional=True)
    resumed.begin("clip", is_resumed=True)
    store(resumed, 1, range(4, 8))
    store(resumed, 2, range(8, 12))
    assert ids(records(broker.bootstrap, prefix, isolation="read_uncommitted")) == identities(range(12))


def test_a_run_that_starts_over_sends_everything(sinks: Sinks, broker: Broker, prefix: str) -> None:
    for _ in range(2):
        sink = sinks(transactional=True)
        sink.begin("clip", is_resumed=False)
        store(sink, 0, range(4))
        (sinks.folder / ".plantain" / "streams" / "clip.kafka").unlink()  # as --no-resume forgets checkpoints
    assert ids(records(broker.bootstrap, prefix)) == 2 * identities(range(4))


def test_a_camera_that_starts_anew_is_sent_anew(sinks: Sinks, broker: Broker, prefix: str) -> None:
    for _ in range(2):
        sink = sinks(transactional=True)
        sink.begin("clip", is_resumed=False)
        frames = [
            replace(given, info=replace(given.info, captured_by="arrival")) for given in results(range(4))
        ]
        sink.write(segment(0), frames)
        sink.commit(segment(0))
    assert ids(records(broker.bootstrap, prefix)) == 2 * identities(range(4))


@pytest.mark.parametrize("transactional", [False, True])
def test_streams_that_come_and_go_leave_nothing(sinks: Sinks, transactional: bool) -> None:
    process = psutil.Process()
    sink = sinks(transactional=transactional)

    def used() -> tuple[int, int]:
        gc.collect()
        return threading.active_count(), process.num_fds()

    def send(number: int) -> None:
        stream_id = f"clip{number}"
        sink.begin(stream_id, is_resumed=False)
        sink.write(segment(0, stream_id), results(range(1), stream_id))
        sink.commit(segment(0, stream_id))
        sink.finish(stream_id)

    send(0)
    send(1)
    before = used()
    for number in range(2, 8):
        send(number)
    limit_s = time.monotonic() + 20  # a connection that is just being made anew counts twice for a moment
    while any(now > then for now, then in zip(used(), before, strict=True)):
        assert time.monotonic() < limit_s, (before, used())
        time.sleep(0.2)


def test_a_process_that_was_replaced_adds_nothing(sinks: Sinks, broker: Broker, prefix: str) -> None:
    old, new = sinks(transactional=True), sinks(transactional=True)
    old.begin("clip", is_resumed=False)
    old.write(segment(0), results(range(4)))
    new.begin("clip", is_resumed=False)
    store(new, 0, range(4))
    with pytest.raises(SinkError):
        old.commit(segment(0))
    with contextlib.suppress(SinkError):
        old.commit(segment(0))
    new.write(segment(1), results(range(4, 8)))
    patiently(lambda: new.commit(segment(1)))
    assert ids(records(broker.bootstrap, prefix)) == identities(range(8))


@pytest.mark.timeout(900)
def test_each_frame_is_seen_once_whatever_moment_the_writer_is_killed_at(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "tests.kafka_kills", broker.bootstrap, prefix, str(tmp_path), "4", "10"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=840, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["kills"] == 10
    found = records(broker.bootstrap, prefix)
    for stream_id in report["streams"]:
        assert ids(found, stream_id) == identities(range(NUM_FRAMES), stream_id)


def test_an_answer_that_is_too_large_goes_in_parts(sinks: Sinks, broker: Broker, prefix: str) -> None:
    rng = np.random.default_rng(0)
    crowd = masks(300, size_hw=(64, 1000))
    crowd = replace(crowd, labels=rng.integers(0, 301, crowd.labels.shape).astype(np.uint16))
    given = result(0, {CARS: crowd}, model_hw=(64, 1000))
    whole, cut = sinks(rasters="embed"), sinks(rasters="embed", max_message_bytes=20_000)
    for sink in (whole, cut):
        sink.begin("clip", is_resumed=False)
        sink.write(segment(0), [given])
        sink.commit(segment(0))
    expected, *parts = (json.loads(record.value()) for record in records(broker.bootstrap, prefix))
    assert len(parts) > 5
    assert [part["part"] for part in parts] == list(range(1, len(parts) + 1))
    assert [thing for part in parts for thing in part["objects"]] == expected["objects"]
    assert "".join(part["raster"] or "" for part in parts) == expected["raster"]


@pytest.mark.parametrize("transactional", [False, True])
def test_a_message_that_the_topic_refuses_ends_the_stream(
    sinks: Sinks, broker: Broker, prefix: str, transactional: bool
) -> None:
    broker.make_topic(f"{prefix}.predictions", **{"max.message.bytes": "2000"})
    sink = sinks(transactional=transactional)
    sink.begin("clip", is_resumed=False)
    sink.write(segment(0), [result(0, {CARS: masks(60, size_hw=(12, 200))}, model_hw=(12, 200))])
    with pytest.raises(SinkError, match=r"too large for the topic: lower output.kafka") as caught:
        sink.commit(segment(0))
    assert not caught.value.retryable
    sink.begin("other", is_resumed=False)
    sink.write(segment(0, "other"), [result(0, {CARS: masks(0)}, stream_id="other")])
    sink.commit(segment(0, "other"))
    assert ids(records(broker.bootstrap, prefix), "other") == ["other/0/0/instances:car/0123"]


@pytest.mark.parametrize(
    "security",
    [
        {"protocol": "SASL_PLAINTEXT", "mechanism": "PLAIN"},
        {"protocol": "SASL_PLAINTEXT", "mechanism": "SCRAM-SHA-256"},
        {"protocol": "SASL_PLAINTEXT", "mechanism": "SCRAM-SHA-512"},
        {"protocol": "SSL"},
    ],
    ids=lambda security: "-".join(security.values()),
)
def test_the_sink_logs_in(sinks: Sinks, broker: Broker, prefix: str, security: dict[str, str]) -> None:
    if not broker.is_ours:
        pytest.skip("the broker that was named is asked for no login")
    login = (
        {"username": USER, "password": PASSWORD} if "mechanism" in security else {"ca_file": broker.ca_file}
    )
    bootstrap = broker.sasl if "mechanism" in security else broker.tls
    sink = sinks(bootstrap=bootstrap, security=security | login, transactional=True)
    sink.begin("clip", is_resumed=False)
    store(sink, 0, range(2))
    assert ids(records(broker.bootstrap, prefix)) == identities(range(2))


@pytest.mark.parametrize(
    ("security", "advice"),
    [
        (
            {
                "protocol": "SASL_PLAINTEXT",
                "mechanism": "SCRAM-SHA-512",
                "username": USER,
                "password": "hunter2",
            },
            "login",
        ),
        ({"protocol": "SSL"}, "security.ca_file"),
    ],
)
def test_a_refused_login_is_named_without_its_secret(
    sinks: Sinks, broker: Broker, security: dict[str, str], advice: str
) -> None:
    if not broker.is_ours:
        pytest.skip("the broker that was named is asked for no login")
    bootstrap = broker.sasl if "mechanism" in security else broker.tls
    sink = sinks(bootstrap=bootstrap, security=security, bootstrap_timeout_ms=3000)
    sink.begin("clip", is_resumed=False)
    with pytest.raises(SinkError, match=advice) as caught:
        sink.write(segment(0), results(range(1)))
    assert not caught.value.retryable
    assert "hunter2" not in str(caught.value)


def test_memory_is_bounded_while_nothing_is_acknowledged(
    sinks: Sinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operators.sinks.at_least_once.MAX_WAIT_FOR_ROOM_S", 0.2)
    sink = sinks(max_unacknowledged=10)
    sink.begin("clip", is_resumed=False)
    store(sink, 0, range(1))
    producer = sink._delivery._producer  # type: ignore[attr-defined]
    monkeypatch.setattr(producer, "send", lambda *_args, **_options: errors_future())
    sink.write(segment(1), results(range(1, 5)))
    with pytest.raises(SinkBackpressureError, match="has not acknowledged 8 messages"):
        sink.write(segment(1), results(range(5, 9)))


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
        sink.write(segment(1), results(range(4, 6)))
        sink.tell(HealthEvent("clip", 0, "live", "stream 'clip': live", time.time_ns()))
    broker.kill()
    for sink in (live, exact):
        sink.tell(HealthEvent("clip", 0, "stalled", "stream 'clip': stalled", time.time_ns()))
    is_back = threading.Thread(target=broker.start, name="broker-start")
    is_back.start()
    try:
        for sink in (live, exact):
            for work in (
                lambda s=sink: s.write(segment(1), results(range(6, 8))),
                lambda s=sink: s.commit(segment(1)),
            ):
                patiently(work)
            patiently(lambda s=sink: s.write(segment(2), results(range(8, 12))))
            patiently(lambda s=sink: s.commit(segment(2)))
    finally:
        is_back.join()
    live.close()
    exact.close()
    for name in (prefix, f"{prefix}x"):
        found = [json.loads(record.value())["state"] for record in records(broker.bootstrap, name, "health")]
        assert list(dict.fromkeys(found)) == ["live", "stalled"]
    once = list(
        dict.fromkeys(ids(records(broker.bootstrap, prefix)))
    )  # repeats are allowed, first arrivals are in order
    assert once == identities(range(12))
    assert ids(records(broker.bootstrap, f"{prefix}x")) == identities(range(12))


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


def lose_markers(producer: Any, topic: str, lost: str, outcome: str) -> None:
    """Lets a producer's next transaction hang in some places, by never telling the brokers of them.

    Args:
        producer: Of a sink.
        topic: Where it sends.
        lost: Which markers will be missing: of the `messages`, of the `note`, or of `both`.
        outcome: Of the transaction, as the brokers know it; the sink hears nothing of it.
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
    sink.write(segment(1), results(range(4, 8)))
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
        patiently(lambda: again.write(segment(1), results(range(4, 8))))
    healed = [entry for entry in logs if entry["event"] == "healed a hanging transaction"]
    assert [entry["was"] for entry in healed] == ([] if lost == "messages" else [outcome])
    committed = identities(range(8 if outcome == "commit" else 4))
    assert ids(records(broker.bootstrap, prefix)) == committed  # before anything new is sent
    patiently(lambda: again.commit(segment(1)))
    patiently(lambda: again.write(segment(2), results(range(8, 12))))
    patiently(lambda: again.commit(segment(2)))
    assert ids(records(broker.bootstrap, prefix)) == identities(range(12))
    num_sent = len(records(broker.bootstrap, prefix, isolation="read_uncommitted"))
    assert num_sent == 2 * (12 if outcome == "commit" else 16)


def test_a_transaction_of_somebody_else_that_hangs_is_named_until_it_ends(
    sinks: Sinks, broker: Broker, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operators.sinks.coordinator.PATIENCE_S", 0.5)
    topic = f"{prefix}.predictions"
    sink = sinks(transactional=True)
    sink.begin("clip", is_resumed=False)
    store(sink, 0, range(4))
    attempt = (sinks.folder / ".plantain" / "streams" / "clip.kafka").read_text()
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
            again.write(segment(1), results(range(4, 8)))
        other.abort_transaction()
        patiently(lambda: again.write(segment(1), results(range(4, 8))))
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
    sink.write(segment(1), results(range(4, 8)))
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
    patiently(lambda: again.write(segment(1), results(range(4, 8))))
    patiently(lambda: again.commit(segment(1)))
    patiently(lambda: again.write(segment(2), results(range(8, 12))))
    patiently(lambda: again.commit(segment(2)))
    assert ids(records(broker.bootstrap, prefix)) == identities(range(12))


def test_a_run_sends_what_it_stores(broker: Broker, prefix: str, tmp_path: Path) -> None:
    kafka = {"bootstrap": broker.bootstrap, "topic_prefix": prefix, "transactional": True, "rasters": "refer"}
    config = check(
        {
            "streams": [
                {"url": "synthetic://street?seed=6&frames=12&width=192&height=112&stamp=1", "id": "street"}
            ],
            "prompts": ["instances:car", "depth"],
            "model": {"name": "fake", "canvas": {"width": 192, "height": 112}},
            "output": {
                "out": str(tmp_path),
                "sinks": ["parquet", "kafka"],
                "segment_frames": 5,
                "kafka": kafka,
            },
            "executor": "inline",
        }
    )
    for _ in range(2):
        assert run_job(config).exit_code == 0
    values = [json.loads(record.value()) for record in records(broker.bootstrap, prefix)]
    columns = read_frames(tmp_path)
    for key in ("run_id", "stream_id", "frame_index", "prompt", "trace_id"):
        assert [value[key] for value in values] == list(columns[key])
    for key in ("num_objects", "depth_median_m", "off_palette"):
        np.testing.assert_allclose(
            np.array([value[key] for value in values], np.float64), columns[key], rtol=1e-6
        )
    assert all(Path(value["raster_ref"]).is_file() for value in values)


def test_the_consumer_of_the_docs_runs(sinks: Sinks, broker: Broker, prefix: str) -> None:
    sink = sinks()
    sink.begin("clip", is_resumed=False)
    store(sink, 0, range(2))
    text = (ROOT / "docs" / "kafka.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(example.strip().splitlines()) <= 10
    example = example.replace("127.0.0.1:9092", broker.bootstrap).replace(
        "plantain.predictions", f"{prefix}.predictions"
    )
    example = example.replace('"mine"', f'"{prefix}"')
    expected = [
        "clip 0 instances:car None ['car', 'car']",
        "clip 0 depth 3.0 []",
        "clip 1 instances:car None ['car', 'car']",
        "clip 1 depth 4.0 []",
    ]
    reader = subprocess.Popen([sys.executable, "-u", "-c", example], stdout=subprocess.PIPE, text=True)
    with reader:  # it would wait for more
        assert reader.stdout is not None
        printed = [reader.stdout.readline().rstrip() for _ in expected]
        reader.terminate()
    assert printed == expected
