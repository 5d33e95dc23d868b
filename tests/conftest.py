"""What every test gets."""

from __future__ import annotations

import gc
import os
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

# The machine that runs the tests may be busy with other things; time is measured in tests/bench.
settings.register_profile("plantain", deadline=None)
settings.load_profile("plantain")

# Ray gives way to every other process (nice 15), and would come to a standstill beside other tests.
os.environ.setdefault("RAY_worker_niceness", "0")

# Threads of torch that wait for one another hold their cores until they are told not to, while other tests want them.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_collection_finish() -> None:
    """The libraries and five thousand tests stay to the end: no later look for garbage goes through them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_thread_is_left_behind() -> Iterator[None]:
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("plantain-")]
    assert not left, f"threads are left behind: {', '.join(left)}"


@pytest.fixture(autouse=True)
def _this_process_is_scheduled_as_before() -> Iterator[None]:
    """Whatever is started by one that goes before all others takes the cores from every other test."""
    before = os.sched_getscheduler(0)
    yield
    assert os.sched_getscheduler(0) == before, "this process is scheduled in another way than before"


@pytest.fixture(autouse=True, scope="module")
def _what_ray_leaves_is_swept_up() -> Iterator[None]:
    """Ray leaves pipes of its processes to the garbage collector, which would complain in some later test."""
    yield
    if "ray" in sys.modules:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@pytest.fixture
def no_log() -> Iterator[None]:
    """For a job that is a thread beside commands: their runner takes the process's output for theirs, and closes it."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield
    structlog.reset_defaults()
