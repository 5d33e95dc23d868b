"""What may be said to a run, and what it answers: frozen types, the same wherever they are said.

    in process    Control.do(command)                                            pipeline/control.py
    by socket     SocketClient.do(command)    from a process on the same machine deploy/transport.py
    on Ray        RayTransport.do(command)    from anywhere in the cluster       deploy/ray/engine_actor.py

Three promises hold for each of them:

* **A command whose caller has given up is not carried out.** How long the caller waits travels with it, and is looked
  at before anything is done. One that was carried out when its caller left stays so, and is remembered: a stream that
  was added is listed, and its `Add` under the same key is answered as before; a removal goes on.
* **Nothing waits in the engine's turn.** `Pause` and `Remove` are answered when the stream has come to rest, or after
  `wait_s` with how it stands ("draining", "removing"); said again, they tell how it stands then. A `Remove` of a stream
  that is gone gives its last status, as long as that is remembered.
* **Reads never wait behind changes.**
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from plantain.operators.errors import PlantainError, UsageError
from plantain.operators.health import HealthEvent
from plantain.operators.prompts import Prompt
from plantain.operators.render.looks import Look, Picture
from plantain.operators.types import Event, Frame, Result
from plantain.pipeline.config import StreamConfig
from plantain.pipeline.status import StreamStatus

A_co = TypeVar("A_co", covariant=True)

TIMEOUT_S = 30.0


class EngineDownError(PlantainError):
    """The run that answers is starting, busy or ending, or its process is gone and is being started again."""

    retryable = True


def no_answer(patience_s: float) -> EngineDownError:
    """What is said to a caller who has waited so long, seconds."""
    return EngineDownError(f"the pipeline has not answered within {patience_s:g} s; it may be busy")


class ConflictError(UsageError):
    """A command that contradicts what is there, such as a second stream of the same name."""


class Command(Generic[A_co]):
    """Something that is said to a run; `A_co` is what it answers."""

    __slots__ = ()

    def patience_s(self, timeout_s: float) -> float:
        """How long its caller waits: `timeout_s`, on top of what the command itself may wait for; seconds."""
        return timeout_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient(Command[A_co]):
    """A command that may wait for something, up to `wait_s`; it is then answered with what is there."""

    wait_s: float = 30.0

    def patience_s(self, timeout_s: float) -> float:
        """See `Command`."""
        return timeout_s + self.wait_s


# -- streams; where there is none of that name, UnknownStreamError is raised ---------------------------------------


@dataclass(frozen=True, slots=True)
class Added:
    """A stream that was added; `is_new` is False where the same request had added it before."""

    status: StreamStatus
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class Add(Command[Added]):
    """Adds a stream, which goes on where an earlier one of its name is durable; a camera begins a new epoch.

    Attributes:
        stream: What it is; without prompts it is asked what the run asks of all.
        paused: It does not run until it is resumed.
        key: Names the request; the same request under the same key adds nothing twice.
        is_recording: See `Start`.

    Raises:
        ConflictError: If the name is taken, the key stands for another request, or there are too many streams.
        UsageError: If nothing is asked of it, or the output folder holds other results of a file of this name.
    """

    stream: StreamConfig
    paused: bool = False
    key: str | None = None
    is_recording: bool = False


@dataclass(frozen=True, slots=True)
class Change(Command[StreamStatus]):
    """Goes on with other settings: keys of StreamConfig, but for `id`, `url` and `source`; else a UsageError."""

    stream_id: str
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pause(Patient[StreamStatus]):
    """Stores what is in flight, closes the source and waits for `Resume`; a UsageError if the stream has ended."""

    stream_id: str


@dataclass(frozen=True, slots=True)
class Resume(Command[StreamStatus]):
    """Lets a paused stream go on, and one that failed try again; a UsageError if it is done."""

    stream_id: str


@dataclass(frozen=True, slots=True)
class Remove(Patient[StreamStatus]):
    """Ends a stream and forgets it; what is stored stays. Without `drain`, what is in flight is dropped."""

    stream_id: str
    drain: bool = True


@dataclass(frozen=True, slots=True)
class Streams(Command[list[StreamStatus]]):
    """Every stream, all at one moment; also those that are being removed."""


@dataclass(frozen=True, slots=True)
class Status(Command[StreamStatus]):
    """One stream."""

    stream_id: str


# -- questions; where the model refused, predictions are Failures --------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ask(Command[list[Result]]):
    """Asks frames from anywhere, in the next batch and before those of streams; a result for each.

    Attributes:
        frames: At the size of some canvas; at least one.
        prompts: What is asked of each; at least one.

    Raises:
        ModelBusyError: If too many frames wait.
    """

    frames: Sequence[Frame]
    prompts: Sequence[Prompt]


@dataclass(frozen=True, slots=True)
class AskStream(Command[list[Result]]):
    """Asks the newest frame of a stream, which is looked at as one of the stream all the same; one result.

    Raises:
        SourceError: If it is paused, has ended or has had no frame yet.
    """

    stream_id: str
    prompts: Sequence[Prompt]


# -- looking on --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Watch(Patient[list[Picture]]):
    """The newest picture of each look that is newer than the one seen, by its number, as soon as there is one.

    Of a stream that is not there, or is not asked that, there is none until it is. Pictures are drawn only while
    somebody watches.
    """

    looks: Sequence[Look]
    seen: Mapping[Look, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened to a stream, or that an analytic tells of it.

    Its number, microseconds since 1970 or a little more, grows from note to note, also over a restart of the engine.
    """

    number: int
    event: HealthEvent | Event


@dataclass(frozen=True, slots=True)
class Listen(Patient[list[Note]]):
    """What happened after the note of that number, oldest first, as soon as there is something."""

    after: int = 0


# -- the run -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Swap(Patient[None]):
    """Loads weights by other options of the backend into every copy of the model, one by one, between two batches.

    If a copy cannot load them all keep what they had, and a PlantainError says why.

    Attributes:
        options: Of the backend.
        model: Which of `models`; the first one, or the only one, if empty.
    """

    options: Mapping[str, Any]
    model: str = ""
    wait_s: float = field(default=300.0, kw_only=True)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a service answers questions.

    Attributes:
        trouble: Why not yet; empty if it does.
        refusal: Why it never will: a mistake in the configuration or the output folder; empty if there is none.
    """

    trouble: str = ""
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Ready(Command[Readiness]):
    """Whether a service answers questions."""


@dataclass(frozen=True, slots=True)
class Figures(Command[str]):
    """Of a service, for Prometheus, in its text format."""


AnyCommand = (
    Add | Change | Pause | Resume | Remove | Streams | Status
    | Ask | AskStream | Watch | Listen | Swap | Ready | Figures
)  # fmt: skip
