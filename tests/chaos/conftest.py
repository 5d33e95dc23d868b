"""Where jobs over files are disturbed: clips, a disk that can be filled, and a broker where one can be had."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.assets.clips import make
from tests.chaos.disk import Disk
from tests.chaos.jobs import FRAMES, World
from tests.chaos.record import Record
from tests.kafka_broker import Broker, BrokerUnavailableError

SEED = int(os.environ.get("PLANTAIN_CHAOS_SEED", "20260"))


@pytest.fixture
def files(tmp_path: Path) -> Iterator[World]:
    for name, count in FRAMES.items():
        make(tmp_path / f"{name}.mp4", count, size=(64, 48))
    try:
        broker = Broker.find()
    except BrokerUnavailableError:
        if os.environ.get("REQUIRE_KAFKA") == "1":
            raise
        broker = None
    disk = Disk(tmp_path / "disk")
    try:
        yield World(tmp_path, disk, broker, random.Random(SEED), Record("files"))
    finally:
        disk.close()
        if broker is not None:
            broker.close()
