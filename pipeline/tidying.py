"""When an output folder is tidied: once, by command, or beside a run, now and then."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from plantain.operators.redaction import sentence_of
from plantain.operators.sinks.parquet.tidy import Change, Keep, Tidy
from plantain.operators.sinks.store import Store
from plantain.pipeline.checkpoint import RUN, Checkpoints, read_json
from plantain.pipeline.config.output import KeepConfig, OutputConfig
from plantain.pipeline.deletions import Deletions

# Beside a run it is looked at first after this, and then so often, seconds: a job of minutes is left alone.
FIRST_S = 300.0
EVERY_S = 600.0
# How long the end of a run waits for what is being replaced.
CLOSE_S = 5.0
NICENESS = 10

log = structlog.get_logger()


def tidy(
    out: str, keep: KeepConfig, checkpoints: Checkpoints | None = None, deletions: Deletions | None = None
) -> Iterator[Change]:
    """Tidies an output folder; gives what was done, as it is done.

    Args:
        out: The folder.
        keep: What is kept how long.
        checkpoints: Of the run that is under way there; read from the folder if left out.
        deletions: Where it is noted what went.

    Raises:
        SinkError: If the storage does not do it.
    """
    store = Store(out)
    work = Tidy(out, _begins(store, checkpoints))
    noted = deletions or Deletions(store)
    noted.load()
    for change in work.expire(Keep(**keep.spans())):
        noted.add(change)
        yield change
    yield from work.compact()


def _begins(store: Store, known: Checkpoints | None) -> Callable[[str], tuple[int, int] | None]:
    segment_frames = int(read_json(store, RUN).get("segment_frames", 0))
    checkpoints = known or Checkpoints(store)

    def begins(stream_id: str) -> tuple[int, int] | None:
        """Where a file's rows may be made anew; nowhere near its end is known, none of them is touched."""
        durable = checkpoints.load(stream_id)
        if durable is not None and durable.is_complete:  # a file that has grown is gone on with from there
            durable = checkpoints.before_end(stream_id)
        if durable is None or not segment_frames:
            return None
        return durable.epoch, durable.position.frame_index // segment_frames

    return begins


@contextmanager
def tidying_beside(output: OutputConfig, checkpoints: Checkpoints, deletions: Deletions) -> Iterator[None]:
    """Tidies while a run goes on, in a thread that stands back; notes what it deletes."""
    is_over = threading.Event()

    def work() -> None:
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        pause_s = FIRST_S
        while not is_over.wait(pause_s):
            pause_s = EVERY_S
            try:
                for _ in tidy(output.out, output.keep, checkpoints, deletions):
                    if is_over.is_set():
                        return
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a folder, it is tried again
                log.warning("not tidied", error=sentence_of(error))

    thread = threading.Thread(target=work, name="plantain-tidy", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(CLOSE_S)
