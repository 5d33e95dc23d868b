"""A Ray of our own on a machine that is too busy for it, for a while or for good."""

from __future__ import annotations

from typing import Any

import pytest
import ray

from plantain.deploy.ray import local
from plantain.operators.errors import PlantainError

LATE = "The current node timed out during startup. This could happen because some of the raylet failed to startup"


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[Exception | None]:
    """What becomes of each attempt."""
    fates: list[Exception | None] = []

    def init(**settings: Any) -> None:
        assert settings["address"] == "local"
        if (error := fates.pop(0)) is not None:
            raise error

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    return fates


def test_one_that_does_not_come_up_in_time_is_begun_again(starts: list[Exception | None]) -> None:
    starts += [Exception(LATE), Exception(LATE), None]
    local.start_ray(None)
    assert starts == []


def test_where_it_never_comes_up_that_is_one_sentence(starts: list[Exception | None]) -> None:
    starts += [Exception(LATE)] * local.STARTS
    with pytest.raises(PlantainError, match=r"^Ray did not start in 3 attempts of 30 s: .* too busy$"):
        local.start_ray(None)


def test_what_else_is_wrong_is_not_tried_again(starts: list[Exception | None]) -> None:
    starts += [ValueError("no such setting")]
    with pytest.raises(ValueError, match="no such setting"):
        local.start_ray(None)
