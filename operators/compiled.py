"""Loops over pixels, compiled; what was compiled is kept on disk where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import structlog
from numba import njit

log = structlog.get_logger(__name__)

F = TypeVar("F", bound=Callable[..., Any])


def compiled(*, is_short: bool = False, **options: Any) -> Callable[[F], F]:
    """Decorates a function that numba compiles at its first call and that lets other threads run meanwhile.

    Kept beside the source, in the user's cache, or where NUMBA_CACHE_DIR says. Where none of them can be written to,
    as in a container with a read-only file system, each process compiles for itself.

    Args:
        is_short: It takes a fraction of a millisecond, and keeps Python's lock: whoever lets go of it waits as long to
            get it back while others compute.
        options: Further ones of `numba.njit`.
    """

    def decorate(function: F) -> F:
        try:
            made: F = njit(cache=True, nogil=not is_short, **options)(function)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            _tell()
            made = njit(nogil=not is_short, **options)(function)
        return made

    return decorate


@cache
def _tell() -> None:
    log.warning(
        "compiled loops are not kept", remedy="set NUMBA_CACHE_DIR to a folder that can be written to"
    )
