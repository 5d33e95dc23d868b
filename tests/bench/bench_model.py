"""The embedded model alone and in the pipeline: time by part, what k prompts cost, frames a second from a file."""

import statistics
import tempfile
import time

import av
import numpy as np

from operators.codecs import codec_for
from operators.models import load_model
from operators.prompts import Prompt
from tests.bench.bench_pipeline import CACHE
from tests.bench.material import make_clip, report

TASKS = ("semantic:car,person,road,building,vegetation,sky", "instances:car", "depth", "normals")
BATCH = 8
ROUNDS = 5


def pictures(count: int) -> np.ndarray:
    """Frames of the clip at the model's size."""
    with av.open(str(make_clip(CACHE / "clip-300.mp4", 300))) as container:
        frames = [
            frame.to_ndarray(width=384, height=216, format="rgb24")
            for _, frame in zip(range(count), container.decode(video=0), strict=False)
        ]
    return np.pad(np.stack(frames), ((0, 0), (4, 4), (0, 0), (0, 0)))


def alone() -> dict[int, float]:
    """Milliseconds a frame for k prompts on each of a batch of frames."""
    model = load_model("embedded")
    images = pictures(BATCH)
    times: dict[int, float] = {}
    for k in (1, 2, 4, 8):
        asked = [Prompt.parse(text) for text in (TASKS * 2)[:k]]
        prompts = [prompt for _ in range(BATCH) for prompt in asked]
        image_of = [frame for frame in range(BATCH) for _ in range(k)]
        drawings = model.render(images, image_of, prompts)
        rounds = []
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            model.render(images, image_of, prompts)
            rounds.append((time.perf_counter() - begin) / BATCH * 1e3)
        times[k] = statistics.median(rounds)
        if k == len(TASKS):
            for prompt, drawing in zip(asked, drawings, strict=False):
                codec = codec_for(prompt)
                codec.decode(drawing, prompt)
                begin = time.perf_counter()
                for _ in range(20):
                    codec.decode(drawing, prompt)
                report(f"codec_{prompt.task}_ms", (time.perf_counter() - begin) / 20 * 1e3)
    return times


def in_pipeline(tasks: tuple[str, ...]) -> float:
    """Frames a second from a 1080p file to Parquet, start-up left out."""
    from deploy.job import run_job
    from pipeline.config import check

    config = check(
        {
            "streams": [{"url": str(make_clip(CACHE / "clip-300.mp4", 300))}],
            "prompts": list(tasks),
            "output": {"out": tempfile.mkdtemp(prefix="plantain-bench-")},
        }
    )
    outcome = run_job(config)
    assert outcome.exit_code == 0, outcome
    return outcome.streams[0].account.results / outcome.wall_s


def main() -> None:
    """Prints the figures."""
    times = alone()
    decoder_ms = (times[8] - times[1]) / 7
    report("encoder_ms", times[1] - decoder_ms)
    report("decoder_and_drawing_ms", decoder_ms)
    for k, milliseconds in times.items():
        saving = 1 - milliseconds / (k * times[1])
        report(f"render_{k}_prompts_ms", milliseconds, saved_against_separate_passes=round(saving, 3))
    for figure, tasks, target in (("four_tasks_fps", TASKS, 30.0), ("one_task_fps", TASKS[:1], 60.0)):
        in_pipeline(tasks)  # compiles what numba has not yet
        rates = [in_pipeline(tasks) for _ in range(3)]
        report(figure, statistics.median(rates), target, at_most=False)


if __name__ == "__main__":
    main()
