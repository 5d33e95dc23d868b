"""The service: how much a query costs beyond the model's own pass, alone, beside streams, and with 32 clients.

The embedded model, pictures of 768x448, one task, masks at the model's resolution; `plantain serve` with and without
Ray, and what Ray Serve costs without Plantain. The machine's load is printed beside each figure: they are only worth
something on a quiet one. PLANTAIN_BENCH_QUERIES sets how many queries each figure is from (300), PLANTAIN_BENCH_GROWTH
how many for growth (2000; 20000 is the long form).
"""

import io
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
import yaml
from PIL import Image

from plantain.deploy.client import Client
from plantain.operators.models import load_drawing, spec_of
from plantain.operators.models.plantain import HANDFUL
from plantain.operators.prompts import Prompt
from plantain.operators.scenes import Scene
from tests.bench.material import make_clip, report
from tests.serving import image

CACHE = Path(tempfile.gettempdir()) / "plantain-bench"
TASK = "instances:car"
NUM_QUERIES = int(os.environ.get("PLANTAIN_BENCH_QUERIES", "300"))
NUM_GROWTH = int(os.environ.get("PLANTAIN_BENCH_GROWTH", "2000"))
NUM_CLIENTS = 32
NUM_CAMERAS = 6  # of 25 frames a second: more than two cores draw
KEYFRAMES_EVERY_S = 2.0
TURN_S = 10.0
IDLE_S = 20.0
TURNS = 5
ROUNDS = 10
PAUSE_S = 0.01
SETTLE_S = 5.0
START_S = 300.0


def main() -> None:
    """Prints the figures."""
    picture = Scene(5, split="heldout", size_hw=(448, 768)).render(0.0).image
    file = image("JPEG", np.asarray(picture), quality=90)
    _bare_serve(file)
    with _bare_pass(np.asarray(picture)) as bare_pass:
        for executor in ("threads", "ray"):
            bare_s = _alone(executor, file, bare_pass)
            _beside_streams(executor, file, bare_pass, bare_s)


def _bare_serve(file: bytes) -> None:
    """Ray Serve without anything of ours: what no service on it can go below."""
    with (
        tempfile.TemporaryDirectory() as name,
        _started(["tests.bench.bare_serve"], Path(name)) as (base, process, ready_s),
        httpx.Client(trust_env=False) as client,
    ):
        _say("serve_bare_ready_s", ready_s, None, "ray")
        time.sleep(SETTLE_S)
        _say("serve_bare_idle_cpu_percent", _idle_percent(process), None, "ray")

        def ask() -> float:
            begun = time.perf_counter()
            client.post(base, content=file).raise_for_status()
            return time.perf_counter() - begun

        p50, p99 = _percentiles([ask() for _ in range(NUM_QUERIES)][20:])
        _say("serve_bare_query_ms", p50 * 1e3, None, "ray", p99_ms=round(p99 * 1e3, 1))


