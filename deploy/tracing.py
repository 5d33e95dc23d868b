"""Traces for OpenTelemetry: each frame's way, decode -> plan -> infer -> analyse -> write, across all processes.

Off, and without any cost, unless OpenTelemetry's own environment variables ask for it: OTEL_EXPORTER_OTLP_ENDPOINT
(or OTEL_TRACES_EXPORTER=otlp for its default), OTEL_TRACES_SAMPLER=traceidratio with OTEL_TRACES_SAMPLER_ARG=0.01 for
a hundredth of the frames, OTEL_SERVICE_NAME, OTEL_BSP_* and so on. They are read once, where the run begins, and go
to the workers on other machines with their stages. Needs the extra `tracing`.

A frame's trace id and the ids of its spans follow from its identity (`operators.trace`), so nothing has to be passed
along, and Kafka's `traceparent` names the span `write`. A span covers the call that its step was done in: what the
frame itself took, where that is known, is in its attributes.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from plantain.operators.errors import UsageError
from plantain.operators.trace import sampling, span_id_of, trace_id_of
from plantain.operators.types import Header
from plantain.pipeline.calls import MARK, Call, Reply
from plantain.pipeline.engine.item import key_of
from plantain.pipeline.graph import Graph, Kind
from plantain.pipeline.worker.base import Observer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

Environment = tuple[tuple[str, str], ...]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_STEPS = ("decode", "plan", "infer", "analyse", "write")
_FLUSH_MS = 5000


def traced(graph: Graph, environment: Mapping[str, str] | None = None) -> Graph:
    """The graph, with workers that record traces if the environment asks for them.

    Args:
        graph: The stages.
        environment: Variables; those of this process if left out.

    Raises:
        UsageError: If traces are asked for in a way that is not known, or the extra is not installed.
    """
    known = os.environ if environment is None else environment
    found = tuple(sorted((name, value) for name, value in known.items() if name.startswith("OTEL_")))
    variables = dict(found)
    exporter = variables.get(
        "OTEL_TRACES_EXPORTER", "otlp" if any(map(variables.get, _ENDPOINTS)) else "none"
    )
    if exporter == "none" or variables.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return graph
    if exporter not in ("otlp", "console"):
        raise UsageError(f"OTEL_TRACES_EXPORTER is {exporter}: otlp, console and none are known")
    if (protocol := variables.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")) != "http/protobuf":
        raise UsageError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}: only http/protobuf is spoken")
    share = _share_of(variables)
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter  # noqa: F401 - better here than in a worker
    except ImportError as error:
        raise UsageError("traces need OpenTelemetry: pip install 'plantain-video[tracing]'") from error
    return observed(graph, partial(_processor, exporter, found), share)


def observed(graph: Graph, processor: Any, share: float = 1.0) -> Graph:
    """The graph, with workers that tell a span processor of what they do.

    Args:
        graph: The stages.
        processor: Makes the processor, in the worker.
        share: Of all frames.
    """
    stages = tuple(
        replace(stage, observe=partial(_observe, stage.name, stage.kind, processor, share))
        for stage in graph.stages
    )
    return replace(graph, stages=stages)


def _observe(stage: str, kind: Kind, processor: Any, share: float) -> Observer:
    sampling.share = share
    return SpanObserver(stage, kind, processor())


class SpanObserver:
    """Records what one worker does.

    Args:
        stage, kind: Of the worker.
        processor: Takes the spans.
    """

    def __init__(self, stage: str, kind: Kind, processor: SpanProcessor) -> None:
        self._stage = stage
        self._is_source = kind is Kind.SOURCE
        self._processor = processor

    def __call__(self, call: Call, outputs: Sequence[Any], reply: Reply) -> None:
        """Spans for each frame that the call was about."""
        if self._is_source:
            self._take_frames(outputs, reply)
        elif call.verb in ("run", "fail"):
            self._take_items(call, reply)

    def close(self) -> None:
        """Sends what is left."""
        self._processor.force_flush(_FLUSH_MS)

    def _take_frames(self, outputs: Sequence[Any], reply: Reply) -> None:
        plan_s = sum(seconds for part, seconds in reply.laps if part == "plan")
        begin_ns, end_ns = _times(reply)
        planned_ns = end_ns - round(plan_s * 1e9)
        common = {"plantain.call.frames": len(outputs)}
        for output in outputs:
            header: Header = output.header
            if _is_traced(header):
                taken = {"plantain.decode_ms": output.frame.info.decode_ms, "plantain.age_s": header.age_s}
                self._record(header, "decode", begin_ns, planned_ns, common | taken)
                self._record(
                    header, "plan", planned_ns, end_ns, common | {"plantain.prompts": list(header.prompts)}
                )

    def _take_items(self, call: Call, reply: Reply) -> None:
        begin_ns, end_ns = _times(reply)
        failed = {key_of(refusal.header): refusal.error for refusal in reply.failed}
        common: dict[str, Any] = {"plantain.call.frames": len(call.headers), "plantain.worker": call.worker}
        common |= {f"plantain.call.{part}_ms": seconds * 1e3 for part, seconds in reply.laps}
        for header, wait_ms in zip(call.headers, call.waits_ms, strict=True):
            if _is_traced(header):
                error = failed.get(key_of(header))
                attributes = common | {"plantain.wait_ms": wait_ms}
                self._record(header, self._stage, begin_ns, end_ns, attributes, error)

    def _record(
        self,
        header: Header,
        step: str,
        begin_ns: int,
        end_ns: int,
        attributes: dict[str, Any],
        error: str | None = None,
    ) -> None:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

        place = _STEPS.index(step) if step in _STEPS else len(_STEPS)
        contexts = [
            SpanContext(
                int(trace_id_of(header), 16),
                int(span_id_of(header, name), 16),
                is_remote=False,
                trace_flags=TraceFlags(TraceFlags.SAMPLED),
            )
            for name in (step, *_STEPS[max(0, place - 1) : place])
        ]
        identity: dict[str, Any] = {
            "plantain.stream_id": header.stream_id,
            "plantain.epoch": header.epoch,
            "plantain.frame_index": header.frame_index,
        }
        self._processor.on_end(
            ReadableSpan(
                step,
                context=contexts[0],
                parent=contexts[1] if len(contexts) > 1 else None,
                resource=_resource(),
                attributes=identity | attributes,
                status=Status(StatusCode.UNSET) if error is None else Status(StatusCode.ERROR, error),
                start_time=begin_ns,
                end_time=end_ns,
                instrumentation_scope=_scope(),
            )
        )


def _is_traced(header: Header) -> bool:
    """Frames of streams of which something is asked, as far as they are sampled."""
    is_asked = header.cost > 0 and not header.stream_id.startswith(MARK)
    return is_asked and sampling.takes(trace_id_of(header))


def _times(reply: Reply) -> tuple[int, int]:
    """When a call began and ended, ns since 1970 UTC."""
    return reply.ended_ns - round(reply.busy_s * 1e9), reply.ended_ns


@cache
def _resource() -> Any:
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource

    named = Resource.create()
    if str(named.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        return named.merge(Resource({SERVICE_NAME: "plantain"}))
    return named


@cache
def _scope() -> Any:
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    return InstrumentationScope("plantain")


@cache
def _processor(exporter: str, environment: Environment) -> SpanProcessor:
    """One for each process; a worker on another machine gets the variables of the machine where the run began."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

    os.environ.update(environment)
    processor = BatchSpanProcessor(OTLPSpanExporter() if exporter == "otlp" else ConsoleSpanExporter())
    atexit.register(processor.shutdown)
    return processor


def _share_of(variables: Mapping[str, str]) -> float:
    """What OTEL_TRACES_SAMPLER and its argument say.

    Raises:
        UsageError: If they cannot be read.
    """
    sampler = variables.get("OTEL_TRACES_SAMPLER", "always_on").removeprefix("parentbased_")
    written = variables.get("OTEL_TRACES_SAMPLER_ARG", "1")
    try:
        share = {"always_on": 1.0, "always_off": 0.0, "traceidratio": float(written)}[sampler]
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"OTEL_TRACES_SAMPLER is {sampler} {written}: known are always_on, always_off, traceidratio with a number"
        ) from error
    if not 0 <= share <= 1:
        raise UsageError(f"OTEL_TRACES_SAMPLER_ARG is {written}: it must be between 0 and 1")
    return share
