"""Every figure that Plantain publishes: its name, kind, unit, labels and meaning in one table.

Names follow Prometheus: base units (seconds, bytes, ratio) in the name, `_total` behind what only grows. Labels are
bounded: streams and reasons by the limits of `plantain.pipeline.engine.meter`, the others by what a run is made of.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum

_LATENCIES_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0)
_DRAWINGS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_ITEMS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


class MetricKind(StrEnum):
    """What may be done with a figure: a counter only grows, a gauge is a state, a histogram counts in classes."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure.

    Attributes:
        name: As Prometheus has it.
        kind: What may be done with it.
        help: One sentence.
        labels: What it is broken down by.
        buckets: Upper ends of a histogram's classes, in the figure's unit; one without an end follows.
    """

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_C, _G, _H = MetricKind.COUNTER, MetricKind.GAUGE, MetricKind.HISTOGRAM

DECODED = Metric("plantain_frames_decoded_total", _C, "Frames that the source has delivered.", ("stream",))
ANSWERED = Metric(
    "plantain_frames_answered_total",
    _C,
    "Frames answered to every prompt, and taken by the sinks.",
    ("stream",),
)
LOST = Metric(
    "plantain_frames_lost_total",
    _C,
    "Frames that were wanted and that nobody will ever look at, by reason.",
    ("stream", "reason"),
)
SKIPPED = Metric(
    "plantain_frames_skipped_total",
    _C,
    "Frames that were let go since nobody wanted them, by reason.",
    ("stream", "reason"),
)
FAILED = Metric(
    "plantain_frames_failed_total",
    _C,
    "Frames not answered to some prompt, by the stage that failed.",
    ("stream", "reason"),
)
IN_FLIGHT = Metric("plantain_frames_in_flight", _G, "Frames between decoder and sink.", ("stream",))
LATENCY = Metric(
    "plantain_result_latency_seconds",
    _H,
    "From a frame's capture (of files: its decoding) until the sinks took its answers.",
    ("stream",),
    _LATENCIES_S,
)
FRAME_AGE = Metric(
    "plantain_stream_frame_age_seconds",
    _G,
    "How long ago a live stream that is read gave its newest frame.",
    ("stream",),
)
STATE = Metric(
    "plantain_stream_state",
    _G,
    "1 for the state that a stream is in, 0 for those that it was in before.",
    ("stream", "state"),
)
RECONNECTS = Metric(
    "plantain_stream_reconnects_total",
    _C,
    "How often a live stream came back after it was lost.",
    ("stream",),
)
RUNG = Metric(
    "plantain_stream_rung", _G, "How much a stream has given up under overload; 0 is nothing.", ("stream",)
)
STREAMS = Metric("plantain_streams", _G, "Streams by state.", ("state",))
COMMIT_AGE = Metric(
    "plantain_sink_commit_age_seconds",
    _G,
    "How long results that the sinks took have not become durable; 0 if all have.",
    ("stream",),
)
SPOOL_MESSAGES = Metric(
    "plantain_sink_waiting_messages", _G, "What a sink has promised, and cannot pass on just now.", ("sink",)
)
SPOOL_BYTES = Metric("plantain_sink_spool_bytes", _G, "Of that, on disk.", ("sink",))
SPOOL_FILL = Metric(
    "plantain_sink_spool_fill_ratio", _G, "Share of what a sink may keep on disk that it keeps.", ("sink",)
)
SPOOL_AGE = Metric(
    "plantain_sink_spool_age_seconds",
    _G,
    "How long the oldest of it has waited on disk; 0 if nothing does.",
    ("sink",),
)
SPOOL_LOST = Metric(
    "plantain_sink_lost_messages_total", _C, "For which there was no room on disk.", ("sink",)
)
DELETED = Metric(
    "plantain_deleted_bytes_total", _C, "Results deleted as `output.keep` says, by what they were.", ("what",)
)
ANSWERS = Metric("plantain_answers_total", _C, "Prompts answered, by task.", ("task",))
BUSY = Metric("plantain_stage_busy_seconds_total", _C, "Time that a stage's operators worked.", ("stage",))
PARTS = Metric(
    "plantain_operator_seconds_total",
    _C,
    "What the busy time of the stages was made of.",
    ("stage", "operator"),
)
WORKERS = Metric("plantain_stage_workers", _G, "Copies of a stage.", ("stage",))
CALLS = Metric(
    "plantain_stage_calls_in_flight", _G, "Calls that a stage's copies have been given.", ("stage",)
)
QUEUE = Metric("plantain_stage_queue_items", _G, "Frames that wait for a stage.", ("stage",))
QUEUE_AGE = Metric(
    "plantain_stage_queue_age_seconds", _G, "How long the oldest frame has waited for a stage.", ("stage",)
)
DEATHS = Metric(
    "plantain_worker_restarts_total", _C, "Copies of a stage that died and were made anew.", ("stage",)
)
BATCH = Metric("plantain_batch_items", _H, "Frames given to a stage in one call.", ("stage",), _ITEMS)
COST = Metric("plantain_cost_usd_total", _C, "What the answers of a stage cost, US dollars.", ("stage",))
DRAWINGS = Metric("plantain_drawings_total", _C, "Drawings that the model made.")
DRAWING_TIME = Metric(
    "plantain_drawing_seconds",
    _H,
    "The model's time for one drawing, as its share of a batch.",
    (),
    _DRAWINGS_S,
)
QUERY_LATENCY = Metric(
    "plantain_query_latency_seconds",
    _H,
    "From a query's frame waiting for the model until it is answered.",
    (),
    _LATENCIES_S,
)
GPU_BUSY = Metric("plantain_gpu_utilisation_ratio", _G, "Share of time that the GPU was busy.", ("gpu",))
GPU_USED = Metric("plantain_gpu_memory_used_bytes", _G, "GPU memory in use.", ("gpu",))
GPU_MEMORY = Metric("plantain_gpu_memory_bytes", _G, "GPU memory that there is.", ("gpu",))
BUILD = Metric(
    "plantain_build_info", _G, "Always 1; what is running.", ("version", "model", "executor", "python")
)

METRICS: tuple[Metric, ...] = (
    DECODED, ANSWERED, LOST, SKIPPED, FAILED, IN_FLIGHT, LATENCY, FRAME_AGE, STATE, RECONNECTS, RUNG, STREAMS,
    COMMIT_AGE, SPOOL_MESSAGES, SPOOL_BYTES, SPOOL_FILL, SPOOL_AGE, SPOOL_LOST, DELETED, ANSWERS, BUSY, PARTS,
    WORKERS, CALLS, QUEUE, QUEUE_AGE, DEATHS, BATCH, COST, DRAWINGS, DRAWING_TIME, QUERY_LATENCY, GPU_BUSY, GPU_USED,
    GPU_MEMORY, BUILD,
)  # fmt: skip


@dataclass(slots=True)
class Distribution:
    """A histogram's content.

    Attributes:
        counts: Observations in each class, not cumulated; the last class has no upper end.
        total: Sum of the observations.
    """

    counts: list[int]
    total: float = 0.0

    @classmethod
    def of(cls, metric: Metric) -> Distribution:
        """An empty one."""
        return cls([0] * (len(metric.buckets) + 1))

    def observe(self, metric: Metric, value: float, times: int = 1) -> None:
        """Counts a value; one that equals the end of a class belongs to it."""
        self.counts[bisect_left(metric.buckets, value)] += times
        self.total += value * times

    def plus(self, other: Distribution) -> Distribution:
        """Both together."""
        counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        return Distribution(counts, self.total + other.total)


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure for one combination of its labels' values, in the order of `metric.labels`."""

    metric: Metric
    labels: tuple[str, ...]
    value: float | Distribution
