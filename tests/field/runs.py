"""Runs of the whole pipeline in this process, on a model that costs nothing, and the rows that they leave."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from plantain.deploy.job import run_job
from plantain.operators.sinks.parquet.reading import read_frames
from plantain.pipeline.calls import Call
from plantain.pipeline.config import PipelineConfig, check
from plantain.pipeline.control import Control
from plantain.pipeline.executor import Executor, InlineExecutor
from plantain.pipeline.runner import Outcome
from tests.serving import PATIENCE_S

CANVAS = {"width": 64, "height": 36}


def run(
    inputs: Sequence[Path | str | dict[str, Any]],
    out: Path,
    *,
    replace: bool = False,
    threads: int | None = None,
    by: Executor | None = None,
    **settings: Any,
) -> Outcome:
    """Runs inputs, which are paths or whole streams, into a folder; `by` an executor or the one that settings name."""
    streams = [each if isinstance(each, dict) else {"url": str(each)} for each in inputs]
    if threads is not None:
        streams = [each | {"options": {"threads": str(threads)}} for each in streams]
    output = {"out": str(out), "segment_frames": 16, "rasters": False, "replace": replace} | settings.pop(
        "output", {}
    )
    config = check(
        {
            "streams": streams,
            "prompts": ["semantic:car"],
            "model": {"name": "fake", "canvas": CANVAS},
            "output": output,
            "executor": "inline",
            **settings,
        }
    )
    return run_job(config, executor=by)


class Killed(BaseException):
    """What ends a run as a kill does."""


class Mortal(InlineExecutor):
    """An executor that dies at one of its calls; nobody is told before.

    Args:
        last: Number of the call that it dies of; None to live.

    Attributes:
        calls: How many there were.
    """

    def __init__(self, last: int | None = None) -> None:
        super().__init__()
        self._last = last
        self.calls = 0

    def submit(self, call: Call) -> None:
        """Does the call, or dies."""
        self.calls += 1
        if self.calls == self._last:
            raise Killed
        super().submit(call)


def killed(inputs: Sequence[Path | str | dict[str, Any]], out: Path, at: int, **settings: Any) -> None:
    """Runs inputs until call number `at`, which is the end of it."""
    with pytest.raises(Killed):
        run(inputs, out, by=Mortal(at), **settings)


@contextmanager
def running(config: PipelineConfig) -> Iterator[Control]:
    """A run that goes on until the block is over."""
    control = Control(config)
    thread = threading.Thread(target=run_job, args=(config,), kwargs={"control": control}, name="running")
    thread.start()
    try:
        yield control
    finally:
        control.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def rows(out: Path, stream_id: str | None = None) -> list[tuple[Any, ...]]:
    """What is stored: stream, frame index, presentation time, image, in order."""
    columns = ["stream_id", "frame_index", "time_s", "image"]
    found = read_frames(out, columns, stream_id=stream_id)
    return sorted(zip(*(found[name].tolist() for name in columns), strict=True))


def indices(out: Path, stream_id: str | None = None) -> list[int]:
    """Frame indexes of a stream's rows."""
    return [row[1] for row in rows(out, stream_id)]
