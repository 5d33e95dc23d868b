"""What the two ways of getting messages to Kafka have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.kafka.messages import Message

# Bytes that may wait for acknowledgement, whatever their number.
MAX_UNACKNOWLEDGED_BYTES = 64 << 20


class Delivery(Protocol):
    """Takes messages; the calls are those of a sink."""

    def begin(self, stream_id: str, *, is_resumed: bool) -> None:
        """Forgets what was not committed; where it is resumed, what was committed counts."""
        ...

    def send(self, segment: Segment, messages: Sequence[Message]) -> None:
        """Takes messages, all or none."""
        ...

    def commit(self, segment: Segment) -> None:
        """Returns when the segment's messages are stored."""
        ...

    def finish(self, stream_id: str) -> None:
        """Gives back what the stream held."""
        ...

    def close(self) -> None:
        """Drops what was not committed."""
        ...
