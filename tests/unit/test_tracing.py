"""Traces: one for each frame, with every step in order, in whatever processes the steps were done."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from plantain.deploy.tracing import observed, traced
from plantain.operators.errors import UsageError
from plantain.operators.sinks.memory import MemorySink
from plantain.operators.trace import Sampling, sampling, span_id_of, trace_id_of, traceparent_of
from plantain.operators.types import Header
from plantain.pipeline.config import check
from plantain.pipeline.executor import Executor, InlineExecutor, ThreadExecutor
from plantain.pipeline.graph import Graph
from plantain.pipeline.runner import run
from plantain.pipeline.video import build_graph, starts_of
from tests.assets import clips
from tests.stored import rows_in

STEPS = ["decode", "plan", "infer", "analyse", "write"]
FRAMES = 12


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    sampling.share = 1.0


def follow(folder: Path, executor: Executor, share: float = 1.0) -> dict[str, list[ReadableSpan]]:
    """The spans of a run of two streams, by trace."""
    clip = str(clips.make(folder / "clip.mp4", FRAMES))
    config = check(
        {
            "streams": [{"id": "north", "url": clip}, {"id": "south", "url": clip}],
            "prompts": ["depth"],
            "model": {"name": "tests.plugins:PickyModel", "options": {"refuses": "3"}},
            "output": {"out": str(folder / "out")},
        }
    )
    exporter = InMemorySpanExporter()
    graph = observed(
        build_graph(config, make_sinks=lambda: [MemorySink()]), lambda: SimpleSpanProcessor(exporter), share
    )
    run(graph, executor, starts_of(config, None))
    traces: dict[str, list[ReadableSpan]] = defaultdict(list)
    for span in exporter.get_finished_spans():
        assert span.context is not None
        traces[f"{span.context.trace_id:032x}"].append(span)
    return traces


def header(stream_id: str, index: int) -> Header:
    return Header(stream_id, 0, index)


@pytest.mark.parametrize("make", [InlineExecutor, ThreadExecutor])
def test_each_frame_has_one_trace_with_all_steps_in_order(
    make: Callable[[], Executor], tmp_path: Path
) -> None:
    traces = follow(tmp_path, make())
    expected = {trace_id_of(header(name, index)) for name in ("north", "south") for index in range(FRAMES)}
    assert set(traces) == expected
    for spans in traces.values():
        by_time = sorted(spans, key=lambda span: (span.start_time, STEPS.index(span.name)))
        assert [span.name for span in by_time] == STEPS
        for span in spans:
            assert span.start_time is not None
            assert span.end_time is not None
            assert span.start_time <= span.end_time
        by_name = {span.name: span for span in spans}
        assert by_name["decode"].parent is None
        for before, after in pairwise(STEPS):
            assert by_name[after].parent == by_name[before].context
        assert by_name["infer"].attributes is not None
        assert by_name["infer"].attributes["plantain.call.model_ms"] >= 0  # type: ignore[operator]  # a number
    refused = traces[trace_id_of(header("north", 3))]
    failed = {span.name: span.status for span in refused}
    assert failed["infer"].status_code is StatusCode.ERROR
    assert "I will not look at 3" in str(failed["infer"].description)
    assert failed["write"].status_code is StatusCode.UNSET


def test_a_sampled_trace_is_whole_and_the_others_are_not_there(tmp_path: Path) -> None:
    traces = follow(tmp_path, ThreadExecutor(), share=0.5)
    expected = {
        trace_id
        for name in ("north", "south")
        for index in range(FRAMES)
        if Sampling(0.5).takes(trace_id := trace_id_of(header(name, index)))
    }
    assert 0 < len(expected) < 2 * FRAMES
    assert set(traces) == expected
    assert all(sorted(span.name for span in spans) == sorted(STEPS) for spans in traces.values())


def test_kafka_hands_on_the_span_that_wrote_and_whether_it_was_recorded() -> None:
    frame = header("north", 7)
    assert traceparent_of(frame, "write") == f"00-{trace_id_of(frame)}-{span_id_of(frame, 'write')}-01"
    sampling.share = 0.0
    assert traceparent_of(frame, "write").endswith("-00")


def test_the_share_that_is_sampled_is_that_of_opentelemetry() -> None:
    from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

    for share in (0.0, 0.1, 0.5, 1.0):
        sampler, ours = TraceIdRatioBased(share), Sampling(share)
        for index in range(200):
            trace_id = trace_id_of(header("north", index))
            theirs = (
                sampler.should_sample(None, int(trace_id, 16), "x").decision is Decision.RECORD_AND_SAMPLE
            )
            assert ours.takes(trace_id) == theirs


def graph_of(folder: Path) -> Graph:
    return build_graph(check({"streams": [{"url": "x.mp4", "id": "x"}], "prompts": ["depth"]}))


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_SERVICE_NAME": "plantain"},
    ],
)
def test_nothing_changes_unless_traces_are_asked_for(environment: dict[str, str], tmp_path: Path) -> None:
    graph = graph_of(tmp_path)
    assert traced(graph, environment) is graph


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, "otlp, console and none"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": "jaeger_remote"}, "known are"),
        (
            {
                "OTEL_TRACES_EXPORTER": "otlp",
                "OTEL_TRACES_SAMPLER": "traceidratio",
                "OTEL_TRACES_SAMPLER_ARG": "2",
            },
            "between 0 and 1",
        ),
    ],
)
def test_what_is_asked_for_in_vain_is_named(environment: dict[str, str], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        traced(graph_of(tmp_path), environment)


@pytest.fixture
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """A server that takes what OpenTelemetry's exporters send."""
    received: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", received
    server.shutdown()
    server.server_close()
    thread.join()


def names_by_trace(received: Sequence[ExportTraceServiceRequest]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = defaultdict(list)
    for request in received:
        for resource in request.resource_spans:
            services = {a.key: a.value.string_value for a in resource.resource.attributes}
            assert services["service.name"] == "street"
            for scope in resource.scope_spans:
                for span in scope.spans:
                    names[span.trace_id.hex()].append(span.name)
    return names


@pytest.mark.timeout(280)
@pytest.mark.parametrize("executor", ["threads", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_collector_gets_the_traces_of_a_run_whose_rows_name_them(
    executor: str, collector: tuple[str, list[ExportTraceServiceRequest]], tmp_path: Path
) -> None:
    endpoint, received = collector
    clip = clips.make(tmp_path / "clip.mp4", FRAMES)
    command = [
        sys.executable,
        "-m",
        "plantain.deploy.cli",
        "run",
        str(clip),
        "--task",
        "depth",
        "--model",
        "fake",
    ]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out"), "--executor", executor],
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_SERVICE_NAME": "street"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    rows = rows_in(tmp_path / "out")["frames"]
    names = names_by_trace(received)
    assert {row["trace_id"] for row in rows} == set(names)
    assert len(names) == FRAMES
    assert all(sorted(steps) == sorted(STEPS) for steps in names.values())
