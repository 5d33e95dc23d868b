"""Kafka sinks as tests make them, and what they are given to send."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plantain.operators.retry import retry
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.kafka.sink import KafkaSink
from plantain.operators.sinks.rows import Rows
from plantain.operators.types import Result
from tests.kafka_broker import Broker
from tests.results import result, written


@dataclass
class Sinks:
    """Makes sinks for one topic and run, and closes them."""

    broker: Broker
    prefix: str
    folder: Path
    stack: contextlib.ExitStack

    def __call__(self, **options: Any) -> KafkaSink:
        wanted = {"bootstrap": self.broker.bootstrap, "topic_prefix": self.prefix} | options
        sink = KafkaSink(str(self.folder), "run", **wanted)
        self.stack.callback(sink.close)
        return sink


def identities(frames: range, stream_id: str = "clip") -> list[str]:
    return [
        f"{stream_id}/0/{index}/{prompt}/0123" for index in frames for prompt in ("instances:car", "depth")
    ]


def segment(index: int, stream_id: str = "clip") -> Segment:
    return Segment(stream_id, 0, index)


def results(frames: range, stream_id: str = "clip") -> list[Result]:
    return [result(index, stream_id=stream_id) for index in frames]


def given(frames: range, stream_id: str = "clip") -> Rows:
    """What a sink is given to write."""
    return written(*results(frames, stream_id))


def store(sink: KafkaSink, index: int, frames: range) -> None:
    sink.write(segment(index), given(frames))
    sink.commit(segment(index))


def patiently(work: Callable[[], None]) -> None:
    """As the step `Write` calls sinks."""
    retry(work, "test")
