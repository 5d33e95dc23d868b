"""The figures of `pipeline.metrics` through `ray.util.metrics`: on Ray's dashboard, and in what its agents export.

Ray's names have `ray_` in front. It takes increments and single observations, so the figures are sent as what has
been added since the last time, from the process of the engine.
"""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.util import metrics as ray_metrics

from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.engine.metrics import Distribution, Metric, MetricKind, Sample

# Ray's agents collect every few seconds; more often would be lost.
FLUSH_EVERY_S = 5.0


class RayFigures:
    """Sends an engine's figures to Ray. Hand `update` to the runner as `on_progress`."""

    def __init__(self) -> None:
        self._instruments: dict[Metric, Any] = {}
        self._sent: dict[tuple[Metric, tuple[str, ...]], float | Distribution] = {}
        self._sent_at = float("-inf")

    def update(self, engine: Engine) -> None:
        """Sends what is new, now and then and at the end."""
        now = time.monotonic()
        if not ray.is_initialized() or not (engine.is_done or now >= self._sent_at + FLUSH_EVERY_S):
            return
        self._sent_at = now
        for sample in engine.meter.samples(engine, now):
            self._send(sample)

    def _send(self, sample: Sample) -> None:
        metric, key = sample.metric, (sample.metric, sample.labels)
        instrument = self._instruments.get(metric)
        if instrument is None:
            instrument = self._instruments[metric] = _instrument(metric)
        tags = dict(zip(metric.labels, sample.labels, strict=True))
        before = self._sent.get(key)
        self._sent[key] = sample.value
        if isinstance(sample.value, Distribution):
            known = before if isinstance(before, Distribution) else Distribution.of(metric)
            # Of a single observation only its class is known; it is told as that class's upper end.
            ends = (*metric.buckets, 2 * metric.buckets[-1])
            for end, now, then in zip(ends, sample.value.counts, known.counts, strict=True):
                for _ in range(now - then):
                    instrument.observe(end, tags=tags)
        elif metric.kind is MetricKind.GAUGE:
            instrument.set(sample.value, tags=tags)
        else:
            news = sample.value - (before if isinstance(before, float | int) else 0.0)
            if news > 0:
                instrument.inc(news, tags=tags)


def _instrument(metric: Metric) -> Any:
    """Ray's counterpart, which adds `_total` to a counter by itself."""
    match metric.kind:
        case MetricKind.COUNTER:
            return ray_metrics.Counter(metric.name.removesuffix("_total"), metric.help, metric.labels)
        case MetricKind.GAUGE:
            return ray_metrics.Gauge(metric.name, metric.help, metric.labels)
        case MetricKind.HISTOGRAM:
            return ray_metrics.Histogram(metric.name, metric.help, list(metric.buckets), metric.labels)
