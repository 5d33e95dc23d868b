"""A job over files, where it runs and what it depends on, and what it must end with."""

from __future__ import annotations

import json
import random
import shutil
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from plantain.operators.sinks.columns import TIMING_COLUMNS
from tests.chaos.disk import Disk
from tests.chaos.record import Record
from tests.chaos.victim import Victim
from tests.kafka_broker import Broker
from tests.kafka_client import header, records
from tests.stored import Row, assert_whole, rows_in

SEGMENT = 7
FRAMES = {"anna": 60, "bert": 45}
NUM_SEGMENTS = sum(-(-count // SEGMENT) for count in FRAMES.values())
# Files that come or are replaced: about so many for each segment, and so many at most before a fault.
CHANGES_OF_A_SEGMENT = 10
MAX_CHANGES = 40
MAX_RUNS = 4  # that a job may need when nothing more happens to it
# A broker tells of a commit before it has written the markers that make the messages visible.
MARKERS_S = 10.0


@dataclass
class World:
    """Where jobs run, and what they depend on."""

    folder: Path
    disk: Disk
    broker: Broker | None
    chance: random.Random
    record: Record
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:8])  # the broker may know others
    num_jobs: int = 0
    has_drained: bool = False
    start_s: float = 1.0
    arguments: tuple[str, ...] = ()
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
        return Victim(self.folder, settings, *self.arguments)

    @property
    def prefix(self) -> str:
        return f"chaos{self.num_jobs}-{self.name}"

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
        deadline_s = time.monotonic() + MARKERS_S
        while messages != self.expected[1] and time.monotonic() < deadline_s:
            time.sleep(0.2)
            messages = self.messages()
        assert_whole(rows, SEGMENT, FRAMES)
        for stream_id, expected in self.expected[1].items():
            found = [identity for identity, _ in messages.get(stream_id, [])]
            self.record.losses += len({identity for identity, _ in expected} - set(found))
            self.record.duplicates += len(found) - len(set(found))
        for table, wanted in self.expected[0].items():
            pairs = [pair for pair in zip(rows[table], wanted, strict=True) if pair[0] != pair[1]]
            told = [
                {key: (row[key], one[key]) for key in row if row[key] != one[key]} for row, one in pairs[:3]
            ]
            assert not pairs, f"{len(pairs)} rows of {table} are others than they must be: {told}"
        assert messages == self.expected[1]
        assert not list(self.out.glob(".plantain/segments/*/*")), "something half-made is left"


def without_run(row: Row) -> Row:
    """The run's name depends on that of the topic."""
    return {name: value for name, value in row.items() if name != "run_id"}


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


def ended(world: World, job: Victim) -> int:
    """How a run ended that nobody killed; what it had of its last segments is there to see."""
    code = job.end()
    world.has_drained = True
    if code == 2 and "no space is left" in job.errors:  # it could not even begin
        return code
    assert code in (0, 1), f"{code}: {job.errors}"
    assert job.report, f"it ended without a report: {job.errors}"
    for stream in job.report["streams"]:
        gone = sum(sum(stream[what].values()) for what in ("failed", "lost", "skipped"))
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
