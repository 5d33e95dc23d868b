"""Messages that are not known to be stored, and how much of them is on its way."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from plantain.operators.sinks.kafka.messages import Message


@dataclass(slots=True)
class Sent:
    """A message that is not known to be stored.

    Attributes:
        message: What is sent.
        future: Of its delivery; None while it waits to be sent (again).
        is_open: Neither stored nor refused yet.
    """

    message: Message
    future: Any = None
    is_open: bool = False


class Outbox:
    """The messages of every stream, in their order. Nothing is looked through: what arrives is subtracted as it does.

    Attributes:
        count, size: Messages that are on their way or wait for it, and their bytes.
    """

    def __init__(self) -> None:
        self.count = 0
        self.size = 0
        self._streams: dict[str, deque[Sent]] = {}
        self._changed = threading.Condition()

    def begin(self, stream_id: str) -> None:
        """A stream of which nothing is waited for."""
        self.empty(stream_id)

    def forget(self, stream_id: str) -> None:
        """A stream's messages are no longer waited for."""
        self.empty(stream_id)
        del self._streams[stream_id]

    def empty(self, stream_id: str) -> None:
        """Nothing of a stream is waited for, which goes on."""
        waiting = self._streams.setdefault(stream_id, deque())
        while waiting:
            self._close(waiting.popleft())

    def streams(self) -> Iterator[str]:
        """Names of all streams."""
        yield from self._streams

    def add(self, stream_id: str, messages: Iterable[Message]) -> list[Sent]:
        """Takes messages that are to be sent."""
        added = [Sent(message) for message in messages]
        with self._changed:
            for item in added:
                self._open(item)
        self._streams[stream_id].extend(added)
        return added

    def give(self, item: Sent, future: Any) -> None:
        """A producer has taken a message."""
        item.future = future
        future.add_callback(self._done, item, future)
        future.add_errback(self._done, item, future)

    def waiting(self, stream_id: str) -> deque[Sent]:
        """What is not stored of a stream, from the first such message on."""
        waiting = self._streams[stream_id]
        while waiting and waiting[0].future is not None and waiting[0].future.succeeded():
            self._close(waiting.popleft())
        return waiting

    def take_back(self) -> None:
        """Everything that is not stored is to be sent again."""
        for stream_id in self._streams:
            waiting = self.waiting(stream_id)
            with self._changed:
                for item in waiting:
                    item.future = None
                    self._open(item)

    def clear(self) -> None:
        """Nothing is waited for."""
        for stream_id in list(self._streams):
            self.forget(stream_id)

    def wait(self, timeout_s: float) -> None:
        """Returns when something has arrived or was refused, or time is up."""
        with self._changed:
            self._changed.wait(timeout_s)

    def _open(self, item: Sent) -> None:
        if not item.is_open:
            item.is_open = True
            self.count += 1
            self.size += item.message.size

    def _close(self, item: Sent) -> None:
        with self._changed:
            if item.is_open:
                item.is_open = False
                self.count -= 1
                self.size -= item.message.size
                self._changed.notify_all()

    def _done(self, item: Sent, future: Any, outcome: object) -> None:
        """In the producer's thread; late news of an earlier try are none."""
        del outcome
        if item.future is future:
            self._close(item)
