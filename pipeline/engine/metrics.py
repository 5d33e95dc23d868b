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


def _counter(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(name, MetricKind.COUNTER, meaning, labels)


def _gauge(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(name, MetricKind.GAUGE, meaning, labels)


def _histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Metric:
    return Metric(name, MetricKind.HISTOGRAM, meaning, labels, buckets)


DECODED = _counter("plantain_frames_decoded_total", "Frames that the source has delivered.", "stream")
ANSWERED = _counter(
    "plantain_frames_answered_total", "Frames answered to every prompt, and taken by the sinks.", "stream"
)
LOST = _counter(
    "plantain_frames_lost_total",
    "Frames that were wanted and that nobody will ever look at, by reason.",
    "stream",
    "reason",
)
SKIPPED = _counter(
    "plantain_frames_skipped_total",
    "Frames that were let go since nobody wanted them, by reason.",
    "stream",
    "reason",
)
FAILED = _counter(
    "plantain_frames_failed_total",
    "Frames not answered to some prompt, by the stage that failed.",
    "stream",
    "reason",
)
IN_FLIGHT = _gauge("plantain_frames_in_flight", "Frames between decoder and sink.", "stream")
LATENCY = _histogram(
    "plantain_result_latency_seconds",
    "From a frame's capture (of files: its decoding) until the sinks took its answers.",
    _LATENCIES_S,
    "stream",
)
FRAME_AGE = _gauge(
    "plantain_stream_frame_age_seconds",
    "How long ago a live stream that is read gave its newest frame.",
    "stream",
)
STATE = _gauge(
    "plantain_stream_state",
    "1 for the state that a stream is in, 0 for those that it was in before.",
    "stream",
    "state",
)
RECONNECTS = _counter(
    "plantain_stream_reconnects_total", "How often a live stream came back after it was lost.", "stream"
)
RUNG = _gauge(
    "plantain_stream_rung", "How much a stream has given up under overload; 0 is nothing.", "stream"
)
STREAMS = _gauge("plantain_streams", "Streams by state.", "state")
COMMIT_AGE = _gauge(
    "plantain_sink_commit_age_seconds",
    "How long results that the sinks took have not become durable; 0 if all have.",
    "stream",
)
SPOOL_MESSAGES = _gauge(
    "plantain_sink_waiting_messages", "What a sink has promised, and cannot pass on just now.", "sink"
)
SPOOL_BYTES = _gauge("plantain_sink_spool_bytes", "Of that, on disk.", "sink")
SPOOL_FILL = _gauge(
    "plantain_sink_spool_fill_ratio", "Share of what a sink may keep on disk that it keeps.", "sink"
)
SPOOL_AGE = _gauge(
    "plantain_sink_spool_age_seconds",
    "How long the oldest of it has waited on disk; 0 if nothing does.",
    "sink",
)
SPOOL_LOST = _counter("plantain_sink_lost_messages_total", "For which there was no room on disk.", "sink")
ANSWERS = _counter("plantain_answers_total", "Prompts answered, by task.", "task")
BUSY = _counter("plantain_stage_busy_seconds_total", "Time that a stage's operators worked.", "stage")
PARTS = _counter(
    "plantain_operator_seconds_total", "What the busy time of the stages was made of.", "stage", "operator"
)
DELETED = _counter(
    "plantain_deleted_bytes_total", "Results deleted as `output.keep` says, by what they were.", "what"
)
WORKERS = _gauge("plantain_stage_workers", "Copies of a stage.", "stage")
CALLS = _gauge("plantain_stage_calls_in_flight", "Calls that a stage's copies have been given.", "stage")
QUEUE = _gauge("plantain_stage_queue_items", "Frames that wait for a stage.", "stage")
QUEUE_AGE = _gauge(
    "plantain_stage_queue_age_seconds", "How long the oldest frame has waited for a stage.", "stage"
)
DEATHS = _counter(
    "plantain_worker_restarts_total", "Copies of a stage that died and were made anew.", "stage"
)
BATCH = _histogram("plantain_batch_items", "Frames given to a stage in one call.", _ITEMS, "stage")
COST = _counter("plantain_cost_usd_total", "What the answers of a stage cost, US dollars.", "stage")
DRAWINGS = _counter("plantain_drawings_total", "Drawings that the model made.")
DRAWING_TIME = _histogram(
    "plantain_drawing_seconds", "The model's time for one drawing, as its share of a batch.", _DRAWINGS_S
)
QUERY_LATENCY = _histogram(
    "plantain_query_latency_seconds",
    "From a query's frame waiting for the model until it is answered.",
    _LATENCIES_S,
)
GPU_BUSY = _gauge("plantain_gpu_utilisation_ratio", "Share of time that the GPU was busy.", "gpu")
GPU_USED = _gauge("plantain_gpu_memory_used_bytes", "GPU memory in use.", "gpu")
GPU_MEMORY = _gauge("plantain_gpu_memory_bytes", "GPU memory that there is.", "gpu")
BUILD = _gauge("plantain_build_info", "Always 1; what is running.", "version", "model", "executor", "python")

METRICS: tuple[Metric, ...] = tuple(each for each in [*globals().values()] if isinstance(each, Metric))
"""All of the above."""


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
