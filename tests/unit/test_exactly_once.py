"""What the exactly-once delivery holds, and gives back."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any, cast

import pytest

from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.kafka import exactly_once
from plantain.operators.sinks.kafka.brokers import Brokers
from plantain.operators.sinks.kafka.exactly_once import ExactlyOnce
from plantain.operators.sinks.store import Store


class Slow:
    """Brokers that are found only when somebody says so."""

    standstill_s = 1.0

    def __init__(self) -> None:
        self.asked, self.found = threading.Event(), threading.Event()

    def explained(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def producer(self, name: str) -> str:
        self.asked.set()
        assert self.found.wait(10)
        return f"producer of {name}"


class Nothing:
    """A coordinator that knows of no transaction."""

    def __init__(self, *_: Any) -> None:
        pass

    def outcome_of(self, name: str) -> str:
        del name
        return "unknown"

    def close(self) -> None:
        pass


@pytest.mark.parametrize("num_closed_before", [0, 1, 2])
def test_a_producer_that_comes_after_the_end_is_given_back(
    num_closed_before: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay ends while its courier waits for brokers, which then are there again."""
    abandoned: list[str] = []
    monkeypatch.setattr(exactly_once, "Coordinator", Nothing)
    monkeypatch.setattr(exactly_once, "abandon", abandoned.append)
    monkeypatch.setattr(ExactlyOnce, "_take_over", lambda *_: None)
    brokers = Slow()
    topics = cast("Any", {"predictions": "t"})
    delivery = ExactlyOnce(cast("Brokers", brokers), topics, "run", Store(str(tmp_path)), 100)

    def work() -> None:
        with contextlib.suppress(ValueError):  # what was held is gone
            delivery.begin("gate", is_resumed=True)
            delivery.send(Segment("gate", 0, 0, is_live=True), [])
        delivery.close()

    courier = threading.Thread(target=work)
    courier.start()
    assert brokers.asked.wait(10)
    for _ in range(num_closed_before):
        delivery.close()
    brokers.found.set()
    courier.join(10)
    assert not courier.is_alive()
    assert abandoned == ["producer of t.run.gate"]
