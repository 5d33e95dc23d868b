"""A run that is killed at random moments, and a reader who looks into its folder all the while."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import signal
import threading
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from plantain.pipeline.config import check
from tests.assets.clips import make
from tests.moments import Progress
from tests.stored import assert_whole, rows_in

NUM_KILLS = 20
SEGMENT = 8
FRAMES = {"anna": 150, "bert": 90}
# Files that come or are replaced while a segment is stored: about so many.
CHANGES_OF_A_SEGMENT = 10
PATIENCE_S = 120.0
# A look reads every row twice: more often, and the reader takes a core of the two.
LOOK_EVERY_S = 0.3

# Each run is a fork of a process that has imported everything, so that a kill costs what it undoes and no more.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "plantain.deploy.job",
        "plantain.operators.infer",
        "plantain.operators.sinks.parquet.sink",
        "tests.plugins",
    ]
)


def work(settings: dict[str, Any]) -> None:
    from plantain.deploy.job import run_job

    outcome = run_job(check(settings))
    assert outcome.exit_code == 0, outcome


def settings_of(folder: Path, out: Path) -> dict[str, Any]:
    return {
        "streams": [{"id": name, "url": str(folder / f"{name}.mp4")} for name in FRAMES],
        "prompts": ["depth", "instances:bar", "semantic:dark,bright"],
        "model": {"name": "tests.plugins:PickyModel", "options": {"cost_ms": 10}},
        "read": {"chunk_frames": 4, "max_frames_in_flight": 16},
        "batch": {"max_wait_ms": 5},
        "output": {"out": str(out), "segment_frames": SEGMENT},
        "executor": "threads",
    }


def begun(settings: dict[str, Any]) -> BaseProcess:
    process = PROCESSES.Process(target=work, args=(settings,))
    process.start()
    return process


def finish(settings: dict[str, Any]) -> None:
    process = begun(settings)
    process.join(PATIENCE_S)
    assert process.exitcode == 0


class Reader(threading.Thread):
    """Reads both tables again and again, and remembers the first thing that was wrong."""

    def __init__(self, out: Path) -> None:
        super().__init__(name="reader")
        self._out = out
        self._stop_reading = threading.Event()
        self.num_looks = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        most: Counter[str] = Counter()
        while not self._stop_reading.wait(LOOK_EVERY_S):
            try:
                tables = steady_look(self._out)
                assert_whole(tables, SEGMENT, FRAMES)
                now = Counter(row["stream_id"] for row in tables["frames"] if row["prompt"] == "depth")
                for stream_id, count in most.items():
                    # Only a stream that begins anew, killed before its first segment was noted, takes that away.
                    assert now[stream_id] >= count or count <= SEGMENT, "what was stored is gone"
                most = now
            except BaseException as error:  # noqa: BLE001 - it is raised where the test waits
                self.error = error
                return
            self.num_looks += 1

    def stop(self) -> None:
        self._stop_reading.set()
        self.join(PATIENCE_S)
        if self.error is not None:
            raise self.error


def steady_look(out: Path) -> dict[str, list[dict[str, Any]]]:
    """Both tables at one moment: two looks at them that show the same.

    A stream that begins anew takes its earlier parts away; a look that meets this is no look.
    """
    tables = None
    while True:
        with contextlib.suppress(FileNotFoundError):
            again = rows_in(out)
            if again == tables:
                return again
            tables = again


@pytest.mark.timeout(600)
def test_killed_at_twenty_moments_a_run_ends_with_the_rows_of_one_that_was_not(tmp_path: Path) -> None:
    for name, count in FRAMES.items():
        make(tmp_path / f"{name}.mp4", count, size=(64, 48), gop=12)
    undisturbed = settings_of(tmp_path, tmp_path / "undisturbed")
    finish(undisturbed)
    expected = rows_in(tmp_path / "undisturbed")
    assert_whole(expected, SEGMENT, FRAMES)
    chance = random.Random(20)
    kills = jobs = looks = 0
    while kills < NUM_KILLS:
        out = tmp_path / f"out{jobs}"
        jobs += 1
        settings = settings_of(tmp_path, out)
        reader = Reader(out)
        reader.start()
        try:
            while kills < NUM_KILLS:
                progress = Progress(out)
                process = begun(settings)
                if progress.wait(chance.randint(1, 3 * CHANGES_OF_A_SEGMENT), process.is_alive):
                    progress.pause(chance)
                if not process.is_alive():
                    break
                process.kill()
                process.join(PATIENCE_S)
                if process.exitcode == 0:
                    break  # it was just done
                assert process.exitcode == -signal.SIGKILL
                kills += 1
            finish(settings)
        finally:
            reader.stop()
        looks += reader.num_looks
        assert rows_in(out) == expected
    assert looks > NUM_KILLS
