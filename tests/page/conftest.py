"""A browser for the tests of the page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chromium import Page, why_missing


@pytest.fixture(scope="module", autouse=True)
def _chromium() -> None:
    if (why := why_missing()) is not None:
        pytest.skip(why)


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    """One for all tests of a file, which lasts as long as a service that is theirs."""
    with Page(1400, 900) as tab:
        yield tab
