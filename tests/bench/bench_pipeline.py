"""Throughput and CPU of the pipeline against the best loop that a person would write by hand.

Four 1080p H.264 files, 256x256 model input, batches of 8, the same drawing, codec, rows and Parquet on both
sides. Each side runs in processes of its own, in turn, several times; figures are medians of the ratios of
neighbours.
"""

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

from tests.bench.material import CANVAS_HW, PROMPT, draw, make_clip, report
from tests.bench.processes import watch

NUM_FILES = 4
NUM_FRAMES = int(os.environ.get("PLANTAIN_BENCH_FRAMES", "300"))
ROUNDS = int(os.environ.get("PLANTAIN_BENCH_ROUNDS", "3"))
CACHE = Path(tempfile.gettempdir()) / "plantain-bench"


def loop(paths: list[Path], out: Path, threading: str) -> None:
    """The hand-written loop: decode, resize, draw, decode the drawing, write Parquet; one file after the other.

    Args:
        paths: Files.
        out: Folder for the tables.
        threading: `auto` (FFmpeg's frame threads) or `pool` (a Python thread for each file).
    """
    import av
    import numpy as np
    import pyarrow.parquet as pq

    from plantain.operators.answers import codec_for
    from plantain.operators.geometry import Letterbox
    from plantain.operators.prompts import Prompt
    from plantain.operators.sinks.rows import Rows, table_of
    from plantain.operators.types import FrameInfo, Header, Prediction, Result, Timing

    prompt = Prompt.parse(PROMPT)
    codec = codec_for(prompt)
    fit = Letterbox.fit((1080, 1920), CANVAS_HW, "stretch")

    def one(path: Path) -> None:
        writers = {}
        batch, infos = [], []

        def flush() -> None:
            drawings = draw(np.stack(batch), prompt.palette)
            results = []
            for (index, pts), drawing in zip(infos, drawings, strict=True):
                prediction = Prediction(prompt, codec.decode(drawing, prompt), "bench", "1", Timing())
                info = FrameInfo(pts, base, None, "file", fit)
                results.append(Result(Header(path.stem, 0, index), info, (prediction,)))
            rows = Rows(results, "loop")
            for name in ("frames", "objects"):
                table = table_of(name, rows.table(name, rasters=True))
                if name not in writers:
                    (out / name).mkdir(parents=True, exist_ok=True)
                    writers[name] = pq.ParquetWriter(
                        out / name / f"{path.stem}.parquet", table.schema, compression="zstd"
                    )
                writers[name].write_table(table)
            batch.clear()
            infos.clear()

        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO" if threading == "auto" else "NONE"
            base = Fraction(stream.time_base)
            for index, frame in enumerate(container.decode(stream)):
                batch.append(frame.to_ndarray(width=256, height=256, format="rgb24", interpolation="AREA"))
                infos.append((index, frame.pts))
                if len(batch) == 8:
                    flush()
        if batch:
            flush()
        for writer in writers.values():
            writer.close()

    if threading == "pool":
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(one, paths))
    else:
        for path in paths:
            one(path)


def pipeline(paths: list[Path], out: Path, executor: str) -> None:
    """The same job on an executor of ours; prints the time without start-up."""
    from plantain.deploy.job import run_job
    from plantain.pipeline.config import check

    config = check(
        {
            "streams": [{"url": str(path)} for path in paths],
            "prompts": [PROMPT],
            "model": {
                "name": "tests.bench.material:BenchBackend",
                "canvas": {"width": CANVAS_HW[1], "height": CANVAS_HW[0], "fit": "stretch"},
            },
            "output": {"out": str(out)},
            "executor": executor,
        }
    )
    outcome = run_job(config)
    assert outcome.exit_code == 0, outcome
    sys.stdout.write(json.dumps({"wall_s": outcome.wall_s}) + "\n")


def measure(what: str, num_frames: int = NUM_FRAMES) -> tuple[float, float]:
    """Wall seconds (start-up left out) and CPU seconds per run of one side, in processes of their own."""
    out = Path(tempfile.mkdtemp(prefix="plantain-bench-"))
    try:
        usage = watch(["tests.bench.bench_pipeline", what, str(num_frames), str(out)])
    finally:
        shutil.rmtree(out, ignore_errors=True)
    return json.loads(usage.stdout.strip().splitlines()[-1])["wall_s"], usage.cpu_s


def main() -> None:
    """Prints the figures."""
    # CPU includes the start of Python and of Ray; a short and a long run leave it out of the difference.
    short = NUM_FRAMES // 3
    walls: dict[str, list[float]] = {}
    cpus: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for side in ("loop-auto", "loop-pool", "threads", "ray"):
            wall_s, long_cpu = measure(side)
            _, short_cpu = measure(side, short)
            walls.setdefault(side, []).append(wall_s)
            cpus.setdefault(side, []).append(long_cpu - short_cpu)
    best = [min(pair) for pair in zip(walls["loop-auto"], walls["loop-pool"], strict=True)]
    frugal = [min(pair) for pair in zip(cpus["loop-auto"], cpus["loop-pool"], strict=True)]
    frames = NUM_FILES * NUM_FRAMES
    report("loop_fps", frames / statistics.median(best))
    for side, target in (("threads", 1.0), ("ray", 0.95)):
        ratio = statistics.median(loop_s / ours_s for loop_s, ours_s in zip(best, walls[side], strict=True))
        report(
            f"{side}_throughput_ratio",
            ratio,
            target,
            at_most=False,
            fps=frames / statistics.median(walls[side]),
        )
        ratio = statistics.median(ours / theirs for ours, theirs in zip(cpus[side], frugal, strict=True))
        ms = statistics.median(cpus[side]) / (NUM_FILES * (NUM_FRAMES - short)) * 1e3
        report(f"{side}_cpu_ratio", ratio, 1.10, cpu_ms_per_frame=ms)


def _side(what: str, num_frames: int, out: Path) -> None:
    clip = make_clip(CACHE / f"clip-{num_frames}.mp4", num_frames)
    paths = []
    for k in range(NUM_FILES):
        path = CACHE / f"file{k}-{num_frames}.mp4"
        if not path.exists():
            os.link(clip, path)
        paths.append(path)
    if what.startswith("loop-"):
        begin = time.perf_counter()
        loop(paths, out, what.removeprefix("loop-"))
        sys.stdout.write(json.dumps({"wall_s": time.perf_counter() - begin}) + "\n")
    else:
        pipeline(paths, out, what)


if __name__ == "__main__":
    _side(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
