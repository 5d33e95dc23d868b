"""The Kafka sink against a real broker, read by another client than the one that wrote."""

from __future__ import annotations

import contextlib
import gc
import json
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import psutil
import pytest

from plantain.deploy.job import run_job
from plantain.operators.errors import SinkBackpressureError, SinkError
from plantain.operators.health import HealthEvent, HealthState
from plantain.operators.sinks.kafka.brokers import errors
from plantain.operators.sinks.parquet.reading import read_frames
from plantain.operators.sinks.rows import Rows
from plantain.pipeline.config import check
from tests.kafka_broker import PASSWORD, USER, Broker
from tests.kafka_client import header, ids, records
from tests.kafka_kills import NUM_FRAMES
from tests.kafka_sinks import Sinks, given, identities, patiently, segment, store
from tests.results import CARS, masks, result, stay, written

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.usefixtures("no_socket_is_left"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <s"),  # sockets that kafka-python 3.0.12 forgets
]


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
                sink.write(segment(index, stream_id), given(frames, stream_id))
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
        assert (header(record, "ce_specversion"), header(record, "schema-version")) == ("1.0", "3")


@pytest.mark.parametrize("transactional", [False, True])
def test_events_have_a_topic_of_their_own_and_share_the_fate_of_their_frames(
    sinks: Sinks, broker: Broker, prefix: str, transactional: bool
) -> None:
    """Committed, half committed, and sent again by whoever takes over."""

    def eventful(frames: range) -> Rows:
        return written(*(replace(result(k), events=(stay(k, k), stay(100 + k, k))) for k in frames))

    sink = sinks(transactional=transactional, events=True)
    sink.begin("clip", is_resumed=False)
    sink.write(segment(0), eventful(range(4)))
    sink.commit(segment(0))
    sink.write(segment(1), eventful(range(4, 6)))
    sink.close()
    again = sinks(transactional=transactional, events=True)
    again.begin("clip", is_resumed=True)
    again.write(segment(0), eventful(range(4)))  # the checkpoint was older than what was committed
    again.commit(segment(0))
    again.write(segment(1), eventful(range(4, 8)))
    again.commit(segment(1))
    again.finish("clip")
    expected = [f"clip/presence/{track}/0.0/0" for k in range(8) for track in (k, 100 + k)]
    found = records(broker.bootstrap, prefix, "events")
    answers = records(broker.bootstrap, prefix)
    if transactional:
        assert ids(found) == expected
        assert ids(answers) == identities(range(8))
    assert list(dict.fromkeys(ids(found))) == expected
    assert {json.loads(record.value())["kind"] for record in found} == {"appeared"}
    assert {header(record, "ce_type") for record in found} == {"plantain.event.v1"}


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
    seen = result(0)
    timed = replace(seen, info=replace(seen.info, captured_ns=1_790_000_000_123_000_000))
    sink.write(segment(0), written(timed))
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
    monkeypatch.setattr(
        "plantain.operators.sinks.kafka.messages.time.time_ns", lambda: now_ns() + 86_400 * 10**9
    )
    patiently(lambda: sink.write(segment(1), given(range(2, 4))))
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
    sink.write(segment(1), given(range(4, 8)))
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
    sink.write(segment(0), given(range(4)))
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


def test_a_camera_that_starts_anew_is_sent_anew_and_one_that_goes_on_is_not(
    sinks: Sinks, broker: Broker, prefix: str
) -> None:
    for is_resumed in (False, False, True):
        sink = sinks(transactional=True)
        sink.begin("clip", is_resumed=is_resumed)
        sink.write(replace(segment(0), is_live=True), given(range(4)))
        sink.commit(replace(segment(0), is_live=True))
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
        sink.write(segment(0, stream_id), given(range(1), stream_id))
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
    old.write(segment(0), given(range(4)))
    new.begin("clip", is_resumed=False)
    store(new, 0, range(4))
    with pytest.raises(SinkError):
        old.commit(segment(0))
    with contextlib.suppress(SinkError):
        old.commit(segment(0))
    new.write(segment(1), given(range(4, 8)))
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
    crowded = result(0, {CARS: crowd}, model_hw=(64, 1000))
    whole, cut = sinks(rasters="embed"), sinks(rasters="embed", max_message_bytes=20_000)
    for sink in (whole, cut):
        sink.begin("clip", is_resumed=False)
        sink.write(segment(0), written(crowded))
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
    sink.write(segment(0), written(result(0, {CARS: masks(60, size_hw=(12, 200))}, model_hw=(12, 200))))
    with pytest.raises(SinkError, match=r"too large for the topic: lower output.kafka") as caught:
        sink.commit(segment(0))
    assert not caught.value.retryable
    sink.begin("other", is_resumed=False)
    sink.write(segment(0, "other"), written(result(0, {CARS: masks(0)}, stream_id="other")))
    sink.commit(segment(0, "other"))
    assert ids(records(broker.bootstrap, prefix), "other") == ["other/0/0/instances:car/0123"]


@pytest.mark.parametrize(
    "security",
    [
        {"protocol": "SASL_PLAINTEXT", "mechanism": "PLAIN"},
        {"protocol": "SASL_PLAINTEXT", "mechanism": "SCRAM-SHA-256"},
        {"protocol": "SASL_PLAINTEXT", "mechanism": "SCRAM-SHA-512"},
        {"protocol": "SSL"},
        {"protocol": "SASL_SSL", "mechanism": "PLAIN"},
        {"protocol": "SASL_SSL", "mechanism": "SCRAM-SHA-512"},
    ],
    ids=lambda security: "-".join(security.values()),
)
def test_the_sink_logs_in(sinks: Sinks, broker: Broker, prefix: str, security: dict[str, str]) -> None:
    if not broker.is_ours:
        pytest.skip("the broker that was named is asked for no login")
    login = {"username": USER, "password": PASSWORD} if "mechanism" in security else {}
    trust = {"ca_file": broker.ca_file} if security["protocol"].endswith("SSL") else {}
    bootstrap = broker.addresses[security["protocol"]]
    sink = sinks(bootstrap=bootstrap, security=security | login | trust, transactional=True)
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
    bootstrap = broker.addresses[security["protocol"]]
    sink = sinks(bootstrap=bootstrap, security=security, bootstrap_timeout_ms=3000)
    sink.begin("clip", is_resumed=False)
    with pytest.raises(SinkError, match=advice) as caught:
        sink.write(segment(0), given(range(1)))
    assert not caught.value.retryable
    assert "hunter2" not in str(caught.value)


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
