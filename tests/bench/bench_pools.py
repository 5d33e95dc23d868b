"""A slow model beside a fast one: what the fast one's answers lose by it.

Cameras of numbered pictures; a model of 40 ms a batch sees every frame, one of 5 s an answer some of them. Alone and
beside, in turn, several times.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

from plantain.operators.sinks.memory import MemorySink
from plantain.pipeline.config import check
from plantain.pipeline.executor import ThreadExecutor
from plantain.pipeline.runner import run
from plantain.pipeline.video import build_graph, starts_of
from tests.assets.clips import make
from tests.bench.material import report

NUM_CAMERAS = 4
FPS = 10
SECONDS = int(os.environ.get("PLANTAIN_BENCH_SECONDS", "30"))
PAIRS = 3
WARM_UP_S = 3.0
PICKY = "tests.plugins:PickyModel"
FAST = {"fast": {"name": PICKY, "options": {"cost_ms": 40}}}
SLOW = {"slow": {"name": PICKY, "options": {"cost_ms": 5000}}}


class _Timed(MemorySink):
    """Notes how long after its capture each answer of the fast model came, and how many the slow one gave."""

    def __init__(self) -> None:
        super().__init__()
        self.late_ms: list[float] = []
        self.num_slow = 0
        self._begin = time.time()

    def write(self, segment, rows) -> None:
        for result in rows.results:
            for prediction in result.predictions:
                if str(prediction.prompt) != "depth":
                    self.num_slow += 1
                elif time.time() > self._begin + WARM_UP_S:
                    self.late_ms.append(1e3 * (time.time() - result.info.captured_ns / 1e9))


def main() -> None:
    """Prints the figure."""
    with tempfile.TemporaryDirectory() as name:
        clip = str(make(Path(name) / "cam.mp4", SECONDS * FPS, size=(64, 48), rate=FPS))
        ratios, told = [], []
        for _ in range(PAIRS):
            alone = _watched(clip, FAST, ["depth"])
            beside = _watched(clip, FAST | SLOW, ["depth", {"prompt": "normals", "model": "slow"}])
            assert beside.num_slow, "the slow model has answered"
            p99 = [statistics.quantiles(each.late_ms, n=100)[98] for each in (alone, beside)]
            ratios.append(p99[1] / p99[0])
            told.append([round(value) for value in p99])
        report("pools_p99_beside_over_alone", statistics.median(ratios), 1.1, alone_and_beside_ms=told)


def _watched(clip: str, models: dict[str, object], prompts: list[object]) -> _Timed:
    sink = _Timed()
    options = {"realtime": "1", "max_staleness_s": "10"}
    streams = [{"url": clip, "id": f"cam{k}", "options": options} for k in range(NUM_CAMERAS)]
    config = check({"streams": streams, "prompts": prompts, "models": models})
    run(build_graph(config, make_sinks=lambda: [sink]), ThreadExecutor(), starts_of(config, None))
    return sink


if __name__ == "__main__":
    main()
