"""Patience with work that may succeed later."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog

from plantain.operators.errors import ModelBusyError, PlantainError, SinkBackpressureError
from plantain.operators.redaction import redact

# A retryable error is tried again this often before it counts as final; the waits double from the first, or are as
# long as a busy model says. One that asks for more than the longest pause is not waited for. A sink that cannot take
# more just now is waited for, however long: what comes before it waits, or drops by its own policy.
MAX_RETRIES = 5
FIRST_RETRY_S = 0.2
LONGEST_PAUSE_S = 60.0
# What is waited for again and again is told of so often, seconds of pauses.
TELL_EVERY_S = 60.0

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - of items

log = structlog.get_logger()


def retry(
    work: Callable[[], T],
    where: str,
    sleep: Callable[[float], None] = time.sleep,
    patience_s: float = math.inf,
) -> T:
    """`work()`, again after a pause while its error says that it may succeed later.

    Args:
        work: What to do; where it raises a retryable error it must have done nothing.
        where: For the log.
        sleep: How to wait.
        patience_s: All pauses together are no longer, seconds.

    Raises:
        PlantainError: Its last error, if that is not a sink's that asks for patience.
    """
    attempt, waited_s = 0, 0.0
    held_s, told_s = 0.0, -TELL_EVERY_S
    while True:
        try:
            done = work()
        except SinkBackpressureError as error:
            pause_s = error.retry_after_s
            if held_s - told_s >= TELL_EVERY_S:
                told_s = held_s
                sentence = redact(str(error))
                log.warning("retry", where=where, error=sentence, pause_s=pause_s, waited_s=round(held_s, 1))
            held_s += pause_s
        except PlantainError as error:
            if not error.retryable or attempt == MAX_RETRIES:
                raise
            pause_s = FIRST_RETRY_S * 2**attempt
            if isinstance(error, ModelBusyError) and error.retry_after_s is not None:
                pause_s = error.retry_after_s
            if pause_s > LONGEST_PAUSE_S or waited_s + pause_s > patience_s:
                raise
            attempt += 1
            waited_s += pause_s
            log.warning("retry", where=where, error=redact(str(error)), pause_s=pause_s)
        else:
            if held_s:
                log.info("goes on", where=where, waited_s=round(held_s, 1))
            return done
        sleep(pause_s)


def in_halves(
    work: Callable[[Sequence[I]], Sequence[T]],
    items: Sequence[I],
    fail: Callable[[Sequence[I], Exception], Sequence[T]],
) -> list[T]:
    """`work(items)`, or of each half where that raises, until the bad items stand alone.

    Args:
        work: One output for each item.
        items: At least one.
        fail: The outputs of items that cannot be had; what is only busy is busy for every half, too.
    """
    try:
        return list(work(items))
    except Exception as error:  # noqa: BLE001 - a user's backend may raise anything; it fails its own items only
        if len(items) == 1 or (isinstance(error, PlantainError) and error.retryable):
            return list(fail(items, error))
    half = len(items) // 2
    return in_halves(work, items[:half], fail) + in_halves(work, items[half:], fail)
