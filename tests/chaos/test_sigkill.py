"""Killed at any moment and started again, a run ends with exactly the rows of one that nobody disturbed."""

from __future__ import annotations

import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import yaml

from tests.assets.clips import make
from tests.moments import Progress
from tests.stored import Row, assert_whole, rows_in

pytestmark = pytest.mark.chaos

# Kills in all. On two free cores a trial takes about three seconds, nearly all of it the start of Python.
TRIALS = int(os.environ.get("PLANTAIN_CHAOS_TRIALS", "20"))
SEED = 20260
SEGMENT = 7
FRAMES = {"anna": 60, "bert": 45}
# Files that come or are replaced: about so many for each segment, and so many at most before a kill.
CHANGES_OF_A_SEGMENT = 10
MAX_CHANGES = 40
ROOT = Path(__file__).parents[2]


class Job:
    """`plantain run` in a process group of its own, with an output folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.out = folder / name
        settings = {
            "streams": [{"url": str(folder / f"{clip}.mp4")} for clip in FRAMES],
            "prompts": ["depth", "instances:bar", "semantic:dark,bright"],
            "model": {"name": "tests.plugins:PickyModel", "options": {"refuses": "11,30", "cost_ms": 10}},
            "read": {"chunk_frames": 4, "max_frames_in_flight": 16},
            "batch": {"max_wait_ms": 5},
            "output": {"out": str(self.out), "segment_frames": SEGMENT},
        }
        self._config = folder / f"{name}.yaml"
        self._config.write_text(yaml.safe_dump(settings))

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "deploy.cli", "run", "--config", str(self._config)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def finish(self) -> None:
        """Runs to the end."""
        process = self.start()
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()

    @property
    def num_stored(self) -> int:
        """Segments that a reader sees, of all streams."""
        return len(list(self.out.glob("frames/*/*.parquet")))


def kill(process: subprocess.Popen[bytes]) -> bool:
    """SIGKILL for the whole group; False if it had come to its end before."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGKILL), errors.decode()
    return process.returncode != 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("chaos")
    for name, count in FRAMES.items():
        make(made / f"{name}.mp4", count, size=(64, 48))
    return made


@pytest.mark.timeout(180 + 30 * TRIALS)
def test_a_run_killed_at_random_moments_ends_with_the_rows_of_an_undisturbed_one(folder):
    undisturbed = Job(folder, "undisturbed")
    undisturbed.finish()
    expected = rows_in(undisturbed.out)
    assert_everything(expected)
    whole = undisturbed.num_stored

    chance = random.Random(SEED)
    job = Job(folder, "killed")
    kills = completed = 0
    start_s = 1.0  # from the first instruction to the first change in the folder, as last seen
    amounts = set()
    while kills < TRIALS:
        progress = Progress(job.out)
        began = time.monotonic()
        process = job.start()
        if kills % 5 == 0:
            end_s = began + chance.uniform(0, start_s)
            progress.wait(1, partial(alive, process, end_s))
        else:
            progress.wait(1, partial(alive, process))
            start_s = time.monotonic() - began
            if whole - job.num_stored > MAX_CHANGES // CHANGES_OF_A_SEGMENT:
                progress.wait(chance.randint(1, MAX_CHANGES), partial(alive, process))
                progress.pause(chance)
            else:  # it has not enough left to do
                process.wait(120)
        if kill(process):
            kills += 1
            found = rows_in(job.out)
            assert_whole(found, SEGMENT, FRAMES)
            amounts.add(len(found["frames"]))
        else:
            completed += 1
            assert rows_in(job.out) == expected
            shutil.rmtree(job.out)
    job.finish()
    assert rows_in(job.out) == expected
    assert not list(job.out.glob(".plantain/segments/*/*")), "nothing half-made is left"
    assert len(amounts) > 2, "kills should have met it at different points"


def alive(process: subprocess.Popen[bytes], end_s: float = math.inf) -> bool:
    """Whether it runs, and the moment has not come."""
    return process.poll() is None and time.monotonic() < end_s


def assert_everything(tables: dict[str, list[Row]]) -> None:
    """The undisturbed run itself is right."""
    assert_whole(tables, SEGMENT, FRAMES)
    assert len(tables["frames"]) == 3 * sum(FRAMES.values())
    assert len(tables["objects"]) > 3 * sum(FRAMES.values()), "several bars in each picture"
