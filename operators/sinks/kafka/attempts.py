"""An attempt at a stream: how far it is committed, and what of that must outlive the process."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from plantain.operators.sinks.kafka.coordinator import Outcome
from plantain.operators.sinks.kafka.messages import Message
from plantain.operators.sinks.store import Store

LATEST_NS = 2**63 - 1
"""Later than any gap ends."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a stream is committed; stored as a text in the same transaction as its messages.

    Attributes:
        first: Position of the first message of the transaction.
        last: Position of its last message.
        fingerprint: Of the model that answered.
        number: Counts the marks that came to count.
    """

    first: tuple[int, ...]
    last: tuple[int, ...]
    fingerprint: str
    number: int

    def covers(self, message: Message) -> bool:
        """Whether a message counts; those of the same frame share their fate."""
        return message.position <= self.last and message.fingerprint in ("", self.fingerprint)

    def renewed(self) -> Mark:
        """The same, told apart."""
        return replace(self, number=self.number + 1)

    def without_its_own(self) -> Mark:
        """What is left if the messages of the mark's transaction are gone."""
        epoch, index, *end = self.first
        return replace(self, last=(epoch, index, end[0] - 1) if end else (epoch, index - 1, LATEST_NS))

    def written(self) -> str:
        """As a text, which `read` understands."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str | None) -> Mark | None:
        """The mark of a text, None if there is none."""
        if not text:
            return None
        fields = json.loads(text)
        return cls(tuple(fields["first"]), tuple(fields["last"]), fields["fingerprint"], fields["number"])


@dataclass(slots=True)
class Attempt:
    """One attempt at a stream.

    Of a transaction whose commit was decided, the messages and the mark may come to count one after the other. While
    just one half of it counts, the other hangs, and a transaction that settles that might be broken off, and take the
    other half away (`coordinator.settle`); `half` and `mark` are noted before.

    Attributes:
        name: Another attempt sends everything anew.
        outcome: Of the transaction before the producer's first, until nothing of that can hang any more.
        promise: The mark of the last transaction that was to be committed.
        half: Which half of a committed transaction counted when the other was found hanging.
        mark: Of that transaction.
    """

    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    outcome: Outcome | None = None
    promise: str | None = None
    half: Literal["messages", "mark"] | None = None
    mark: str | None = None

    def reaches(self, text: str | None) -> Mark | None:
        """How far the stream is committed when nothing hangs any more.

        Args:
            text: The mark that the brokers tell.
        """
        told = Mark.read(text)
        if told is not None and self.half == "mark" and self.mark == text:
            return told.without_its_own()  # settling would have renewed it, had it not been broken off
        mark = Mark.read(self.mark)
        if mark is not None and self.half == "messages" and (told is None or told.number < mark.number):
            return mark
        return told


class Attempts:
    """The attempts at streams, kept beside the checkpoints; whoever forgets those starts new ones.

    Args:
        store: Where.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, stream_id: str) -> Attempt:
        """The attempt that is under way, or a new one.

        Raises:
            SinkError: If it cannot be read or stored.
        """
        known = self._store.get(_path(stream_id))
        return self.new(stream_id) if known is None else Attempt(**json.loads(known))

    def new(self, stream_id: str) -> Attempt:
        """Another attempt, which sends everything.

        Raises:
            SinkError: If it cannot be stored.
        """
        attempt = Attempt()
        self.put(stream_id, attempt)
        return attempt

    def put(self, stream_id: str, attempt: Attempt) -> None:
        """Stores it, durably.

        Raises:
            SinkError: If it cannot be stored.
        """
        self._store.put(_path(stream_id), json.dumps(asdict(attempt)).encode())


def _path(stream_id: str) -> str:
    return f".plantain/streams/{stream_id}.kafka"
