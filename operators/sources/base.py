"""The contract of every source: frames of one stream, in display order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol, runtime_checkable

from plantain.operators.health import HealthEvent
from plantain.operators.segments import Position
from plantain.operators.streams import StreamInfo
from plantain.operators.types import Frame


class Source(Protocol):
    """Frames of one stream. Made as `Class(spec, view, position)`, which opens it.

    Attributes:
        is_live: What it has given cannot be read again: each life of a stream is an epoch of its own, named in the
            option `epoch`, and none is its end. A class that does not say so is read again from a position.
        info: What it knows about its stream.
    """

    is_live: ClassVar[bool] = False
    info: StreamInfo

    def read(self, max_frames: int) -> list[Frame]:
        """The next frames, at most `max_frames`; fewer when the stream ends or, live, when no more are there yet.

        Raises:
            SourceLostError: If a live source stopped.
        """
        ...

    @property
    def ended(self) -> bool:
        """Whether `read` has nothing more to give."""
        ...

    @property
    def position(self) -> Position:
        """Where a restart goes on."""
        ...

    @property
    def num_damaged(self) -> int:
        """Packets that could not be decoded so far."""
        ...

    def close(self) -> None:
        """Gives back files and sockets."""
        ...


# -- what a source may tell beyond that: those of live streams do, and a user's own may ----------------------


@runtime_checkable
class Dropping(Protocol):
    """Lets frames go that nobody fetches."""

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many since it was opened, by reason."""
        ...


@runtime_checkable
class Telling(Protocol):
    """Tells how it is doing."""

    def events(self) -> Sequence[HealthEvent]:
        """Changes since the last call, oldest first."""
        ...


@runtime_checkable
class Partial(Protocol):
    """A file that may be cut short or damaged."""

    @property
    def unread_bytes(self) -> int:
        """At its end, how much of it is not among its frames."""
        ...
