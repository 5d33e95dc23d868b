"""Patience with work that may succeed later."""

from __future__ import annotations

import time
from collections.abc import Callable
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

T = TypeVar("T")

log = structlog.get_logger()


def retry(work: Callable[[], T], where: str, sleep: Callable[[float], None] = time.sleep) -> T:
    """`work()`, again after a pause while its error says that it may succeed later.

    Args:
        work: What to do; where it raises a retryable error it must have done nothing.
        where: For the log.
        sleep: How to wait.

    Raises:
        PlantainError: Its last error, if that is not a sink's that asks for patience.
    """
    attempt = 0
    while True:
        try:
            return work()
        except SinkBackpressureError as error:
            pause_s = error.retry_after_s
            log.warning("retry", where=where, error=redact(str(error)), pause_s=pause_s)
        except PlantainError as error:
            if not error.retryable or attempt == MAX_RETRIES:
                raise
            pause_s = FIRST_RETRY_S * 2**attempt
            if isinstance(error, ModelBusyError) and error.retry_after_s is not None:
                pause_s = error.retry_after_s
            if pause_s > LONGEST_PAUSE_S:
                raise
            attempt += 1
            log.warning("retry", where=where, error=redact(str(error)), pause_s=pause_s)
        sleep(pause_s)
