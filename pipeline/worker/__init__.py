"""The only callers of operators: they time them, and keep one bad item from spoiling the others."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from plantain.pipeline.graph import Kind, Stage
from plantain.pipeline.worker.base import StageWorker
from plantain.pipeline.worker.follower import FollowerWorker
from plantain.pipeline.worker.pool import PoolWorker
from plantain.pipeline.worker.source import ReaderWorker

Worker = StageWorker[Any]
"""A running copy of any stage."""


def worker_of(stage: Stage, sleep: Callable[[float], None] = time.sleep) -> Worker:
    """A running copy of a stage; its operator is made here.

    Args:
        stage: What to run.
        sleep: How to wait before a retry.
    """
    if stage.kind is Kind.SOURCE:
        return ReaderWorker(stage, sleep)
    return PoolWorker(stage, sleep) if stage.is_pool else FollowerWorker(stage, sleep)
