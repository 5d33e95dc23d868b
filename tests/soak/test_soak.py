"""Cameras for a while, and then for long: memory, threads and open files stay where they are."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.assets import clips
from tests.bench.material import repeat
from tests.chaos.victim import Victim
from tests.kafka_broker import Broker, BrokerUnavailableError
from tests.rtsp_server import RtspServer, why_missing

pytestmark = [pytest.mark.soak, pytest.mark.rtsp]

MINUTES = float(os.environ.get("PLANTAIN_SOAK_MINUTES", "3"))
NUM_CAMERAS = 4
FPS = 2
WARM_UP = 0.4  # of the time, and longer until so many parts are stored
WARM_UP_PARTS = 8  # a part holds what one camera or several have committed
PATIENCE_MINUTES = 8.0
# In the short form the model draws small pictures on one core, since other tests run at the same time.
SMALL = {} if MINUTES >= 20 else {"canvas": {"width": 128, "height": 96}, "cpus": 1}
LOOK_EVERY_S = 1.0
# Memory grows for about ten minutes by what torch and FFmpeg keep for later (measured: 8 MB/min in the third minute,
# 0.01 from the twelfth on), so that a few minutes only show leaks of whole pictures, which are far steeper.
MAX_SLOPE_MB_PER_MIN = 1.0 if MINUTES >= 20 else 20.0


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Victim]:
    if reason := why_missing():
        if os.environ.get("REQUIRE_RTSP") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    loop = clips.make(tmp_path / "loop.mp4", 250, size=(320, 180), gop=25, b_frames=0)
    clip = repeat(loop, tmp_path / "clip.mp4", 10 + round(MINUTES * 6 * 1.5))
    with ExitStack() as stack:
        output: dict[str, Any] = {"out": str(tmp_path / "out"), "segment_frames": 32}
        try:
            broker = Broker.find()
            stack.callback(broker.close)
            output |= {"sinks": ["parquet", "kafka"]}
            output |= {"kafka": {"bootstrap": broker.bootstrap, "topic_prefix": f"soak{os.getpid()}"}}
        except BrokerUnavailableError:
            if os.environ.get("REQUIRE_KAFKA") == "1":
                raise
        server = stack.enter_context(RtspServer(clip))
        job = Victim(
            tmp_path,
            {
                "streams": [{"id": f"cam{k}", "url": server.url(), "fps": FPS} for k in range(NUM_CAMERAS)],
                "prompts": ["depth"],
                "model": {"name": "embedded", **SMALL},
                "output": output,
            },
        )
        stack.callback(job.kill)
        yield job


@pytest.mark.timeout(900 + 90 * MINUTES)
def test_memory_threads_and_files_stay_where_they_are(job: Victim, tmp_path: Path) -> None:
    warm_up(job, tmp_path / "out")
    process = psutil.Process(job.pid)
    began = time.monotonic()
    minutes, megabytes, threads, files = [], [], [], []
    while (now := (time.monotonic() - began) / 60) < MINUTES * (1 - WARM_UP):
        assert job.runs(), job.end()
        minutes.append(now)
        megabytes.append(process.memory_info().rss / 1e6)
        threads.append(process.num_threads())
        files.append(process.num_fds())
        time.sleep(LOOK_EVERY_S)
    job.interrupt()
    assert job.end() == 130, job.errors
    slope = slope_of(np.array(minutes), np.array(megabytes))
    results = [stream["results"] for stream in job.report["streams"]]
    sys.stdout.write(
        "\n"
        + json.dumps(
            {
                "soak_minutes": MINUTES,
                "slope_mb_per_min": round(slope, 3),
                "rss_mb": [round(megabytes[0], 1), round(megabytes[-1], 1), round(max(megabytes), 1)],
                "threads": [min(threads), max(threads)],
                "files": [min(files), max(files)],
                "results": results,
                "lost": [stream["lost"] for stream in job.report["streams"]],
            }
        )
        + "\n"
    )
    for stream in job.report["streams"]:
        gone = sum(sum(stream[what].values()) for what in ("failed", "lost", "skipped"))
        assert stream["decoded"] == stream["results"] + gone, stream
    assert min(results) > 0
    assert slope < MAX_SLOPE_MB_PER_MIN
    # A writer or a reader may just be at work; what leaks goes on growing.
    half = len(files) // 2
    for counts in (threads, files):
        assert np.median(counts[half:]) <= np.median(counts[:half]) + 1


def warm_up(job: Victim, out: Path) -> None:
    """Starts the job; everything that it needs has been loaded and used when this returns."""
    job.start()
    began = time.monotonic()
    while True:
        assert job.runs(), job.end()
        minutes = (time.monotonic() - began) / 60
        stored = len(list(out.glob("frames/*/*.parquet")))
        if minutes > WARM_UP * MINUTES and stored >= WARM_UP_PARTS:
            return
        assert minutes < WARM_UP * MINUTES + PATIENCE_MINUTES, f"parts that were stored: {stored}"
        time.sleep(LOOK_EVERY_S)


def slope_of(x: np.ndarray, y: np.ndarray) -> float:
    """Of a line through points of which some lie far off: the median of the slopes between points far apart."""
    half = len(x) // 2
    return float(np.median((y[half : 2 * half] - y[:half]) / (x[half : 2 * half] - x[:half])))
