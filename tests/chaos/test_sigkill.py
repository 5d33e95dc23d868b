"""Killed at any moment and started again, a run ends with exactly the rows of one that nobody disturbed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.assets.clips import make
from tests.stored import Row, assert_whole, rows_in

pytestmark = pytest.mark.chaos

# Kills in all. On two free cores a trial takes about three seconds, nearly all of it the start of Python.
TRIALS = int(os.environ.get("PLANTAIN_CHAOS_TRIALS", "20"))
SEED = 20260
SEGMENT = 7
FRAMES = {"anna": 60, "bert": 45}
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
    def has_begun(self) -> bool:
        return (self.out / ".plantain" / "run.json").exists()


def kill(process: subprocess.Popen[bytes]) -> bool:
    """SIGKILL for the whole group; False if it had come to its end before."""
    was_running = process.poll() is None
    if was_running:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    return was_running


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("chaos")
    for name, count in FRAMES.items():
        make(made / f"{name}.mp4", count, size=(64, 48))
    return made


@pytest.mark.timeout(60 + 15 * TRIALS)
def test_a_run_killed_at_random_moments_ends_with_the_rows_of_an_undisturbed_one(folder):
    undisturbed = Job(folder, "undisturbed")
    began = time.monotonic()
    process = undisturbed.start()
    while not undisturbed.has_begun:
        time.sleep(0.02)
        assert process.poll() is None, process.stderr.read()
    start_s = time.monotonic() - began
    process.communicate(timeout=120)
    assert process.returncode == 0
    work_s = max(0.5, time.monotonic() - began - start_s)
    expected = rows_in(undisturbed.out)
    assert_everything(expected)

    moments = random.Random(SEED)
    job = Job(folder, "killed")
    kills = completed = 0
    amounts = set()
    while kills < TRIALS:
        during_start = kills % 5 == 0
        process = job.start()
        if during_start:
            time.sleep(moments.uniform(0, start_s))
        else:
            time.sleep(max(0.0, start_s + moments.uniform(-0.1, 1) * work_s))
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
    assert completed < TRIALS, "most kills should have met a run at work"
    assert len(amounts) > 2, "kills should have met it at different points"


def assert_everything(tables: dict[str, list[Row]]) -> None:
    """The undisturbed run itself is right."""
    assert_whole(tables, SEGMENT, FRAMES)
    assert len(tables["frames"]) == 3 * sum(FRAMES.values())
    assert len(tables["objects"]) > 3 * sum(FRAMES.values()), "several bars in each picture"
