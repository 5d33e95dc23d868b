"""How long a person waits for a run of one clip of five frames, from the command to the prompt that comes back.

Beside `plantain describe`, which starts and reads a file as well, and beside Ray with four actors and nothing of ours,
in turn, so that a busy machine slows all of them.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from tests.bench.material import make_clip, report

ROUNDS = int(os.environ.get("PLANTAIN_BENCH_ROUNDS", "5"))
TASK = "instances:car"
BARE_RAY = """
import ray
ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
@ray.remote(num_cpus=1)
class Actor:
    def done(self):
        return True
actors = [Actor.remote() for _ in range(4)]
ray.get([actor.done.remote() for actor in actors])
ray.shutdown()
"""


def main() -> None:
    """Prints the figures."""
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        clip = make_clip(folder / "five.mp4", 5, (360, 640))
        commands = {"describe": _plantain("describe", _settings(folder, clip, "fake", "threads"))}
        for model, executor in (("fake", "threads"), ("embedded", "threads"), ("fake", "ray")):
            commands[f"{model} on {executor}"] = _plantain(
                "run", "--config", _settings(folder, clip, model, executor)
            )
        commands["bare ray"] = [sys.executable, "-c", BARE_RAY]
        took_s: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS + 1):
            for what, command in commands.items():
                took_s[what].append(_seconds(command, folder))
        median_s = {
            name: statistics.median(times[1:]) for name, times in took_s.items()
        }  # the first ones fill caches
    report("start_describe_s", median_s["describe"])
    fake_s, on_ray_s = median_s["fake on threads"], median_s["fake on ray"]
    report("start_fake_describes", fake_s / median_s["describe"], 1.6, seconds=round(fake_s, 2))
    report("start_embedded_s", median_s["embedded on threads"], 4.0)
    report("start_bare_ray_s", median_s["bare ray"])
    report("start_ray_beyond_bare_s", on_ray_s - median_s["bare ray"], 2.0, seconds=round(on_ray_s, 2))


def _plantain(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "plantain.deploy.cli", *map(str, arguments)]


def _settings(folder: Path, clip: Path, model: str, executor: str) -> Path:
    path = folder / f"{model}-{executor}.yaml"
    settings = {"streams": [str(clip)], "prompts": [TASK], "model": model, "executor": executor}
    path.write_text(yaml.safe_dump(settings | {"output": {"out": str(folder / "out")}}))
    return path


def _seconds(command: list[str], folder: Path) -> float:
    """Of one process, into an output folder that is not there yet."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    begin = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - begin
