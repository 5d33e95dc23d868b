"""What waits between the writer of a sink and the brokers, in memory and on disk; both halves of the relay share it."""

from __future__ import annotations

import threading
from collections.abc import Set
from dataclasses import dataclass, field

from plantain.operators.errors import SinkError
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.kafka.held import Held
from plantain.operators.sinks.kafka.spool import Kept, Spool


@dataclass(slots=True, eq=False)
class Part:
    """A segment in memory.

    Attributes:
        segment: Which.
        held: Its messages.
        place: Behind what the delivery has.
        life: Of the stream in the delivery, when that was given the first of them; None before.
        is_committed: It is whole.
        is_over: It is delivered, or not wanted any more.
        kept: The file that holds it, too; it is delivered from here all the same, where that was begun.
    """

    segment: Segment
    held: Held
    place: int = 0
    life: int | None = None
    is_committed: bool = False
    is_over: bool = False
    kept: Kept | None = None


@dataclass(slots=True, eq=False)
class Waiting:
    """See the module. Everything is read and changed under `changed`, which is notified of what changes.

    Attributes:
        spool: What waits on disk.
        parts: What is open in memory.
        news: Those with something to deliver, or to commit.
        anew: Streams that the delivery is to begin, and not to resume.
        lives: Streams of which the delivery has nothing but what is wanted, each with the number of its life there.
        unbegun: Those of them that the delivery has not begun.
        leaving: Streams that have ended.
        elsewhere: Streams in other writers' spools, and when that was looked at.
        refused: Streams of which the brokers refuse something, and why.
        trouble: Why nothing is delivered just now; empty if something is.
        is_closed: The writer has ended.
        num_lost: Messages for which there was no room, or that were damaged on disk.
    """

    spool: Spool
    changed: threading.Condition = field(default_factory=threading.Condition)
    parts: dict[Segment, Part] = field(default_factory=dict)
    news: dict[Part, None] = field(default_factory=dict)
    anew: set[str] = field(default_factory=set)
    lives: dict[str, int] = field(default_factory=dict)
    unbegun: set[str] = field(default_factory=set)
    leaving: set[str] = field(default_factory=set)
    elsewhere: dict[str, float] = field(default_factory=dict)
    refused: dict[str, SinkError] = field(default_factory=dict)
    trouble: str = ""
    is_closed: bool = False
    num_lost: int = 0

    @property
    def blocked(self) -> Set[str]:
        """Streams of which nothing is delivered: what other writers hold of them goes first."""
        return self.refused.keys() | self.elsewhere.keys()

    def next_file(self) -> Kept | None:
        """The oldest with something that can be delivered."""
        blocked = self.blocked
        return next((each for each in self.spool.files if self.has_some(each, blocked)), None)

    @staticmethod
    def has_some(kept: Kept, blocked: Set[str]) -> bool:
        """Whether a file holds something of other streams than these."""
        return not blocked or any(segment.stream_id not in blocked for segment in kept.waiting)

    def let_go(self, part: Part) -> None:
        """Forgets a segment: it is delivered, on disk, or not wanted."""
        part.is_over = True
        self.parts.pop(part.segment, None)
        self.news.pop(part, None)
        part.held.close()
