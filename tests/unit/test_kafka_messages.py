"""What goes to Kafka: values by the schema, headers by CloudEvents, nothing larger than allowed and nothing lost."""

from __future__ import annotations

import base64
import gc
import json
import math
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plantain.operators.answers.rasters import unpack
from plantain.operators.errors import SinkBackpressureError, SinkError, UsageError
from plantain.operators.health import HealthEvent
from plantain.operators.sinks.kafka.attempts import Mark
from plantain.operators.sinks.kafka.brokers import Brokers, Producer, errors
from plantain.operators.sinks.kafka.messages import Message, health_record, json_schema, messages_of
from plantain.operators.sinks.rows import Rows, identity_of
from plantain.operators.types import Failure, Gap, Result
from plantain.pipeline.config import check
from tests.results import CARS, DEPTH, depth, masks, result

SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "kafka.schema.json"
LOST = HealthEvent("gate", 2, "lost", "gone", 1_700_000_000_123_456_789)
VALIDATOR = jsonschema.Draft202012Validator(json_schema()["$defs"]["Prediction"])


def messages(given_: Result, **options: Any) -> list[Message]:
    return [
        message
        for answer in Rows([given_], "run").answers
        for message in messages_of(
            answer, **{"rasters": "drop", "raster_ref": None, "max_bytes": 900_000} | options
        )
    ]


def gap_before(number: int, until_ns: int) -> Result:
    return result(number, {CARS: Gap("silent", "sent nothing", retryable=False, until_ns=until_ns)})


def value_of(message: Message) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(message.value)
    VALIDATOR.validate(value)
    return value


def test_the_schema_in_the_docs_is_the_one_of_the_code() -> None:
    assert json.loads(SCHEMA_FILE.read_text(encoding="utf-8")) == json_schema()
    VALIDATOR.check_schema(json_schema())
    any_kind = jsonschema.Draft202012Validator(json_schema())
    any_kind.validate(json.loads(messages(result(0))[0].value))
    any_kind.validate(json.loads(health_record(LOST).value))
    with pytest.raises(jsonschema.ValidationError):
        any_kind.validate({"stream_id": "gate"})


def test_a_message_is_the_frame_row_with_its_objects_nested() -> None:
    cars, wall = (value_of(message) for message in messages(result(3)))
    rows = Rows([result(3)], "run")
    for name, expected in rows.table("frames")[0].items():
        assert cars[name] == expected
    assert [row["x1"] for row in cars["objects"]] == [row["x1"] for row in rows.table("objects")]
    assert wall["depth_median_m"] == 6
    assert wall["objects"] == []
    assert (wall["part"], wall["parts"], wall["raster"], wall["raster_ref"]) == (1, 1, None, None)


def test_a_failure_is_a_message_too() -> None:
    (message,) = messages(result(0, {CARS: Failure("infer", "no memory", retryable=False)}))
    assert value_of(message)["reason"] == "infer: no memory"


def test_frames_and_the_gaps_between_them_are_told_apart_by_how_far_a_stream_is_committed() -> None:
    """A gap comes before the first frame, several between two others, and one after the last that has come so far."""
    given_ = [
        gap_before(number, end) if end else result(number, {CARS: masks(1)})
        for number, end in [(0, 5), (0, 0), (1, 0), (2, 7), (2, 9), (2, 0), (3, 12), (3, 13), (3, 0), (4, 20)]
    ]
    told = [message for each in given_ for message in messages(each)]
    assert [each.position for each in told] == sorted(each.position for each in told)
    for first in range(len(told)):
        for last in range(first, len(told)):
            mark = Mark(told[first].position, told[last].position, told[0].fingerprint, 0)
            mark = Mark.read(mark.written())
            assert mark is not None
            own = [message.position <= told[last].position for message in told]
            assert [mark.covers(replace(message, fingerprint="")) for message in told] == own
            before = [message.position < told[first].position for message in told]
            left = mark.without_its_own()
            assert [left.covers(replace(message, fingerprint="")) for message in told] == before


