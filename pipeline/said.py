"""A command on its way: who waits for its answer, and how that is given."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from plantain.operators.streams import Start
from plantain.pipeline.commands import Command
from plantain.pipeline.engine.stream import Stream


@dataclass(slots=True, eq=False)
class Said:
    """A command on its way.

    Attributes:
        command: What was said.
        future: For its answer; cancelled if nobody wants it any more.
        deadline_s: It is not begun after this, in `time.monotonic`'s seconds.
        until_s: It waits no longer than this; set when it is begun.
        start: Where a stream that is to be added begins; done once that is known.
        stream: That it changed.
        is_new: Of an `Add`: False where the same request had added the stream before.
        kept: Done when what is wanted now is kept.
    """

    command: Command[Any]
    future: Future[Any]
    deadline_s: float
    until_s: float = 0.0
    start: Future[Start] | None = None
    stream: Stream | None = None
    is_new: bool = True
    kept: Future[None] | None = None


def settle(future: Future[Any], answer: object) -> None:
    """Gives an answer, or the error that came instead, to whoever waits; one that is on its way when it is there."""
    if isinstance(answer, Future):
        answer.add_done_callback(lambda done: settle(future, done.exception() or done.result()))
        return
    if not future.set_running_or_notify_cancel():
        return
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)
