"""Cameras: how long from capture to a Kafka consumer, what is dropped, and what many of them cost.

Eight RTSP cameras of 720p25 at 2.5 Mb/s (what vendors set such cameras to), sampled at 5 fps, one task of the embedded
model; and 64 simulated ones of 5 fps with a model that costs nothing. The machine's load is printed beside each
figure: they are only worth something on a quiet one.
"""

import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.assets import clips
from tests.bench.material import make_clip, repeat, report
from tests.chaos.victim import Victim
from tests.kafka_broker import Broker
from tests.kafka_client import Follower
from tests.rtsp_server import RtspServer, why_missing

CACHE = Path(tempfile.gettempdir()) / "plantain-bench"
SECONDS = float(os.environ.get("PLANTAIN_BENCH_SECONDS", "60"))
WARM_UP_S = 20.0
NUM_CAMERAS = 8
NUM_SIMULATED = 64
FPS = 5
PATIENCE_S = 180.0


def main() -> None:
    """Prints the figures."""
    _cameras()
    _simulated()


def _cameras() -> None:
    """Capture to consumer, through RTSP, the embedded model and a broker."""
    if reason := why_missing():
        raise SystemExit(reason)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        loop = make_clip(CACHE / "camera-720-2500k.mp4", 300, (720, 1280), b_frames=0, bit_rate=2_500_000)
        clip = repeat(loop, folder / "clip.mp4", 10 + round((SECONDS + 2 * PATIENCE_S) / 12))
        broker = Broker.find()
        stack.callback(broker.close)
        prefix = f"bench{os.getpid()}"
        broker.make_topic(f"{prefix}.predictions")
        follower = Follower(broker.bootstrap, prefix)
        stack.callback(follower.close)
        server = stack.enter_context(RtspServer(clip))
        settings = {
            "streams": [{"id": f"cam{k}", "url": server.url(), "fps": FPS} for k in range(NUM_CAMERAS)],
            "prompts": ["depth"],
            "output": {
                "out": str(folder / "out"),
                "sinks": ["kafka"],
                "kafka": {"bootstrap": broker.bootstrap, "topic_prefix": prefix},
            },
        }
        job = stack.enter_context(_running(folder, settings))
        names = {f"cam{k}" for k in range(NUM_CAMERAS)}
        if not follower.wait(
            lambda: {arrival.stream_id for arrival in list(follower.arrivals)} == names, PATIENCE_S
        ):
            job.kill()
            job.end()
            raise SystemExit(f"not every camera has had a result: {job.errors[-2000:]}")
        time.sleep(WARM_UP_S)
        machine = _Machine(job.pid)
        begin_s = time.monotonic()
        time.sleep(SECONDS)
        end_s = time.monotonic()
        told = machine.tell()
        arrivals = [a for a in list(follower.arrivals) if begin_s <= a.at_s < end_s]
        job.interrupt()
        job.end()
        late_ms = [1000 * a.late_s for a in arrivals if a.late_s is not None]
        told |= {"results_per_s": round(len(arrivals) / SECONDS, 1), "asked_per_s": FPS * NUM_CAMERAS}
        for share, target in ((50, 250.0), (99, 800.0)):
            value = statistics.quantiles(late_ms, n=100)[share - 1]
            report(f"cameras_8x720p25_capture_to_kafka_p{share}_ms", value, target, **told)
        lost, failed = _losses(job)
        report("cameras_8x720p25_lost", lost.total() + failed, 0, reasons=lost, failed=failed, **told)


def _simulated() -> None:
    """Many small cameras and a model that costs nothing: what the machinery itself needs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = clips.make(folder / "clip.mp4", 250, size=(320, 180), rate=FPS, gop=25, b_frames=0)
        options = {"realtime": "yes", "loop": "yes"}
        settings = {
            "streams": [
                {"id": f"cam{k}", "url": str(clip), "fps": FPS, "options": options}
                for k in range(NUM_SIMULATED)
            ],
            "prompts": ["depth"],
            "model": {"name": "fake", "canvas": {"width": 64, "height": 36}},
            "output": {"out": str(folder / "out"), "rasters": False},
        }
        with _running(folder, settings) as job:
            time.sleep(WARM_UP_S)
            machine = _Machine(job.pid)
            time.sleep(SECONDS)
            told = machine.tell()
            job.interrupt()
            job.end()
            lost, failed = _losses(job)
            results = sum(stream["results"] for stream in job.report["streams"])
            told |= {"results": results}
            report(f"cameras_{NUM_SIMULATED}_simulated_cores", told["cores"], 1.2, **told)
            report(
                f"cameras_{NUM_SIMULATED}_simulated_lost",
                lost.total() + failed,
                0,
                reasons=lost,
                failed=failed,
                **told,
            )


@contextmanager
def _running(folder: Path, settings: dict[str, Any]) -> Iterator[Victim]:
    job = Victim(folder, settings)
    job.start()
    try:
        yield job
    finally:
        job.kill()


def _losses(job: Victim) -> tuple[Counter[str], int]:
    """What was lost from start to end, and how much failed."""
    lost: Counter[str] = Counter()
    failed = 0
    for stream in job.report["streams"]:
        lost.update(stream["lost"])
        failed += sum(stream["failed"].values())
    return lost, failed


class _Machine:
    """What a process and the whole machine do from now on.

    Args:
        pid: Of the process.
    """

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._begin_s = time.monotonic()
        self._used_s = self._seconds()
        psutil.cpu_percent()

    def _seconds(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system + times.children_user + times.children_system

    def tell(self) -> dict[str, Any]:
        """Cores that the process used, and how busy the machine was with other things."""
        cores = (self._seconds() - self._used_s) / (time.monotonic() - self._begin_s)
        others = psutil.cpu_percent() / 100 * (os.cpu_count() or 1) - cores
        return {
            "cores": round(cores, 2),
            "other_cores": round(max(0.0, others), 2),
            "load": round(os.getloadavg()[0], 1),
        }
