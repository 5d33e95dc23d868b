"""Services that several files of tests share, started once for each file."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest


@pytest.fixture(scope="module")
def locked() -> Iterator[str]:
    """A service with a token; its address."""
    from tests import doors  # here, so that only those who need a service load it

    with doors.locked() as base:
        yield base


@pytest.fixture(scope="module")
def guarded() -> Iterator[httpx.Client]:
    """A client of a service whose requests may name some cameras."""
    from tests import doors

    with doors.guarded() as http:
        yield http
