"""What the pipeline costs around a model of the library: its throughput over that of the bare library call.

The same weights, the same batches of the same pictures: in a loop that holds them in memory already and calls
processor, network and post-processing, and as a run from a file to rows, on threads and on Ray. In turn, several times,
on one thread of torch, so that what else a run does has a core; its first batch, before which everything starts, is
left out.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from plantain.deploy.ray.cluster import start_ray
from plantain.deploy.ray.executor import RayExecutor
from plantain.operators.segments import Position
from plantain.operators.sinks.memory import MemorySink
from plantain.operators.sources import open_source
from plantain.operators.streams import StreamSpec, View
from plantain.pipeline.config import check
from plantain.pipeline.executor import ThreadExecutor
from plantain.pipeline.runner import run
from plantain.pipeline.video import build_graph, starts_of
from tests.bench.material import make_clip, report

CANVAS_HW = (224, 392)
BATCH, NUM_BATCHES = 4, 9
ROUNDS = int(os.environ.get("PLANTAIN_BENCH_ROUNDS", "5"))
TARGET = 0.97


class Stopwatch(MemorySink):
    """Notes in a file when each frame was written, wherever it lives.

    Args:
        url: Folder of the file.
        run_id: Not needed.
    """

    def __init__(self, url: str, run_id: str = "") -> None:
        super().__init__()
        del run_id
        self._file = Path(url) / "times"

    def write(self, segment: Any, rows: Any) -> None:
        with self._file.open("a") as file:
            file.writelines(f"{time.time()}\n" for _ in rows.results)


def main() -> None:
    """Measures in a process of its own: how many threads a worker's torch takes is read when it is loaded."""
    subprocess.run(
        [sys.executable, "-m", "tests.bench.bench_models"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
    )


def measure() -> None:
    """Prints the figures."""
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        clip = make_clip(root / "clip.mp4", BATCH * NUM_BATCHES, (360, 640), b_frames=0, bit_rate=1_000_000)
        folder = _checkpoint(root / "depth")
        start_ray(None)
        figures: dict[str, list[float]] = {"bare": [], "threads": [], "ray": []}
        for number in range(ROUNDS):
            figures["bare"].append(_bare(folder, clip))
            figures["threads"].append(_run(folder, clip, root / f"threads{number}", ThreadExecutor()))
            figures["ray"].append(_run(folder, clip, root / f"ray{number}", RayExecutor()))
        model_ms = 1e3 / statistics.median(figures["bare"])
        for side in ("threads", "ray"):
            ratios = [own / bare for own, bare in zip(figures[side], figures["bare"], strict=True)]
            report(
                f"models_{side}_over_bare_library",
                statistics.median(ratios),
                TARGET,
                at_most=False,
                ratios=[round(each, 3) for each in ratios],
                model_ms_per_frame=round(model_ms),
            )


def _checkpoint(folder: Path) -> Path:
    """Depth Anything V2 with a backbone of 5 M: more than 100 ms a frame on a core."""
    torch.manual_seed(0)
    backbone = transformers.Dinov2Config(
        hidden_size=192,
        num_attention_heads=3,
        out_indices=[3, 6, 9, 12],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=192,
        neck_hidden_sizes=[48, 96, 192, 384],
        depth_estimation_type="metric",
        max_depth=80,
    )
    transformers.DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    height, width = CANVAS_HW
    transformers.DPTImageProcessor(size={"height": height, "width": width}).save_pretrained(folder)
    return folder


def _bare(folder: Path, clip: Path) -> float:
    """Frames a second of the library alone."""
    network = transformers.DepthAnythingForDepthEstimation.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    source, frames = open_source(StreamSpec("clip", str(clip)), View(CANVAS_HW), Position()), list[Any]()
    while not source.ended:
        frames += source.read(BATCH)
    source.close()
    pixels = [torch.from_numpy(np.array(each.info.fit.crop(each.image))).permute(2, 0, 1) for each in frames]
    begun = 0.0
    for first in range(0, len(pixels), BATCH):
        part = pixels[first : first + BATCH]
        with torch.inference_mode():
            outputs = network(**processor(images=part, return_tensors="pt"))
            sizes = [tuple(each.shape[1:]) for each in part]
            found = processor.post_process_depth_estimation(outputs, target_sizes=sizes)
        assert len(found) == len(part)
        begun = begun or time.perf_counter()
    return (len(pixels) - BATCH) / (time.perf_counter() - begun)


def _run(folder: Path, clip: Path, out: Path, executor: Any) -> float:
    """Frames a second of a run, from its first batch's rows to its last."""
    out.mkdir()
    config = check(
        {
            "streams": [{"url": str(clip)}],
            "prompts": ["depth"],
            "model": {
                "name": "transformers",
                "options": {"checkpoint": str(folder), "device": "cpu"},
                "cpus": 1,  # of which Ray makes a worker's threads
                "canvas": {"width": CANVAS_HW[1], "height": CANVAS_HW[0]},
                "batch": {"max_items": BATCH, "max_wait_ms": 2000},
            },
            "output": {"out": str(out), "sinks": ["tests.bench.bench_models:Stopwatch"]},
        }
    )
    run(build_graph(config), executor, starts_of(config, None))
    times = sorted(float(line) for line in (out / "times").read_text().split())
    assert len(times) == BATCH * NUM_BATCHES
    return (len(times) - BATCH) / (times[-1] - times[BATCH - 1])


if __name__ == "__main__":
    measure()
