"""Whatever happens to a run over files, it ends with the rows and the messages of one that nobody disturbed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from operators.sinks.rows import TIMING_COLUMNS
from tests.assets.clips import make
from tests.chaos.disk import Disk
from tests.chaos.record import Record
from tests.chaos.victim import Victim
from tests.kafka_broker import Broker, BrokerUnavailableError
from tests.kafka_client import header, records
from tests.moments import Progress
from tests.stored import Row, assert_whole, rows_in

pytestmark = pytest.mark.chaos

TRIALS = int(os.environ.get("PLANTAIN_CHAOS_TRIALS", "16"))
SEED = int(os.environ.get("PLANTAIN_CHAOS_SEED", "20260"))
SEGMENT = 7
FRAMES = {"anna": 60, "bert": 45}
NUM_SEGMENTS = sum(-(-count // SEGMENT) for count in FRAMES.values())
# Files that come or are replaced: about so many for each segment, and so many at most before a fault.
CHANGES_OF_A_SEGMENT = 10
MAX_CHANGES = 40
MAX_FAULTS = 5  # of one job: a stream that dies again and again without having stored anything is given up
MAX_RUNS = 4  # that a job may need when nothing more happens to it


@dataclass
class World:
    """Where jobs run, and what they depend on."""

    folder: Path
    disk: Disk
    broker: Broker | None
    chance: random.Random
    record: Record
    num_jobs: int = 0
    has_drained: bool = False
    start_s: float = 1.0
    expected: tuple[Any, Any] = field(default=(None, None))

    @property
    def out(self) -> Path:
        return self.disk.folder / "out"

    @property
    def fates(self) -> Path:
        return self.disk.folder / "fates"

    def new_job(self) -> Victim:
        """A job whose folder and topic are new."""
        self.num_jobs += 1
        self.has_drained = False
        for folder in (self.out, self.fates):
            shutil.rmtree(folder, ignore_errors=True)
        self.fates.mkdir()
        kafka = {"bootstrap": self.broker.bootstrap, "transactional": True} if self.broker else {}
        settings = {
            "streams": [
                {
                    "id": clip,
                    "url": str(self.folder / f"{clip}.mp4"),
                    "source": "tests.chaos.fates:Source",
                    "options": {"fates": str(self.fates)},
                }
                for clip in FRAMES
            ],
            "prompts": ["depth", "instances:bar", "semantic:dark,bright"],
            "model": {
                "name": "tests.chaos.fates:Model",
                "options": {"fates": str(self.fates), "refuses": "11,30", "cost_ms": 10},
            },
            "read": {"chunk_frames": 4, "max_frames_in_flight": 16},
            "batch": {"max_wait_ms": 5},
            "output": {
                "out": str(self.out),
                "segment_frames": SEGMENT,
                "sinks": ["tests.chaos.fates:Sink", *(["kafka"] if self.broker else [])],
                "kafka": kafka | {"topic_prefix": self.prefix},
            },
        }
        return Victim(self.folder, settings)

    @property
    def prefix(self) -> str:
        return f"chaos{self.num_jobs}"

    @property
    def has_much_to_do(self) -> bool:
        """Whether a fault will meet the job at work."""
        stored = len(list(self.out.glob("frames/*/*.parquet")))
        return NUM_SEGMENTS - stored > MAX_CHANGES // CHANGES_OF_A_SEGMENT

    def rows(self) -> dict[str, list[Row]]:
        return {name: [without_run(row) for row in rows] for name, rows in rows_in(self.out).items()}

    def messages(self) -> dict[str, list[tuple[str, Row]]]:
        """Committed messages with their identities, by stream, in their order."""
        found: dict[str, list[tuple[str, Row]]] = {}
        if self.broker is not None:
            for record in records(self.broker.bootstrap, self.prefix):
                value = json.loads(record.value())
                for name in TIMING_COLUMNS:
                    del value[name]
                found.setdefault(record.key().decode(), []).append(
                    (header(record, "ce_id"), without_run(value))
                )
        return found

    def compare(self) -> None:
        """The job is done: everything is there, once."""
        rows, messages = self.rows(), self.messages()
        assert_whole(rows, SEGMENT, FRAMES)
        for stream_id, expected in self.expected[1].items():
            found = [identity for identity, _ in messages.get(stream_id, [])]
            self.record.losses += len({identity for identity, _ in expected} - set(found))
            self.record.duplicates += len(found) - len(set(found))
        assert rows == self.expected[0]
        assert messages == self.expected[1]
        assert not list(self.out.glob(".plantain/segments/*/*")), "something half-made is left"


def without_run(row: Row) -> Row:
    """The run's name depends on that of the topic."""
    return {name: value for name, value in row.items() if name != "run_id"}


Fault = Callable[[World, Victim], None]
Choice = dict[str, tuple[int, Fault]]


def killed(world: World, job: Victim) -> None:
    job.kill()


def stopped(world: World, job: Victim) -> None:
    job.stop(world.chance.uniform(0.1, 3))


def clock_set(world: World, job: Victim) -> None:
    job.set_clock(world.chance.choice([-86_400 * 30, -3600, -5, 5, 3600, 86_400 * 30]))
    time.sleep(0.2)  # it is looked at ten times a second


def disk_full(world: World, job: Victim) -> None:
    world.disk.fill()
    end_s = time.monotonic() + world.chance.uniform(0.5, 5)
    while job.runs(end_s):
        time.sleep(0.05)
    world.disk.free()


