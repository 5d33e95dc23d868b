"""The processes that Ray has made for a run are killed, one kind after the other, and the run itself."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from functools import partial

import psutil
import pytest
import ray

from plantain.deploy.ray.cluster import start_ray
from tests.chaos.jobs import MAX_CHANGES, World, ended, finish, undisturbed
from tests.chaos.record import Record
from tests.moments import Progress

pytestmark = [pytest.mark.chaos, pytest.mark.ray]

TRIALS = int(os.environ.get("PLANTAIN_CHAOS_RAY_TRIALS", "1"))
KINDS = ("run", "write", "infer", "analyse", "read")
PATIENCE_S = 180.0


@pytest.fixture
def address() -> Iterator[str]:
    start_ray(None)
    try:
        yield ray.get_runtime_context().gcs_address
    finally:
        ray.shutdown()


class Actors:
    """The processes of this machine's Ray that hold workers, by stage; Ray says which only while they are made."""

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def look(self) -> None:
        for process in psutil.Process().children(recursive=True):
            try:
                name = " ".join(process.cmdline())
            except psutil.Error:
                continue
            for stage in KINDS:
                if name.startswith(f"ray::plantain-{stage}-"):
                    self._known[process.pid] = stage

    def of(self, stage: str) -> list[int]:
        return [pid for pid, kind in self._known.items() if kind == stage and psutil.pid_exists(pid)]


@pytest.mark.timeout(900 + 120 * TRIALS)
def test_every_kind_of_process_is_killed_and_every_frame_is_stored_once_and_sent_once(
    files: World, address: str
) -> None:
    undisturbed(files)
    files.record, files.arguments = Record("files on ray"), ("--address", address)
    try:
        while files.record.trials.total() < TRIALS:
            disturb(files, KINDS[files.record.trials.total() % len(KINDS)])
    finally:
        files.record.tell()
    assert files.record.losses == files.record.duplicates == 0


def disturb(world: World, kind: str) -> None:
    """One job, one kill."""
    job, actors, progress = world.new_job(), Actors(), Progress(world.out)
    job.start()

    def goes_on(end_s: float) -> bool:
        if kind != "run":
            actors.look()
        return job.runs(end_s)

    end_s = time.monotonic() + PATIENCE_S
    has_moved = progress.wait(world.chance.randint(10, MAX_CHANGES), partial(goes_on, end_s))
    assert has_moved, f"nothing is stored: {job.end() if not job.runs() else 'it runs'} {job.errors}"
    killed = time.monotonic()
    progress = Progress(world.out)
    if kind == "run":
        job.kill()
        assert job.end() == -signal.SIGKILL
        job.start()
    else:
        pids = actors.of(kind)
        assert pids, f"no process of {kind} was seen"
        os.kill(world.chance.choice(pids), signal.SIGKILL)
    has_moved = progress.wait(1, partial(job.runs, killed + PATIENCE_S))
    world.record.add(f"process of {kind} killed", time.monotonic() - killed if has_moved else None)
    if kind != "run":  # the run itself goes on
        assert ended(world, job) == 0, job.errors
        world.compare()
    else:
        finish(world, job)
