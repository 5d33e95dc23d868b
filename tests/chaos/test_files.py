"""Whatever happens to a run over files, it ends with the rows and the messages of one that nobody disturbed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial

import pytest

from tests.chaos.conftest import SEED
from tests.chaos.jobs import FRAMES, MAX_CHANGES, SEGMENT, World, ended, finish, undisturbed
from tests.chaos.victim import Victim
from tests.moments import Progress
from tests.stored import assert_whole

pytestmark = pytest.mark.chaos

TRIALS = int(os.environ.get("PLANTAIN_CHAOS_TRIALS", "6"))
MAX_FAULTS = 5  # of one job: a stream that dies again and again without having stored anything is given up


# What may end one stream, which then shows what it had of its last segment, while the run goes on with the other.
ENDS_A_STREAM = ("disk full", "read failed", "write failed")

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
    world.has_drained |= name in ENDS_A_STREAM
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


@pytest.mark.timeout(600 + 60 * TRIALS)
def test_whatever_happens_every_frame_is_stored_once_and_sent_once(files: World) -> None:
    world = files
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