def broker_killed(world: World, job: Victim) -> None:
    assert world.broker is not None
    world.broker.kill()
    time.sleep(world.chance.uniform(0, 3))
    world.broker.start()


def broker_frozen(world: World, job: Victim) -> None:
    assert world.broker is not None
    world.broker.freeze()
    time.sleep(world.chance.uniform(0.5, 6))
    world.broker.thaw()


def fate(way: str, world: World, job: Victim) -> None:
    """A worker dies, or breaks, at its next call."""
    sign = world.fates / way
    sign.touch()
    while sign.exists() and job.runs():
        time.sleep(0.01)
    sign.unlink(missing_ok=True)


def faults(world: World) -> Choice:
    """What can happen here, and how likely it is."""
    found: Choice = {
        "process killed": (5, killed),
        "process stopped": (2, stopped),
        "clock set": (2, clock_set),
    }
    for stage in ("read", "infer", "write", "commit"):
        found[f"worker of {stage} died"] = (1, partial(fate, f"die-{stage}"))
    for stage in ("read", "write"):
        found[f"{stage} failed"] = (1, partial(fate, f"fail-{stage}"))
    if world.disk.why_not:
        world.record.missing["disk full"] = world.disk.why_not
    else:
        found["disk full"] = (2, disk_full)
    if world.broker is None:
        world.record.missing["broker"] = "none can be had here"
    elif world.broker.is_ours:
        found |= {"broker killed": (1, broker_killed), "broker frozen": (2, broker_frozen)}
    return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    for name, count in FRAMES.items():
        make(tmp_path / f"{name}.mp4", count, size=(64, 48))
    try:
        broker = Broker.find()
    except BrokerUnavailableError:
        if os.environ.get("REQUIRE_KAFKA") == "1":
            raise
        broker = None
    disk = Disk(tmp_path / "disk")
    try:
        yield World(tmp_path, disk, broker, random.Random(SEED), Record("files"))
    finally:
        disk.close()
        if broker is not None:
            broker.close()


def undisturbed(world: World) -> None:
    """What every job must end with."""
    job = world.new_job()
    job.start()
    assert job.end() == 0, job.errors
    rows = world.rows()
    assert_whole(rows, SEGMENT, FRAMES)
    assert len(rows["frames"]) == 3 * sum(FRAMES.values())
    assert len(rows["objects"]) > 3 * sum(FRAMES.values()), "several bars in each picture"
    world.expected = rows, world.messages()
    if world.broker is not None:
        assert {name: len(found) for name, found in world.expected[1].items()} == {
            name: 3 * count for name, count in FRAMES.items()
        }


def disturb(world: World, job: Victim, choice: Choice) -> bool:
    """Lets a run go on, or start, until a fault strikes it; whether one did."""
    chance, began = world.chance, time.monotonic()
    if job.is_started and not job.runs() and ended(world, job) == 0:
        return False
    progress = Progress(world.out)
    if not job.is_started:
        job.start()
        if chance.random() < 0.2:  # in the midst of starting
            progress.wait(1, partial(job.runs, began + chance.uniform(0, world.start_s)))
        elif progress.wait(1, job.runs):
            world.start_s = time.monotonic() - began
    if not world.has_much_to_do:
        return False
    if progress.changes:
        progress.wait(chance.randint(1, MAX_CHANGES), job.runs)
        progress.pause(chance)
    if not job.runs():
        return True
    (name,) = chance.choices(list(choice), [weight for weight, _ in choice.values()])
    choice[name][1](world, job)
    healed = time.monotonic()
    if name == "process killed":
        code = job.end()
        assert code == -signal.SIGKILL, f"{code}: {job.errors}"
        if not world.has_drained:
            assert_whole(world.rows(), SEGMENT, FRAMES)
    if not job.runs():
        if job.is_started and ended(world, job) == 0:
            return False
        job.start()
    has_moved = Progress(world.out).wait(1, job.runs)
    world.record.add(name, time.monotonic() - healed if has_moved else None)
    return True


def ended(world: World, job: Victim) -> int:
    """How a run ended that nobody killed; what it had of its last segments is there to see."""
    code = job.end()
    world.has_drained = True
    if code == 2 and "no space is left" in job.errors:  # it could not even begin
        return code
    assert code in (0, 1), f"{code}: {job.errors}"
    for stream in job.report["streams"]:
        gone = sum(stream["failed"].values()) + sum(stream["dropped"].values())
        assert stream["decoded"] >= stream["results"] + gone, stream
        assert code or stream["decoded"] == stream["results"] + gone, stream
    return code


def finish(world: World, job: Victim) -> None:
    """Runs a job to its end, and looks at what is there."""
    for _ in range(MAX_RUNS):
        if not job.is_started:
            job.start()
        if ended(world, job) == 0:
            break
    else:
        pytest.fail(f"the job is not done after {MAX_RUNS} runs: {job.errors}")
    world.compare()


@pytest.mark.timeout(600 + 60 * TRIALS)
def test_whatever_happens_every_frame_is_stored_once_and_sent_once(world: World) -> None:
    undisturbed(world)
    choice = faults(world)
    try:
        while world.record.trials.total() < TRIALS:
            job = world.new_job()
            for _ in range(MAX_FAULTS):
                if not disturb(world, job, choice):
                    break
            finish(world, job)
    finally:
        world.record.tell(seed=SEED, jobs=world.num_jobs - 1)
    assert world.record.losses == world.record.duplicates == 0
