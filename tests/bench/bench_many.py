"""A thousand cameras at one answered frame a second: what engine and writer cost, how many files and fsyncs they make.

The cameras and the model are simulated, so that nothing else is measured; engine, analytics, rows and Parquet are real.
"""

import os
import resource
import shutil
import tempfile
import threading
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil

from plantain.operators.analyse import Analyse
from plantain.operators.analytics.track import Track
from plantain.operators.answers.masks.value import Masks
from plantain.operators.geometry import Letterbox
from plantain.operators.prompts import Prompt
from plantain.operators.segments import Position
from plantain.operators.sinks.parquet.sink import ParquetSink
from plantain.operators.sinks.store import Store
from plantain.operators.streams import ReadState, Start, StreamInfo, StreamSpec
from plantain.operators.types import FrameInfo, Header, Prediction, Result, Timing
from plantain.operators.write import Write
from plantain.pipeline.checkpoint import Checkpoints
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.executor import ThreadExecutor
from plantain.pipeline.graph import Batch, Graph, Kind, Stage
from plantain.pipeline.runner import run
from tests.bench.material import report

NUM_CAMERAS = int(os.environ.get("PLANTAIN_BENCH_CAMERAS", "1000"))
LENGTH_S = float(os.environ.get("PLANTAIN_BENCH_CAMERAS_S", "60"))
DAY_S = 86_400
SECOND = Fraction(1, 1)
PROMPT = Prompt.parse("instances:car")
FIT = Letterbox.fit((224, 384), (224, 384))
LABELS = np.zeros((224, 384), np.uint16)
LABELS[100:140, 50:110], LABELS[150:180, 200:260] = 1, 2
CARS = Masks(LABELS, ("car", "car"), np.ones(2, np.float32), 0.0)


class Cameras:
    """Each camera has a frame once a second, all out of step; a frame is a header and nothing else."""

    def __init__(self) -> None:
        self.laps: list[tuple[str, float]] = []
        self._next: dict[str, tuple[int, float]] = {}
        self._begin = time.monotonic()

    def open(self, start: Start) -> StreamInfo:
        name = start.spec.stream_id
        self._next[name] = 0, time.monotonic() + int(name[3:]) % 100 / 100
        return StreamInfo(name, 384, 224, 1.0, None)

    def read(self, stream_id: str, max_frames: int) -> list[Result]:
        index, due_s = self._next[stream_id]
        if time.monotonic() < due_s:
            return []
        self._next[stream_id] = index + 1, due_s + 1.0
        header = Header(stream_id, 0, index, "384x224", 1, (str(PROMPT),), pts=index)
        return [Result(header, FrameInfo(index, SECOND, time.time_ns(), "arrival", FIT), ())]

    def state(self, stream_id: str) -> ReadState:
        return ReadState(stream_id, time.monotonic() > self._begin + LENGTH_S, Position(), 0)

    def wait(self, stream_ids, timeout_s: float) -> None:
        time.sleep(timeout_s)

    def change(self, start) -> None: ...

    def ease(self, stream_id, ease) -> None: ...

    def watch(self, stream_id, looks) -> None: ...

    def peek(self, stream_id, query_id, prompts) -> list[Result]:
        return []

    def close(self, stream_id: str | None = None) -> None: ...


class Model:
    """Sees two cars, always, in hardly any time; each map is a new one, which nobody has measured yet."""

    def __init__(self) -> None:
        self.laps: list[tuple[str, float]] = []

    def __call__(self, requests, waits_ms=()) -> list[Result]:
        return [
            Result(each.header, each.info, (Prediction(PROMPT, cars, "none", "1", Timing()),))
            for each in requests
            for cars in (replace(CARS, labels=LABELS.view()),)
        ]

    def fail(self, request, failure): ...

    def swap(self, options) -> None: ...

    def forget(self, stream_id: str) -> None: ...

    def close(self) -> None: ...


def _of_engine_and_writer() -> float:
    """CPU seconds of this process but for its simulated cameras and model and the analytics."""
    ids = {each.native_id: each.name for each in threading.enumerate()}
    others = ("plantain-read", "plantain-infer", "plantain-analyse")
    return sum(
        each.user_time + each.system_time
        for each in psutil.Process().threads()
        if not ids.get(each.id, "").startswith(others)
    )


def main() -> None:
    """Prints the figures."""
    out = Path(tempfile.mkdtemp(prefix="plantain-bench-"))
    synced: list[float] = []
    fsync = os.fsync

    def counted(descriptor: int) -> None:
        synced.append(time.monotonic())
        fsync(descriptor)

    os.fsync = counted
    try:
        sink = ParquetSink(str(out), rasters=False)
        per_stream = Batch(max_items=256, max_wait_s=0.1)
        graph = Graph(
            (
                Stage("read", Kind.SOURCE, Cameras),
                Stage("infer", Kind.PARALLEL, Model, Batch(max_items=256, max_cost=256, max_wait_s=0.05)),
                Stage("analyse", Kind.STREAM, lambda: Analyse([("track", Track)]), batch=per_stream),
                Stage("write", Kind.STREAM, lambda: Write([sink], "run"), batch=per_stream),
            ),
            read_frames=2,
            max_frames_in_flight=4 * NUM_CAMERAS,
        )
        starts = [
            Start.fresh(StreamSpec(f"cam{k}", f"rtsp://camera{k}"), (PROMPT,), is_live=True)
            for k in range(NUM_CAMERAS)
        ]
        begin = time.monotonic()
        looks: list[tuple[float, float, float, int]] = []

        def look(engine: Engine) -> None:
            spent = resource.getrusage(resource.RUSAGE_SELF)
            answered = sum(stream.account.results for stream in engine.streams.values())
            looks.append(
                (time.monotonic() - begin, spent.ru_utime + spent.ru_stime, _of_engine_and_writer(), answered)
            )

        run(graph, ThreadExecutor(), starts, checkpoints=Checkpoints(Store(str(out))), on_progress=look)
        files = len(list(out.glob("*/*/*.parquet")))
        steady = [each for each in looks if LENGTH_S / 2 <= each[0] <= LENGTH_S]
        (since_s, cpu_before, own_before, before), (until_s, cpu_after, own_after, after) = (
            steady[0],
            steady[-1],
        )
        seconds = until_s - since_s
        answered_s = (after - before) / seconds
        report(
            "many_engine_and_writer_cores",
            (own_after - own_before) / seconds,
            1.0,
            cameras=NUM_CAMERAS,
            seconds=round(seconds),
            with_analytics_and_simulation=round((cpu_after - cpu_before) / seconds, 3),
        )
        report("many_answers_per_s", answered_s, 0.9 * NUM_CAMERAS, at_most=False)
        report("many_files_per_day", files / LENGTH_S * DAY_S, 40_000)
        late = [at for at in synced if begin + LENGTH_S / 2 < at < begin + LENGTH_S]
        report("many_fsyncs_per_s", len(late) / (LENGTH_S / 2), 3.0, opening=len(synced) - len(late))
    finally:
        os.fsync = fsync
        shutil.rmtree(out, ignore_errors=True)


if __name__ == "__main__":
    main()
