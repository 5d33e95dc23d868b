"""Services and checkpoints that several files of tests share, made once for each file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import structlog

from tests.answered import Answer


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


@pytest.fixture
def plantain(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Answer]]:
    """Calls the command in this process."""

    from plantain.deploy.cli import app as cli

    def call(*arguments: str | Path) -> Answer:
        monkeypatch.setattr("sys.argv", ["plantain", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        captured = capsys.readouterr()
        return Answer(left.value.code or 0, captured.out, captured.err)

    before = list(logging.getLogger().handlers)
    yield call
    logging.getLogger().handlers[:] = before
    structlog.reset_defaults()
