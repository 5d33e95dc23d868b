"""Every place where workers live, for suites that must come out the same in each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import ray

from plantain.deploy.ray.cluster import start_ray
from plantain.deploy.ray.executor import RayExecutor
from plantain.pipeline.executor import Executor, InlineExecutor, ThreadExecutor


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    start_ray(None)
    yield
    ray.shutdown()


@pytest.fixture(params=["inline", "threads", pytest.param("ray", marks=pytest.mark.ray)])
def executor(request) -> Executor:
    """Each place in turn."""
    if request.param == "ray":
        request.getfixturevalue("local_ray")
        return RayExecutor()
    return InlineExecutor() if request.param == "inline" else ThreadExecutor()


@pytest.fixture(params=["inline", "threads"])
def executor_here(request) -> Executor:
    """Each place in this process; what is looked at is asked of Ray elsewhere (test_serve)."""
    return InlineExecutor() if request.param == "inline" else ThreadExecutor()
