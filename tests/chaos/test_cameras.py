"""Whatever happens to cameras, brokers and the process between them: what was lost is counted, order is kept, and
soon after the cause has gone away, results come again."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.assets import clips
from tests.bench.material import repeat
from tests.books import assert_balanced, assert_closed, totals_of
from tests.chaos.disk import Disk
from tests.chaos.record import Record
from tests.chaos.victim import Victim
from tests.kafka_broker import Broker, skipped_without_broker
from tests.kafka_client import Follower
from tests.ports import free_port
from tests.rtsp_server import RtspServer, why_missing

pytestmark = [pytest.mark.chaos, pytest.mark.rtsp, pytest.mark.kafka]

TRIALS = int(os.environ.get("PLANTAIN_CHAOS_LIVE_TRIALS", "7"))
SEED = int(os.environ.get("PLANTAIN_CHAOS_SEED", "20260"))
# From when a cause has gone away; a machine that is busy with other things may be given more.
RECOVERY_S = float(os.environ.get("PLANTAIN_CHAOS_RECOVERY_S", "60"))
PATIENCE_S = 120.0
CAMERAS = ("gate", "yard")
PROMPTS = ("depth", "instances:bar")
# Faults of one life, which then is told to end and has its books checked.
FAULTS_OF_A_LIFE = 8


@dataclass
class World:
    """Two cameras, a broker, and the job between them."""

    servers: dict[str, RtspServer]
    broker: Broker
    disk: Disk
    job: Victim
    follower: Follower
    chance: random.Random
    metrics: str
    record: Record = field(default_factory=lambda: Record("live"))

    @property
    def fates(self) -> Path:
        return self.disk.folder / "fates"

    def latest(self, first_epochs: dict[str, int]) -> dict[str, float]:
        """When each camera's latest result arrived; what an earlier life sent arrives late and does not count."""
        return {
            arrival.stream_id: arrival.at_s
            for arrival in list(self.follower.arrivals)
            if arrival.epoch >= first_epochs[arrival.stream_id]
        }

    def has_all_since(self, at_s: float, first_epochs: dict[str, int]) -> bool:
        """Whether this life has had a result of each camera since then."""
        latest = self.latest(first_epochs)
        return all(latest.get(name, 0.0) > at_s for name in CAMERAS)

    def next_epochs(self) -> dict[str, int]:
        """One more than the highest epoch of each camera that was seen."""
        highest = dict.fromkeys(CAMERAS, -1)
        for arrival in list(self.follower.arrivals):
            highest[arrival.stream_id] = max(highest[arrival.stream_id], arrival.epoch)
        return {name: epoch + 1 for name, epoch in highest.items()}


Fault = Callable[[World], None]


def killed(world: World) -> None:
    world.job.kill()
    assert world.job.end() == -signal.SIGKILL, world.job.errors


def stopped(world: World) -> None:
    world.job.stop(world.chance.uniform(0.3, 5))


def clock_set(world: World) -> None:
    world.job.set_clock(world.chance.choice([-86_400, -3600, -5, 5, 3600]))
    time.sleep(0.5)


def disk_full(world: World) -> None:
    world.disk.fill()
    time.sleep(world.chance.uniform(0.5, 5))
    world.disk.free()


def camera_killed(world: World) -> None:
    server = world.servers[world.chance.choice(CAMERAS)]
    server.kill()
    time.sleep(world.chance.uniform(0, 6))
    server.start()


def cameras_frozen(world: World) -> None:
    for server in world.servers.values():
        server.freeze()
    time.sleep(world.chance.uniform(0.5, 8))
    for server in world.servers.values():
        server.thaw()


def broker_killed(world: World) -> None:
    world.broker.kill()
    time.sleep(world.chance.uniform(0, 6))
    world.broker.start()


def broker_frozen(world: World) -> None:
    world.broker.freeze()
    time.sleep(world.chance.uniform(0.5, 8))
    world.broker.thaw()


def worker_died(stage: str, world: World) -> None:
    sign = world.fates / f"die-{stage}"
    sign.touch()
    end_s = time.monotonic() + PATIENCE_S
    while sign.exists() and world.job.runs(end_s):
        time.sleep(0.01)
    assert not sign.exists(), f"no call of {stage}"


def faults(world: World) -> dict[str, Fault]:
    """What can happen here."""
    found: dict[str, Fault] = {
        "process killed": killed,
        "process stopped": stopped,
        "clock set": clock_set,
        "camera killed": camera_killed,
        "cameras frozen": cameras_frozen,
    }
    found |= {f"worker of {stage} died": partial(worker_died, stage) for stage in ("infer", "write")}
    if world.broker.is_ours:
        found |= {"broker killed": broker_killed, "broker frozen": broker_frozen}
    if world.disk.why_not:
        world.record.missing["disk full"] = world.disk.why_not
    else:
        found["disk full"] = disk_full
    return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    if reason := why_missing():
        if os.environ.get("REQUIRE_RTSP") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with skipped_without_broker():
        broker = Broker.find()
    loop = clips.make(tmp_path / "loop.mp4", 250, size=(160, 96), gop=12, b_frames=0)
    clip = repeat(loop, tmp_path / "clip.mp4", 720)  # two hours
    prefix = f"live{os.getpid()}"
    port = free_port()
    with ExitStack() as stack:
        stack.callback(broker.close)
        broker.make_topic(f"{prefix}.predictions")
        disk = Disk(tmp_path / "disk")
        stack.callback(disk.close)
        (disk.folder / "fates").mkdir()
        servers = {name: stack.enter_context(RtspServer(clip)) for name in CAMERAS}
        job = Victim(tmp_path, settings(servers, disk, broker, prefix), "--metrics", str(port))
        stack.callback(job.kill)
        follower = Follower(broker.bootstrap, prefix, late_ms=100)
        stack.callback(follower.close)
        yield World(
            servers, broker, disk, job, follower, random.Random(SEED), f"http://127.0.0.1:{port}/metrics"
        )


