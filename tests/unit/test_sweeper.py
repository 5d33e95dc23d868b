"""What a process holds and does not use: given back now and then, also in a run of months."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from plantain.pipeline import sweeper
from plantain.pipeline.executor import ThreadExecutor
from plantain.pipeline.graph import Graph
from plantain.pipeline.sweeper import Sweeper
from tests.serving import eventually


class Circle:
    """Is reached from itself alone."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def never_collected() -> Iterator[None]:
    """As when a run allocates next to nothing: Python's own passes do not come."""
    before = gc.get_threshold()
    gc.set_threshold(10**9, 10**9, 10**9)
    yield
    gc.set_threshold(*before)


@pytest.fixture
def frozen_again() -> Iterator[None]:
    """What was there when the tests began is not looked through after this one, either (tests/conftest.py)."""
    yield
    gc.freeze()


def anonymous_mb() -> float:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Anonymous:")).split()[1]) / 1024


@pytest.mark.usefixtures("never_collected")
def test_circles_are_collected_beside_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "EVERY_S", 0.01)
    monkeypatch.setattr(sweeper, "LOOK_S", 0.01)
    executor = ThreadExecutor()
    executor.start(Graph(()))
    try:
        circle = weakref.ref(Circle())
        eventually(lambda: circle() is None, "collected")
    finally:
        executor.close()


@pytest.mark.parametrize(
    ("held_mb", "trims"),
    [
        ([300, 301, 304, 306, 307], 0),  # works at one level
        (
            [300, 304, 309, 270, 273, 275, 277],
            1,
        ),  # grows by 9 from what it settled at, is given back, grows by 6
        ([300, 309, 270, 279, 270, 279], 3),
        ([0, 0, 0], 0),  # no file says how much it is
    ],
)
def test_pages_go_back_when_much_more_is_held_than_a_moment_after_they_last_went(
    monkeypatch: pytest.MonkeyPatch, held_mb: list[int], trims: int
) -> None:
    looks, seen, trimmed = iter(held_mb), threading.Event(), []

    def resident_bytes() -> int:
        if (held := next(looks, None)) is None:
            seen.set()
        return (held or 0) << 20

    monkeypatch.setattr(sweeper, "LOOK_S", 0.001)
    monkeypatch.setattr(sweeper, "resident_bytes", resident_bytes)
    monkeypatch.setattr(sweeper, "trim", lambda: trimmed.append(True))
    sweeping = Sweeper()
    sweeping.start()
    assert seen.wait(10)
    sweeping.close()
    assert len(trimmed) == trims


@pytest.mark.skipif(sys.platform != "linux", reason="no such file there")
def test_what_is_held_is_what_the_kernel_says() -> None:
    status = Path("/proc/self/status").read_text()
    said_kb = int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])
    assert sweeper.resident_bytes() / 1024 == pytest.approx(said_kb, rel=0.05)


@pytest.mark.usefixtures("frozen_again")
def test_what_is_there_when_a_run_begins_is_not_looked_through_until_it_ends() -> None:
    first, second = ThreadExecutor(), ThreadExecutor()
    gc.unfreeze()
    first.start(Graph(()))
    assert gc.get_freeze_count() > 1000
    second.start(Graph(()))
    second.close()
    assert gc.get_freeze_count() > 1000, "another run goes on"
    first.close()
    assert gc.get_freeze_count() == 0
    first.start(Graph(()))
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("plantain-")] == [
        "plantain-sweeper"
    ]
    first.close()


@pytest.mark.skipif(sys.platform != "linux" or sweeper._trim is None, reason="another malloc")
def test_pages_that_are_free_between_others_go_back_to_the_system() -> None:
    begun_mb = anonymous_mb()
    blocks = [bytearray(60_000) for _ in range(4000)]
    kept = blocks[::100]
    del blocks
    held_mb = anonymous_mb() - begun_mb
    sweeper.sweep()
    assert held_mb > 100
    assert anonymous_mb() - begun_mb < 0.1 * held_mb
    assert len(kept) == 40


def test_a_sweeper_that_never_began_can_be_closed() -> None:
    Sweeper().close()