def _alone(executor: str, file: bytes, bare_pass: Callable[[], float]) -> float:
    """On an idle engine; gives the median of bare passes, in seconds, measured in turn with the queries."""
    with _service(executor, []) as (base, process, ready_s):
        _say("serve_ready_s", ready_s, 15, executor)
        with Client(base) as plantain:
            _ask(plantain, file, 20)
            time.sleep(SETTLE_S)
            _say("serve_idle_cpu_percent", _idle_percent(process), 5, executor)
            times_s: list[float] = []
            bares_s: list[float] = []
            for _ in range(ROUNDS):
                for _ in range(NUM_QUERIES // ROUNDS):
                    time.sleep(PAUSE_S)  # one behind the other they would find everything in the caches
                    bares_s.append(bare_pass())
                times_s += _ask(plantain, file, NUM_QUERIES // ROUNDS)
            bare_s = statistics.median(bares_s)
            p50, p99 = _percentiles(times_s)
            _say("serve_bare_pass_ms", bare_s * 1e3, None, executor)
            _say("serve_query_p50_passes", p50 / bare_s, 1.5, executor, ms=round(p50 * 1e3, 1))
            _say("serve_query_p99_passes", p99 / bare_s, 3.0, executor, ms=round(p99 * 1e3, 1))
        _crowd(executor, base, file)
        _growth(executor, base, process, file)
    return bare_s


def _crowd(executor: str, base: str, file: bytes) -> None:
    """Many clients at a time."""
    each = max(2, NUM_QUERIES // NUM_CLIENTS)
    items, calls, _ = _batches(base)
    times_s, errors, wall_s = _together(base, file, NUM_CLIENTS, each)
    more_items, more_calls, _ = _batches(base)
    p50, p99 = _percentiles(times_s)
    _say("serve_crowd_errors", errors, 0, executor, clients=NUM_CLIENTS, queries=len(times_s))
    _say("serve_crowd_queries_per_s", len(times_s) / wall_s, None, executor)
    _say("serve_crowd_p50_ms", p50 * 1e3, None, executor, p99_ms=round(p99 * 1e3, 1))
    mean = (more_items - items) / max(1, more_calls - calls)
    _say("serve_crowd_batch_items", mean, 0.75 * HANDFUL, executor, at_most=False)  # a copy for each core


def _growth(executor: str, base: str, process: psutil.Process, file: bytes) -> None:
    """Memory before and after many queries."""
    _together(base, file, 8, NUM_GROWTH // 32)
    before = _memory(process)
    _together(base, file, 8, NUM_GROWTH // 8)
    _say("serve_growth_mb", (_memory(process) - before) / 1e6, 20, executor, queries=NUM_GROWTH)


def _beside_streams(executor: str, file: bytes, bare_pass: Callable[[], float], bare_s: float) -> None:
    """While cameras keep the pool saturated.

    How much of their rate they may lose is measured, too: what they lose while this process does the queries' own
    work, decoding the picture and a bare pass, as often as it asked before. A frame that a query displaces has been
    decoded all the same, so that a query costs more than one.
    """
    clip = make_clip(CACHE / "camera-720.mp4", 300, (720, 1280), b_frames=0)
    camera = {"url": str(clip), "options": {"realtime": "yes", "loop": "yes"}}
    streams = [{"id": f"cam{k}", **camera} for k in range(NUM_CAMERAS)]
    with _service(executor, streams) as (base, _, _), Client(base) as plantain:
        for stream in streams:
            plantain.change_stream(stream["id"], paused=True)
        for stream in streams:
            time.sleep(KEYFRAMES_EVERY_S / NUM_CAMERAS)  # in step, all would decode their keyframes at once
            plantain.change_stream(stream["id"], paused=False)
        time.sleep(4 * SETTLE_S)
        times_s: list[float] = []
        alones, besides, bares, batches_ms = [], [], [], []
        for turn in range(TURNS + 1):  # in turn: the machine is not equally fast all the time
            _, calls, drawn_s = _batches(base)
            alones.append(_stream_rate(plantain, lambda: time.sleep(TURN_S)))
            _, more_calls, more_drawn_s = _batches(base)
            batches_ms.append((more_drawn_s - drawn_s) / max(1, more_calls - calls) * 1e3)
            if turn < TURNS:
                few = max(20, NUM_QUERIES // TURNS)
                turn_s: list[float] = []
                besides.append(
                    _stream_rate(plantain, lambda: turn_s.extend(_ask(plantain, file, few)))  # noqa: B023
                )
                bares.append(
                    _stream_rate(plantain, lambda: _draw_at(sum(turn_s) / few, few, file, bare_pass))  # noqa: B023
                )
                times_s += turn_s
        alone, beside, bare, batch_ms = map(statistics.mean, (alones, besides, bares, batches_ms))
        p50, p99 = _percentiles(times_s)
        rate = len(times_s) / sum(times_s)
        _say("serve_saturated_p50_ms", p50 * 1e3, None, executor)
        limit_ms = 2 * batch_ms + bare_s * 1e3
        _say("serve_saturated_p99_ms", p99 * 1e3, limit_ms, executor, batch_ms=round(batch_ms, 1))
        _say("serve_saturated_streams_share", beside / alone, bare / alone - 0.05, executor, at_most=False,
             streams_per_s=round(alone, 2), queries_per_s=round(rate, 2),
             lost_by_query=round((alone - beside) / rate, 2), lost_by_bare=round((alone - bare) / rate, 2))  # fmt: skip


def _draw_at(every_s: float, count: int, file: bytes, bare_pass: Callable[[], float]) -> None:
    """The work of so many queries without the service, at their pace."""
    begun = time.monotonic()
    for k in range(count):
        np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
        bare_pass()
        time.sleep(max(0.0, begun + (k + 1) * every_s - time.monotonic()))


@contextmanager
def _bare_pass(picture: np.ndarray) -> Iterator[Callable[[], float]]:
    """The model on one picture and one prompt, in this process: how long a pass takes, seconds."""
    height, width = spec_of("embedded").model_hw
    pixels = np.asarray(Image.fromarray(picture).resize((width, height)))[None]
    model = load_drawing("embedded")
    prompt = Prompt.parse(TASK)

    def measure() -> float:
        begun = time.perf_counter()
        model.render(pixels, [0], [prompt])
        return time.perf_counter() - begun

    for _ in range(10):
        measure()
    yield measure
    model.close()


@contextmanager
def _service(executor: str, streams: list[dict[str, object]]) -> Iterator[tuple[str, psutil.Process, float]]:
    """A running service: its address, its process, and how long it took to be ready."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = {
            "streams": streams,
            "prompts": [TASK],
            "output": {"out": str(folder / "out"), "rasters": False},
            "executor": executor,
            "overload": {"ladder": []},  # it would ask for less until the pool is not saturated any more
            "serve": {"port": 0, "max_requests": 2 * NUM_CLIENTS},
        }
        (folder / "serve.yaml").write_text(yaml.safe_dump(settings))
        with _started(
            ["plantain.deploy.cli", "serve", "--config", str(folder / "serve.yaml")], folder
        ) as started:
            yield started


@contextmanager
def _started(module: list[str], folder: Path) -> Iterator[tuple[str, psutil.Process, float]]:
    """A module that says the address that it is ready on."""
    begun = time.monotonic()
    with (folder / "said").open("w") as said:
        process = subprocess.Popen([sys.executable, "-m", *module], stdout=said, stderr=said)
    try:
        while not (ready := re.search(r"ready on (http://\S+)", (folder / "said").read_text())):
            if process.poll() is not None or time.monotonic() - begun > START_S:
                raise RuntimeError((folder / "said").read_text()[-2000:])
            time.sleep(0.02)
        yield ready[1], psutil.Process(process.pid), time.monotonic() - begun
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)


def _ask(plantain: Client, file: bytes, count: int) -> list[float]:
    """Queries one after the other: how long each took, seconds."""
    times_s = []
    for _ in range(count):
        begun = time.perf_counter()
        plantain.predict([TASK], image=file, resolution="model")
        times_s.append(time.perf_counter() - begun)
    return times_s


def _together(base: str, file: bytes, clients: int, each: int) -> tuple[list[float], int, float]:
    """Queries of several clients at a time: times, errors, and how long it took altogether."""
    times_s: list[float] = []
    errors = 0

    def work() -> None:
        nonlocal errors
        with Client(base, patience_s=0) as plantain:
            try:
                times_s.extend(_ask(plantain, file, each))
            except Exception:  # noqa: BLE001 - whatever it was counts
                errors += 1

    threads = [threading.Thread(target=work) for _ in range(clients)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times_s, errors, time.monotonic() - begun


def _batches(base: str) -> tuple[float, float, float]:
    """Frames that the model was given so far, in how many batches, and how long it drew them, seconds."""
    text = httpx.get(f"{base}/metrics", trust_env=False, timeout=30).text

    def value(name: str, labels: str) -> float:
        found = re.search(rf"^plantain_{name}{{{labels}}} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    return (
        value("batch_items_sum", 'stage="infer"'),
        value("batch_items_count", 'stage="infer"'),
        value("operator_seconds_total", 'operator="model",stage="infer"'),
    )


def _stream_rate(plantain: Client, work: Callable[[], None]) -> float:
    """Results of all streams per second while something is done."""
    before, begun = sum(stream.results for stream in plantain.streams()), time.monotonic()
    work()
    return (sum(stream.results for stream in plantain.streams()) - before) / (time.monotonic() - begun)


def _idle_percent(process: psutil.Process) -> float:
    """CPU of the whole tree while nothing is asked, percent of a core."""

    def used_s() -> float:
        total = 0.0
        for one in (process, *process.children(recursive=True)):
            try:
                times = one.cpu_times()
                total += times.user + times.system
            except psutil.Error:
                continue
        return total

    before = used_s()
    time.sleep(IDLE_S)
    return (used_s() - before) / IDLE_S * 100


def _memory(process: psutil.Process) -> float:
    """Private memory of the whole tree, bytes."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_full_info().uss
        except psutil.Error:
            continue
    return total


def _percentiles(times_s: list[float]) -> tuple[float, float]:
    """Median and 99th percentile."""
    return statistics.median(times_s), sorted(times_s)[min(len(times_s) - 1, round(0.99 * len(times_s)))]


def _say(
    figure: str, value: float, target: float | None, executor: str, *, at_most: bool = True, **more: object
) -> None:
    report(
        figure, value, target, at_most=at_most, executor=executor, load=round(os.getloadavg()[0], 1), **more
    )