def settings(servers: dict[str, RtspServer], disk: Disk, broker: Broker, prefix: str) -> dict[str, Any]:
    return {
        "streams": [
            {"id": name, "url": server.url(), "fps": 5, "options": {"timeout_s": "2"}}
            for name, server in servers.items()
        ],
        "prompts": list(PROMPTS),
        "model": {"name": "tests.chaos.fates:Model", "options": {"fates": str(disk.folder / "fates")}},
        "output": {
            "out": str(disk.folder / "out"),
            "segment_frames": 64,
            "sinks": ["tests.chaos.fates:Sink", "kafka"],
            "kafka": {"bootstrap": broker.bootstrap, "topic_prefix": prefix},
        },
    }


@pytest.mark.timeout(600 + 90 * TRIALS)
def test_whatever_happens_cameras_are_live_again_and_what_was_lost_is_counted(world: World) -> None:
    choice = faults(world)
    first_epochs = begin(world)
    num_faults, has_taken_back = 0, False
    names: list[str] = []
    while world.record.trials.total() < TRIALS:
        names = names or world.chance.sample(list(choice), len(choice))
        name = names.pop()
        time.sleep(world.chance.uniform(0, 2))
        choice[name](world)
        healed_s = time.monotonic()
        if not world.job.runs():
            first_epochs, num_faults, has_taken_back = begin(world, wait=False), 0, False
            healed_s = time.monotonic()
        recovered = world.follower.wait(
            lambda: world.has_all_since(healed_s, first_epochs),  # noqa: B023 (called at once)
            PATIENCE_S,
        )
        assert recovered, f"no results {PATIENCE_S} s after: {name}"
        world.record.add(name, max(world.latest(first_epochs).values()) - healed_s)
        has_taken_back = has_taken_back or name in ("worker of write died", "disk full")
        totals = totals_of(world.metrics)
        assert set(totals) == set(CAMERAS)
        assert_balanced(totals, has_taken_back=has_taken_back)
        num_faults += 1
        if num_faults == FAULTS_OF_A_LIFE:
            finish(world, first_epochs)
            first_epochs, num_faults, has_taken_back = begin(world), 0, False
    finish(world, first_epochs)
    repeats = assert_in_order(world)
    world.record.tell(seed=SEED, results=len(world.follower.arrivals), repeats=repeats)
    assert world.record.losses == world.record.duplicates == 0
    assert world.record.longest_gap_s < RECOVERY_S, world.record.gaps_s


def begin(world: World, *, wait: bool = True) -> dict[str, int]:
    """Starts a life of the job, and tells which epochs are its own: these and later ones."""
    wait_until_quiet(world)
    epochs, began_s = world.next_epochs(), time.monotonic()
    world.job.start()
    if wait:
        assert world.follower.wait(lambda: world.has_all_since(began_s, epochs), PATIENCE_S), "nothing comes"
    return epochs


def wait_until_quiet(world: World) -> None:
    """What the life before sent has arrived."""
    num_before = -1
    while num_before != (num_now := len(world.follower.arrivals)):
        num_before = num_now
        time.sleep(0.3)


def finish(world: World, first_epochs: dict[str, int]) -> None:
    """Tells the job to end; its books must balance, and everything that it counts as a result must have arrived."""
    world.job.interrupt()
    assert world.job.end() == 130, world.job.errors
    for stream in world.job.report["streams"]:
        assert_closed(stream)

        def arrived(name: str = stream["stream_id"]) -> int:
            return len(
                {
                    (arrival.epoch, arrival.frame_index)
                    for arrival in list(world.follower.arrivals)
                    if arrival.stream_id == name and arrival.epoch >= first_epochs[name]
                }
            )

        world.follower.wait(lambda: arrived() >= stream["results"], 30)  # noqa: B023 (called at once)
        world.record.losses += max(0, stream["results"] - arrived())


def assert_in_order(world: World) -> int:
    """First arrivals are in order; what comes again says the same; every prompt was answered. Returns the repeats."""
    repeats = 0
    for name in CAMERAS:
        seen: dict[tuple[int, int, str], int] = {}
        newest = (-1, -1)
        for arrival in world.follower.arrivals:
            if arrival.stream_id != name:
                continue
            identity = (arrival.epoch, arrival.frame_index, arrival.prompt)
            if identity in seen:
                repeats += 1
                world.record.duplicates += (
                    seen[identity] != arrival.value_of
                )  # another frame under the same name
                continue
            seen[identity] = arrival.value_of
            assert identity[:2] >= newest, f"{name}: {identity} after {newest}"
            newest = identity[:2]
    return repeats
