"""The figures of `plantain.pipeline.metrics` for Prometheus, in its text format, with no need of a Ray dashboard."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version

import structlog
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from plantain.deploy.gpus import gpu_samples
from plantain.operators.errors import UsageError
from plantain.pipeline.config import PipelineConfig
from plantain.pipeline.control import Control
from plantain.pipeline.engine import Engine
from plantain.pipeline.metrics import BUILD, METRICS, Distribution, MetricKind, Sample

log = structlog.get_logger()

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
# Without anybody who asks, figures are read this often; so that whoever asks after the end finds the last ones.
IDLE_EVERY_S = 5.0
# A scrape waits this long for fresh figures, and then takes the last ones.
FRESH_WITHIN_S = 1.0


class Exporter(Collector):
    """Takes figures from an engine's thread and gives them to whoever scrapes.

    Hand `update` to the runner as `on_progress`. Figures are read when somebody asks for them, so that a thousand
    streams that nobody watches cost nothing.

    Args:
        config: What runs, for `plantain_build_info`.
        show: Shows a function the engine soon, in its thread: an idle one has nothing to tell for seconds. None where
            it is never idle.
    """

    def __init__(
        self, config: PipelineConfig, show: Callable[[Callable[[Engine], None]], None] | None = None
    ) -> None:
        self._show = show
        self._build = Sample(
            BUILD, (_version(), config.model.name, config.executor, platform.python_version()), 1.0
        )
        self._samples: Sequence[Sample] = ()
        self._wanted = threading.Event()
        self._fresh = threading.Event()
        self._read_at = float("-inf")
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def update(self, engine: Engine) -> None:
        """Reads the figures, if somebody wants them or it is time; in the engine's thread."""
        now = time.monotonic()
        if not (self._wanted.is_set() or engine.is_done or now >= self._read_at + IDLE_EVERY_S):
            return
        self._wanted.clear()
        self._read_at = now
        self._samples = [self._build, *engine.meter.samples(engine, now), *gpu_samples()]
        self._fresh.set()

    def text(self) -> bytes:
        """The figures in Prometheus' text format (`CONTENT_TYPE`); from any thread."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """The figures for prometheus_client."""
        if self._read_at > float(
            "-inf"
        ):  # before the first ones, and without a run, there is nothing to wait for
            self._fresh.clear()
            self._wanted.set()
            if self._show is not None:
                self._show(self.update)
            self._fresh.wait(FRESH_WITHIN_S)
        return families(self._samples)

    def describe(self) -> Iterable[Metric]:
        """Names that nobody else may register."""
        return families([])

    @contextmanager
    def listening(self, address: str) -> Iterator[int]:
        """Answers scrapes until the block ends.

        Args:
            address: PORT of this machine only, or HOST:PORT; port 0 takes one that is free.

        Yields:
            The port.

        Raises:
            UsageError: If nobody can listen there.
        """
        host, port = _parse(address)
        try:
            server, thread = start_http_server(port, host, self._registry)
        except OSError as error:
            raise UsageError(
                f"--metrics {address}: {error.strerror or error}; choose another port"
            ) from error
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


@contextmanager
def watching(
    config: PipelineConfig, address: str | None, control: Control | None = None
) -> Iterator[Callable[[Engine], None]]:
    """What a run publishes of itself while the block lasts: to Prometheus, and on Ray to Ray's dashboard.

    Args:
        config: What runs.
        address: Where Prometheus finds it, as `Exporter.listening` takes it; None for nowhere.
        control: Of the run, if it has one.

    Yields:
        What the runner's `on_progress` is to call.
    """
    publish: list[Callable[[Engine], None]] = []
    with ExitStack() as stack:
        if address is not None:
            exporter = Exporter(config, None if control is None else control.show)
            port = stack.enter_context(exporter.listening(address))
            log.info("metrics", port=port)
            publish.append(exporter.update)
        if config.executor == "ray":
            from plantain.deploy.ray.metrics import RayFigures

            publish.append(RayFigures().update)

        def update(engine: Engine) -> None:
            for one in publish:
                one(engine)

        yield update


def families(samples: Iterable[Sample]) -> list[Metric]:
    """Samples as prometheus_client has them; every known metric is there, be it without samples."""
    by_name: dict[str, CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily] = {}
    for metric in METRICS:
        match metric.kind:
            case MetricKind.COUNTER:
                by_name[metric.name] = CounterMetricFamily(
                    metric.name.removesuffix("_total"), metric.help, labels=metric.labels
                )
            case MetricKind.GAUGE:
                by_name[metric.name] = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            case MetricKind.HISTOGRAM:
                by_name[metric.name] = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for sample in samples:
        family = by_name[sample.metric.name]
        if isinstance(family, HistogramMetricFamily):
            assert isinstance(sample.value, Distribution)
            family.add_metric(sample.labels, _cumulated(sample, sample.value), sample.value.total)
        else:
            assert not isinstance(sample.value, Distribution)
            family.add_metric(sample.labels, sample.value)
    return list(by_name.values())


def _cumulated(sample: Sample, content: Distribution) -> list[tuple[str, float]]:
    """A histogram's classes as Prometheus wants them: each with all that are below it."""
    ends = [*(f"{end:g}" for end in sample.metric.buckets), "+Inf"]
    count = 0
    classes = []
    for end, here in zip(ends, content.counts, strict=True):
        count += here
        classes.append((end, float(count)))
    return classes


def _parse(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise UsageError(f"--metrics {address}: must be PORT or HOST:PORT, such as 9464 or 0.0.0.0:9464")
    return host.strip("[]") or "127.0.0.1", int(port)


def _version() -> str:
    try:
        return version("plantain-video")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"
