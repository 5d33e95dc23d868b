"""One long file: how fast it is decoded and converted as a whole, by FFmpeg's threads, and in parts."""

import os
import statistics
import time
from contextlib import closing

from plantain.operators.segments import Position
from plantain.operators.sources import open_source
from plantain.operators.streams import StreamSpec, View
from tests.bench.bench_pipeline import CACHE
from tests.bench.material import make_clip, report

NUM_FRAMES = 900
ROUNDS = 3
CORES = os.cpu_count() or 1


def rate(source: str, threads: int) -> float:
    """Frames a second of a 1080p file at the embedded model's size."""
    clip = make_clip(CACHE / f"clip-{NUM_FRAMES}.mp4", NUM_FRAMES)
    spec = StreamSpec("clip", str(clip), source=source, options={"threads": str(threads)})
    begin, count = time.perf_counter(), 0
    with closing(open_source(spec, View((224, 384)), Position())) as opened:
        while not opened.ended:
            count += len(opened.read(8))
    assert count == NUM_FRAMES
    return count / (time.perf_counter() - begin)


def main() -> None:
    """Prints the figures."""
    sides = {"one_thread": ("file", 1), "ffmpeg_threads": ("file", CORES), "parts": ("parts", CORES)}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, (source, threads) in sides.items():
            rates[name].append(rate(source, threads))
    for name in sides:
        report(f"one_file_{name}_fps", statistics.median(rates[name]), cores=CORES)
    for other in ("one_thread", "ffmpeg_threads"):
        ratio = statistics.median(a / b for a, b in zip(rates["parts"], rates[other], strict=True))
        report(f"one_file_parts_to_{other}_ratio", ratio, 1.0, at_most=False)


if __name__ == "__main__":
    main()
