"""What the engine tells workers, and what they say: the whole contract between who decides and who executes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from plantain.operators.health import HealthEvent
from plantain.operators.prompts import Prompt
from plantain.operators.render.looks import Look, Picture
from plantain.operators.segments import Backlog, Barrier, Durable
from plantain.operators.streams import Ease, ReadState, Start, StreamInfo
from plantain.operators.types import Event, Failure, Header

MARK = "?"
"""Begins the name of every query; no stream's name does."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Nothing is to be done but to be there."""


@dataclass(frozen=True, slots=True)
class Open:
    """A stream begins where its start says."""

    start: Start


@dataclass(frozen=True, slots=True)
class Change:
    """Something else is asked of a stream's next frames."""

    start: Start


@dataclass(frozen=True, slots=True)
class Relieve:
    """Less is asked of a stream's next frames, or all again."""

    ease: Ease


@dataclass(frozen=True, slots=True)
class Watch:
    """Pictures of a stream are wanted, or none any more."""

    looks: tuple[Look, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Frames of one stream.

    Attributes:
        stream_id, generation: The stream, and its restart that they belong to.
        max_frames: Not more than these.
    """

    stream_id: str
    generation: int
    max_frames: int


@dataclass(frozen=True, slots=True)
class Read:
    """Frames of one file."""

    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Poll:
    """Frames of several cameras, as soon as one of them has some.

    Attributes:
        wanted: Of each camera.
        wait_s: How long to wait for the first frame, seconds.
    """

    wanted: tuple[Wanted, ...]
    wait_s: float


@dataclass(frozen=True, slots=True)
class Peek:
    """A stream's newest frame, for a query.

    Attributes:
        query_id: The query.
        prompts: What it asks.
    """

    query_id: str
    prompts: tuple[Prompt, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """Items are worked on."""


@dataclass(frozen=True, slots=True)
class Fail:
    """Items are announced as failed."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Swap:
    """The model is replaced by one made with other options; None for those that it was made with first."""

    options: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Tell:
    """A stream's sinks hear of an event."""

    event: HealthEvent


@dataclass(frozen=True, slots=True)
class Cut:
    """Segments of streams end here: whoever keeps something notes it, and the sinks commit them together."""

    barriers: tuple[Barrier, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """A stream ends.

    Attributes:
        promise: What is durable then; None if it was not read to its end, so that its last segment is made again.
    """

    promise: Durable | None


@dataclass(frozen=True, slots=True)
class Close:
    """A stream is forgotten."""


@dataclass(frozen=True, slots=True)
class Weigh:
    """What the sinks keep on disk is to be told."""


Work = (
    Hello
    | Open
    | Change
    | Relieve
    | Watch
    | Read
    | Poll
    | Peek
    | Run
    | Fail
    | Swap
    | Tell
    | Cut
    | Finish
    | Close
    | Weigh
)


@dataclass(frozen=True, slots=True)
class Call:
    """One piece of work for one worker.

    Attributes:
        ticket: The engine's name for it.
        stage, worker: Who does it.
        work: What is to be done; `Run` and `Fail` are about items, `Poll` about several streams, `Swap` and
            `Weigh` about none.
        stream_id: The stream, where it is about one.
        generation: The stream's restart that it belongs to, where it is about one.
        headers: The items.
        handles: Of each item, the executor's references to its payloads: one, or one from each pool that answered.
        waits_ms: How long each item waited, milliseconds.
        also: Further streams that it is about, with their generations: those of a `Cut` behind the first.
    """

    ticket: int
    stage: str
    worker: int
    work: Work
    stream_id: str = ""
    generation: int = 0
    headers: tuple[Header, ...] = ()
    handles: tuple[tuple[Any, ...], ...] = ()
    waits_ms: tuple[float, ...] = ()
    also: tuple[tuple[str, int], ...] = ()

    @property
    def streams(self) -> tuple[tuple[str, int], ...]:
        """The streams that it is about, with their generations."""
        return ((self.stream_id, self.generation), *self.also)

    @property
    def verb(self) -> str:
        """What is to be done, in a word."""
        return type(self.work).__name__.lower()

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """The frames that it asks for, by stream."""
        match self.work:
            case Read(wanted):
                return (wanted,)
            case Poll(wanted):
                return wanted
            case _:
                return ()


@dataclass(frozen=True, slots=True)
class StreamError:
    """A stream that cannot go on in this stage.

    Attributes:
        stream_id: The stream.
        stage: Where it broke.
        error: One sentence, without secrets.
    """

    stream_id: str
    stage: str
    error: str


Note = StreamInfo | ReadState | Barrier | Durable | Event | StreamError
"""What the engine must know of a call, besides its payloads."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A prompt of an item that failed in a call.

    Attributes:
        header: The item.
        prompt: As written.
        error: One sentence, without secrets.
    """

    header: Header
    prompt: str
    error: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call came to.

    Attributes:
        headers: Of the payloads that go on to the next stage, in their order.
        notes: What the engine must know.
        failed: Prompts that failed in this call.
        busy_s: Time spent in the operator, seconds.
        laps: What that time was made of, as (part, seconds); empty if the operator does not say.
        costs: Items whose answers cost money, and how much in all, US dollars.
        backlogs: What the sinks keep on disk, where that was asked.
        pictures: What was drawn for viewers; their files are the payloads behind those of `headers`.
        ended_ns: When it was done by the worker's wall clock, ns since 1970 UTC.
    """

    headers: tuple[Header, ...] = ()
    notes: tuple[Note, ...] = ()
    failed: tuple[Refusal, ...] = ()
    busy_s: float = 0.0
    laps: tuple[tuple[str, float], ...] = ()
    ended_ns: int = 0
    costs: tuple[tuple[Header, float], ...] = ()
    pictures: tuple[Picture, ...] = ()
    backlogs: tuple[Backlog, ...] = ()


class Cause(StrEnum):
    """Why a call was not done.

    WORKER: Its worker died, perhaps of what it was given. MACHINE: The machine did, with all workers on it.
    PAYLOAD: What it was to work on is gone with a machine that is lost; the worker lives.
    """

    WORKER = "worker"
    MACHINE = "machine"
    PAYLOAD = "payload"


@dataclass(frozen=True, slots=True)
class Completion:
    """What an executor says of a call.

    Attributes:
        ticket: The call's.
        reply: What it came to; None if it was not done.
        handles: References to the reply's payloads.
        error: Why it was not done, as a sentence.
        cause: Why it was not done.
    """

    ticket: int
    reply: Reply | None
    handles: Sequence[Any] = ()
    error: str = ""
    cause: Cause = Cause.WORKER


@dataclass(frozen=True, slots=True)
class Scaling:
    """A copy of a stage that is to be made, or is not needed any more.

    Attributes:
        stage, worker: Which.
        is_added: It is to be made.
        error: Why it could not be made, where that is why it goes.
    """

    stage: str
    worker: int
    is_added: bool
    error: str = ""
