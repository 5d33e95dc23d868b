"""A broker, and sinks that write to it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kafka_broker import Broker, skipped_without_broker
from tests.kafka_client import forgotten_sockets_are_closed
from tests.kafka_sinks import Sinks


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with skipped_without_broker():
        found = Broker.find()
    yield found
    found.close()


@pytest.fixture
def no_socket_is_left() -> Iterator[None]:
    with forgotten_sockets_are_closed():
        yield


@pytest.fixture
def prefix() -> str:
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
def sinks(broker: Broker, prefix: str, tmp_path: Path) -> Iterator[Sinks]:
    with contextlib.ExitStack() as stack:
        yield Sinks(broker, prefix, tmp_path, stack)