def test_headers_are_cloud_events_and_trace_context() -> None:
    captured = replace(result(7), info=replace(result(7).info, captured_ns=1_700_000_000_123_456_789))
    message, other = messages(captured)
    headers = {name: value.decode() for name, value in message.headers}
    assert message.key == b"clip"
    assert headers["ce_id"] == identity_of(captured, captured.predictions[0]) == "clip/0/7/instances:car/0123"
    assert headers["ce_specversion"] == "1.0"
    assert headers["ce_source"] == "/plantain/streams/clip"
    assert headers["ce_type"] == "plantain.prediction.v1"
    assert headers["ce_subject"] == "instances:car"
    assert headers["ce_time"] == "2023-11-14T22:13:20.123456Z"
    assert headers["content-type"] == "application/json"
    assert headers["schema-version"] == "3"
    version, trace_id, span_id, flags = headers["traceparent"].split("-")
    assert (version, flags, len(trace_id), len(span_id)) == ("00", "01", 32, 16)
    assert trace_id == value_of(message)["trace_id"] == value_of(other)["trace_id"]
    assert dict(other.headers)["traceparent"].decode() == headers["traceparent"], "both were written at once"
    assert message.timestamp_ms == 1_700_000_000_123


def test_a_change_of_health_is_a_message_of_its_own() -> None:
    record = health_record(LOST)
    assert json.loads(record.value) == {
        "stream_id": "gate",
        "epoch": 2,
        "state": "lost",
        "sentence": "gone",
        "at": "2023-11-14T22:13:20.123456Z",
    }
    headers = {name: value.decode() for name, value in record.headers}
    assert record.key == b"gate"
    assert record.timestamp_ms == 1_700_000_000_123
    assert headers["ce_id"] == "gate/2/lost/1700000000123456789"
    assert headers["ce_type"] == "plantain.health.v1"
    assert headers["ce_subject"] == "lost"
    assert headers["ce_time"] == "2023-11-14T22:13:20.123456Z"


def test_a_camera_whose_clock_is_ahead_is_not_refused() -> None:
    ahead = replace(result(0), info=replace(result(0).info, captured_ns=time.time_ns() + 10**15))
    assert messages(ahead)[0].timestamp_ms <= time.time_ns() // 1_000_000


def test_a_number_that_json_cannot_say_is_null() -> None:
    strange = replace(masks(1), distances_m=(math.nan,))
    assert value_of(messages(result(0, {CARS: strange}))[0])["objects"][0]["distance_m"] is None


def test_dense_maps_are_dropped_embedded_or_named() -> None:
    given_ = result(2)
    embedded = value_of(messages(given_, rasters="embed")[1])
    found = unpack(embedded["raster_format"], embedded["raster_scale"], base64.b64decode(embedded["raster"]))
    assert np.allclose(found, depth(5.0).depth_m, atol=0.01)
    named = value_of(messages(given_, rasters="refer", raster_ref="out/frames/stream=clip/part.parquet")[1])
    assert (named["raster"], named["raster_ref"]) == (None, "out/frames/stream=clip/part.parquet")
    assert value_of(messages(given_)[1])["raster"] is None


@settings(max_examples=60, deadline=None)
@given(
    num_objects=st.integers(0, 60),
    max_bytes=st.integers(2_300, 12_000),
    name=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20),
)
def test_a_large_answer_goes_in_parts_that_are_the_whole(num_objects: int, max_bytes: int, name: str) -> None:
    rng = np.random.default_rng(num_objects)
    value = masks(num_objects, size_hw=(16, 200), name=name)
    value = replace(
        value, labels=np.where(rng.random(value.labels.shape) < 0.5, value.labels, 0).astype(np.uint16)
    )
    given_ = result(0, {CARS: value}, model_hw=(16, 200))
    (whole,) = (value_of(message) for message in messages(given_, rasters="embed"))
    sent = messages(given_, rasters="embed", max_bytes=max_bytes)
    parts = [value_of(message) for message in sent]
    assert all(message.size <= max_bytes for message in sent)
    assert [(part["part"], part["parts"]) for part in parts] == [
        (k + 1, len(parts)) for k in range(len(parts))
    ]
    assert [row for part in parts for row in part["objects"]] == whole["objects"]
    assert "".join(part["raster"] or "" for part in parts) == whole["raster"]
    ids = [dict(message.headers)["ce_id"].decode() for message in sent]
    assert len(set(ids)) == len(ids)
    assert len(parts) == 1 or ids == [f"clip/0/0/instances:car/0123#{k + 1}" for k in range(len(parts))]
    shared = {"objects", "raster", "part", "parts"}
    assert all(part[key] == whole[key] for part in parts for key in whole.keys() - shared)


def test_an_object_that_fits_nowhere_is_not_lost_in_silence() -> None:
    with pytest.raises(
        SinkError, match=r"clip/0/0/instances:car/0123 needs .* raise output.kafka.max_message_bytes"
    ):
        messages(result(0, {CARS: masks(1, name="x" * 9000)}), max_bytes=4_000)


