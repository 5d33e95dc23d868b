"""Services and checkpoints that several files of tests share, made once for each file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

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


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny checkpoint, by its name in `tests.checkpoints`."""
    import torch

    from tests import checkpoints

    root, made = tmp_path_factory.mktemp("checkpoints"), dict[str, Path]()

    def of(name: str) -> Path:
        if name not in made:
            torch.manual_seed(0)  # what is not widened is drawn, too
            made[name] = getattr(checkpoints, name)(root / name)
        return made[name]

    return of
