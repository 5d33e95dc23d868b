"""What Plantain says of itself: every figure against the books, bounded labels, and Prometheus' text format."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.request import urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from plantain.deploy.gpus import gpu_samples
from plantain.deploy.job import run_job
from plantain.deploy.metrics import Exporter, families
from plantain.operators.errors import UsageError
from plantain.operators.health import HealthEvent
from plantain.pipeline.config import PipelineConfig, check
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.engine.meter import MAX_REASONS, OTHERS
from plantain.pipeline.engine.metrics import (
    ANSWERED,
    ANSWERS,
    BATCH,
    COMMIT_AGE,
    DEATHS,
    DECODED,
    DRAWING_TIME,
    DRAWINGS,
    FAILED,
    FRAME_AGE,
    IN_FLIGHT,
    LATENCY,
    LOST,
    METRICS,
    PARTS,
    QUERY_LATENCY,
    RECONNECTS,
    SKIPPED,
    STREAMS,
    Distribution,
    Metric,
    MetricKind,
    Sample,
)
from plantain.pipeline.engine.stream import Phase, Stream
from tests.assets import clips
from tests.numbers import OrderedSink, Plan, frame, graph_of, starts_of
from tests.simulation import World

Figures = dict[tuple[str, tuple[str, ...]], float]


def figures(samples: list[Sample]) -> Figures:
    """Counters, and the counts of histograms."""
    found = {}
    for sample in samples:
        value = sum(sample.value.counts) if isinstance(sample.value, Distribution) else sample.value
        assert (sample.metric.name, sample.labels) not in found, "a figure is there twice"
        found[sample.metric.name, sample.labels] = value
    return found


def of(samples: list[Sample], metric: Metric, *labels: str) -> float:
    return figures(samples)[metric.name, labels]


def world(plans: dict[str, Plan], *, seed: int = 0, deaths: int = 0) -> World:
    return World(graph_of(plans, OrderedSink()), starts_of(plans), seed, deaths)


@given(seed=st.integers(0, 10_000), deaths=st.integers(0, 4))
def test_counters_never_fall_whoever_dies_and_end_as_the_books_do(seed: int, deaths: int) -> None:
    lived = world({"a": Plan(23, infer_fails=frozenset({3})), "b": Plan(11)}, seed=seed, deaths=deaths)
    before: Figures = {}
    while not lived.engine.is_done:
        lived.step()
        now = figures(lived.engine.meter.samples(lived.engine, lived.now))
        for metric in METRICS:
            if metric.kind is MetricKind.GAUGE:
                continue
            for key, value in before.items():
                assert key[0] != metric.name or now[key] >= value, key
        before = now
    for stream in lived.engine.streams.values():
        account, name = stream.account, stream.stream_id
        counted = before[DECODED.name, (name,)], before[ANSWERED.name, (name,)]
        if stream.phase is Phase.DONE:
            assert counted == (account.decoded, account.results)
        else:  # given up after the last of several deaths: its books are those of what is stored
            assert counted >= (account.decoded, account.results)
        assert before[IN_FLIGHT.name, (name,)] == 0
        for stage, count in account.failed.items():
            assert before[FAILED.name, (name, stage)] >= count
    restarts = sum(value for (name, _), value in before.items() if name == DEATHS.name)
    assert restarts == lived.num_deaths


def test_every_result_has_a_latency_and_every_call_a_size() -> None:
    lived = world({"a": Plan(20)})
    lived.run()
    samples = lived.engine.meter.samples(lived.engine, lived.now)
    assert of(samples, LATENCY, "a") == 20
    batches = Counter(call.stage for call in lived.calls if call.verb == "run")
    for stage, count in batches.items():
        assert of(samples, BATCH, stage) == count
    assert of(samples, STREAMS, "done") == 1


def test_the_latency_of_a_live_frame_counts_from_its_capture() -> None:
    lived = world({"a": Plan(1)})
    source = lived.workers["read", 0].operator
    plain = type(source).read

    class Aged:
        def __getattr__(self, name: str) -> object:
            return getattr(source, name)

        def read(self, stream_id: str, max_frames: int) -> list[object]:
            frames = plain(source, stream_id, max_frames)
            return [replace(frame, header=replace(frame.header, age_s=3.0)) for frame in frames]

    for index in (0, 1):
        lived.workers["read", index].operator = Aged()
    lived.run()
    (latency,) = (s.value for s in lived.engine.meter.samples(lived.engine, 0.0) if s.metric is LATENCY)
    assert isinstance(latency, Distribution)
    assert 3.0 <= latency.total < 5.0


def test_frames_of_which_nothing_was_asked_have_no_latency(tmp_path: Path) -> None:
    config = config_of(tmp_path, prompts=["depth@5fps"])
    exporter = Exporter(config)
    outcome = run_job(config, on_progress=exporter.update)
    found = parsed(exporter.text().decode())
    for stream in outcome.streams:
        account, label = stream.account, ("stream", stream.stream_id)
        assert account.skipped["not due"] > 0
        assert found[SKIPPED.name][("reason", "not due"), label] == account.skipped["not due"]
        taken = account.results + account.failed.total()
        assert 0 < found[f"{LATENCY.name}_count"][label,] == taken


def test_streams_beyond_the_limit_are_counted_together_and_nothing_is_lost_when_they_go(monkeypatch) -> None:
    monkeypatch.setattr("plantain.pipeline.engine.meter.MAX_STREAMS", 2)
    lived = world({f"cam{k}": Plan(4) for k in range(6)})
    lived.run()
    samples = lived.engine.meter.samples(lived.engine, lived.now)
    labels = {sample.labels[0] for sample in samples if sample.metric is DECODED}
    assert len(labels) == 3
    assert OTHERS in labels
    assert of(samples, DECODED, OTHERS) == 16
    assert of(samples, LATENCY, OTHERS) == 16
    for name in [name for name in lived.engine.streams if name not in labels]:
        del lived.engine.streams[name]
    samples = lived.engine.meter.samples(lived.engine, lived.now)
    assert of(samples, DECODED, OTHERS) == 16
    assert of(samples, LATENCY, OTHERS) == 16


def test_a_stream_that_was_taken_away_has_no_figures_and_one_that_comes_back_counts_on() -> None:
    engine = Engine(graph_of({"a": Plan(1)}, OrderedSink()), starts_of({"a": Plan(1)}))
    engine.streams["a"].account.decoded = 7
    assert of(engine.meter.samples(engine, 0.0), DECODED, "a") == 7
    engine.streams["a"] = Stream.of(starts_of({"a": Plan(1)})[0])
    engine.streams["a"].account.decoded = 2
    assert of(engine.meter.samples(engine, 0.0), DECODED, "a") == 9
    del engine.streams["a"]
    assert not [s for s in engine.meter.samples(engine, 0.0) if "a" in s.labels]


def test_reasons_are_bounded() -> None:
    engine = Engine(graph_of({"a": Plan(1)}, OrderedSink()), starts_of({"a": Plan(1)}))
    for k in range(3 * MAX_REASONS):
        engine.streams["a"].account.lost[f"whim {k}"] = 1
        samples = engine.meter.samples(engine, 0.0)
    lost = {s.labels[1]: s.value for s in samples if s.metric is LOST}
    assert len(lost) == MAX_REASONS + 1
    assert lost["whim 0"] == 1
    assert OTHERS in lost


def event(state: str, epoch: int) -> HealthEvent:
    return HealthEvent("a", epoch, state, "", 0)  # type: ignore[arg-type]  # one of the states


def test_a_camera_that_is_live_again_has_reconnected() -> None:
    engine = Engine(graph_of({"a": Plan(1)}, OrderedSink()), starts_of({"a": Plan(1)}))
    stream = engine.streams["a"]
    stream.start = replace(stream.start, is_live=True)
    told = [
        ("connecting", 0),
        ("live", 0),
        ("lost", 0),
        ("live", 1),
        ("silent", 1),
        ("live", 1),
        ("silent", 1),
        ("live", 2),
    ]
    for state, epoch in told:
        stream.take_event(event(state, epoch))
    assert of(engine.meter.samples(engine, 0.0), RECONNECTS, "a") == 2


def config_of(folder: Path, **changes: object) -> PipelineConfig:
    clip = clips.make(folder / "clip.mp4", 40)
    return check(
        {
            "streams": [
                {"id": "north", "url": str(clip)},
                {"id": "south", "url": str(clip), "max_frames": 10},
            ],
            "prompts": ["depth", "instances:bar"],
            "model": {"name": "tests.plugins:PickyModel", "options": {"refuses": "3,4"}},
            "output": {"out": str(folder / "out"), "segment_frames": 8},
            **changes,
        }
    )


def parsed(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Prometheus' own parser: each sample by its name and its labels in order."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_what_is_scraped_equals_the_runs_own_account(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    exporter = Exporter(config)
    with exporter.listening("0") as port:
        outcome = run_job(config, on_progress=exporter.update)
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            found = parsed(answer.read().decode())
    for stream in outcome.streams:
        account, label = stream.account, ("stream", stream.stream_id)
        assert account.results > 0
        assert found[DECODED.name][label,] == account.decoded
        assert found[ANSWERED.name][label,] == account.results
        assert found[FAILED.name][("reason", "infer"), label] == account.failed["infer"] == 2
        assert found[IN_FLIGHT.name][label,] == 0
        assert found[COMMIT_AGE.name][label,] == 0
        assert found[f"{LATENCY.name}_count"][label,] == account.results + account.failed.total()
    answered = sum(stream.account.results for stream in outcome.streams)
    assert found[ANSWERS.name] == {(("task", "depth"),): answered, (("task", "instances"),): answered}
    for stage, busy_s in outcome.busy_s.items():
        assert found["plantain_stage_busy_seconds_total"][("stage", stage),] == pytest.approx(busy_s)
    parts = {dict(key)["operator"] for key in found[PARTS.name]}
    assert parts >= {"read", "plan", "model", "codec", "track", "analyse", "write"}
    assert found[DRAWINGS.name][()] >= 2 * answered
    assert found[f"{DRAWING_TIME.name}_count"][()] == found[DRAWINGS.name][()]
    (build,) = found["plantain_build_info"]
    assert ("model", "tests.plugins:PickyModel") in build


def test_a_live_stream_says_how_old_its_newest_frame_is_and_a_file_does_not(tmp_path: Path) -> None:
    clip = clips.make(tmp_path / "clip.mp4", 40)
    camera = {"id": "camera", "url": str(clip), "max_frames": 8, "options": {"realtime": "yes"}}
    config = config_of(tmp_path, streams=[camera, {"id": "file", "url": str(clip)}])
    ages: set[str] = set()

    def look(engine: Engine) -> None:
        for sample in engine.meter.samples(engine, time.monotonic()):
            if sample.metric is FRAME_AGE:
                ages.add(sample.labels[0])

    run_job(config, on_progress=look)
    assert ages <= {"camera"}


def test_names_say_their_unit_and_counters_end_in_total() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert re.fullmatch(r"plantain_[a-z_]+[a-z]", metric.name)
        assert metric.name.endswith("_total") == (metric.kind is MetricKind.COUNTER)
        assert metric.help.endswith(".")
        assert bool(metric.buckets) == (metric.kind is MetricKind.HISTOGRAM)
        assert not {"ms", "milliseconds", "percent", "mb"} & set(metric.name.split("_"))


def test_what_the_text_escapes_comes_back() -> None:
    odd = 'lost "it"\n\\ again'
    text = families([Sample(LOST, ("a", odd), 1.0)])
    (sample,) = (s for family in text for s in family.samples)
    assert sample.labels["reason"] == odd
    exporter = Exporter(check({"streams": [{"url": "x.mp4", "id": "x"}], "prompts": ["depth"]}))
    exporter._samples = [Sample(LOST, ("a", odd), 1.0)]
    assert parsed(exporter.text().decode())[LOST.name] == {(("reason", odd), ("stream", "a")): 1.0}


@pytest.mark.parametrize("address", ["http", "1.2.3.4", "70000", ":", "-1"])
def test_an_address_that_is_none_is_named(address: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--metrics"), Exporter(config_of(tmp_path)).listening(address):
        raise AssertionError("it listens")


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    exporter = Exporter(config_of(tmp_path))
    with (
        exporter.listening("0") as port,
        pytest.raises(UsageError, match="choose another port"),
        Exporter(config_of(tmp_path)).listening(str(port)),
    ):
        raise AssertionError("it listens")


class Driver:
    """NVML with two GPUs, of which one does not tell how busy it is."""

    NVMLError = ValueError

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - NVML's name
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802 - NVML's name
        return index

    def nvmlDeviceGetMemoryInfo(self, gpu: int) -> SimpleNamespace:  # noqa: N802 - NVML's name
        return SimpleNamespace(used=1 << 30, total=4 << 30)

    def nvmlDeviceGetUtilizationRates(self, gpu: int) -> SimpleNamespace:  # noqa: N802 - NVML's name
        if gpu:
            raise ValueError("not supported")
        return SimpleNamespace(gpu=25)


def test_gpus_are_told_of_as_far_as_their_driver_says() -> None:
    assert figures(gpu_samples(Driver())) == {
        ("plantain_gpu_utilisation_ratio", ("0",)): 0.25,
        ("plantain_gpu_memory_used_bytes", ("0",)): 1 << 30,
        ("plantain_gpu_memory_bytes", ("0",)): 4 << 30,
        ("plantain_gpu_memory_used_bytes", ("1",)): 1 << 30,
        ("plantain_gpu_memory_bytes", ("1",)): 4 << 30,
    }


def test_every_frame_of_a_query_has_a_latency_and_no_stream_of_its_own() -> None:
    lived = world({"a": Plan(6)})
    frames = [frame("?1", 0), frame("?1", 1)]
    lived.engine.queries.ask("?1", [each.header for each in frames], frames, lived.now)
    lived.asked.add("?1")
    lived.run()
    samples = lived.engine.meter.samples(lived.engine, lived.now)
    assert of(samples, QUERY_LATENCY) == 2
    assert {sample.labels[0] for sample in samples if sample.metric is DECODED} == {"a"}