@pytest.mark.parametrize(
    ("error", "is_final", "advice"),
    [
        (
            errors.SaslAuthenticationFailedError("user x, password hunter2"),
            True,
            "check output.kafka.security",
        ),
        (errors.TopicAuthorizationFailedError("t"), True, "grant it"),
        (errors.MessageSizeTooLargeError("t"), True, "max_message_bytes"),
        (errors.ProducerFencedError("t"), True, "stop one of them"),
        (errors.KafkaTimeoutError("hunter2"), False, "cannot take results now"),
        (errors.KafkaTimeoutError(None), False, "they did not answer in time"),
        (
            errors.KafkaTimeoutError("10.200.3.40:9092: waited for 24.999997937 secs."),
            False,
            "10.200.3.40:9092: waited for 25 secs.",
        ),
        (errors.KafkaTimeoutError(), False, "they did not answer in time"),
        (errors.NotLeaderForPartitionError("t"), False, "cannot take results now"),
        (errors.UnknownProducerIdError("t"), False, "cannot take results now"),
        (errors.InvalidTimestampError("t"), False, "check this machine's clock"),
    ],
)
def test_errors_say_what_to_do_and_no_secret(error: Exception, is_final: bool, advice: str) -> None:
    brokers = Brokers(
        "broker:9092",
        timeout_s=1,
        bootstrap_timeout_ms=1,
        api_version=None,
        max_request_bytes=1,
        security={"password": "hunter2"},
    )
    explained = brokers.error_of(error)
    assert isinstance(explained, SinkBackpressureError) != is_final
    assert advice in str(explained)
    assert "broker:9092" in str(explained)
    assert "hunter2" not in str(explained)


def test_brokers_that_are_not_there_are_waited_for_and_leave_no_descriptor_behind() -> None:
    brokers = Brokers(
        "127.0.0.1:1",
        timeout_s=1,
        bootstrap_timeout_ms=200,
        api_version=None,
        max_request_bytes=1 << 20,
        security={},
    )
    gc.collect()
    gc.disable()  # what only a pass over all objects closes stays open for an hour in a run
    try:
        before = psutil.Process().num_fds()
        for _ in range(3):
            with pytest.raises(SinkBackpressureError, match=r"127\.0\.0\.1:1 cannot take results now"):
                brokers.producer()
        assert psutil.Process().num_fds() == before
    finally:
        gc.enable()


@pytest.mark.parametrize("step", ["commit_transaction", "abort_transaction"])
def test_a_step_of_a_transaction_that_never_ends_is_given_up_and_nothing_waits_for_it(step: str) -> None:
    """As of a producer that is closed meanwhile: its results are never told."""
    from kafka.producer.transaction_manager import TransactionalRequestResult  # it warns, but for `brokers`

    producer = object.__new__(Producer)
    producer._standstill_s = 0.05
    stuck = TransactionalRequestResult()
    producer._transaction_manager = SimpleNamespace(begin_commit=lambda: stuck, begin_abort=lambda: stuck)
    producer._sender = SimpleNamespace(wakeup=lambda: None)
    producer.config, producer._closed = Producer.DEFAULT_CONFIG, True
    before = threading.active_count()
    with pytest.raises(errors.KafkaTimeoutError, match="did not end within"):
        getattr(producer, step)()
    assert threading.active_count() == before
    stuck.done(errors.ProducerFencedError())
    with pytest.raises(errors.ProducerFencedError):
        getattr(producer, step)()


def test_the_password_is_in_the_options_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    for given_ in ({"password": "hunter2"}, {"password_file": str(tmp_path / "secret")}):
        security = {"protocol": "SASL_SSL", "mechanism": "SCRAM-SHA-512", "username": "me"} | given_
        config = configured({"security": security})
        assert config.output.kafka.options()["security"]["password"] == "hunter2"
        assert "hunter2" not in repr(config)
        assert "hunter2" not in config.model_dump_json()


@pytest.mark.parametrize(
    ("kafka", "mistake"),
    [
        ({"rasters": "refer"}, "needs the sink parquet"),
        ({"security": {"protocol": "SASL_SSL", "username": "me"}}, "needs mechanism, username, and password"),
        ({"topic_prefix": "two words"}, "output.kafka.topic_prefix"),
    ],
)
def test_mistakes_in_the_settings_are_named(kafka: dict[str, Any], mistake: str) -> None:
    with pytest.raises(UsageError, match=mistake):
        configured(kafka)


def configured(kafka: dict[str, Any]) -> Any:
    output = {"sinks": ["kafka"], "kafka": kafka}
    return check({"streams": [{"url": "synthetic://street"}], "prompts": [str(DEPTH)], "output": output})
