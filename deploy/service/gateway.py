"""What the HTTP application asks of the engine, wherever the engine is.

Two classes answer it: `deploy.service.host.EngineHost` in the same process, and
`deploy.ray.engine_actor.RayGateway`, which passes each call on to an `EngineHost` in an actor. All methods are
coroutines; one that is cancelled takes its query back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from plantain.operators.prompts import Prompt
from plantain.operators.types import Frame, Result
from plantain.pipeline.config import StreamConfig
from plantain.pipeline.status import StreamStatus


@dataclass(frozen=True, slots=True)
class Want:
    """A live view of a stream.

    Attributes:
        stream_id: The stream.
        prompt: Whose answer is drawn; empty for all.
        fps: At most this many pictures per second.
        long_side: Of the pictures, pixels.
    """

    stream_id: str
    prompt: str = ""
    fps: float = 5.0
    long_side: int = 640


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture of a live view.

    Attributes:
        want: Of which view.
        number: Grows from picture to picture.
        jpeg: The file.
        time_s: Of the stream, seconds; None where unknown.
        latency_ms: From capture or arrival to the drawn answer; None where unknown.
    """

    want: Want
    number: int
    jpeg: bytes = field(repr=False)
    time_s: float | None
    latency_ms: float | None


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened to a stream.

    Attributes:
        number: Grows from note to note, also over a restart of the engine.
        at_ns: Nanoseconds since 1970 UTC.
        stream_id, epoch: The stream.
        kind: A state of its health, or `phase`.
        sentence: What happened; holds no secret.
    """

    number: int
    at_ns: int
    stream_id: str
    epoch: int
    kind: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Watched:
    """A stream.

    Attributes:
        status: How it is doing.
        config: What was asked for.
        is_new: Of one that was to be added: False where the same request had added it before.
    """

    status: StreamStatus
    config: StreamConfig
    is_new: bool = True


class Gateway(Protocol):
    """The engine, as the HTTP application sees it.

    Raises, in all methods:
        EngineDownError: If the engine is starting, or gone.
        UnknownStreamError: If there is no such stream.
    """

    async def why_not_ready(self) -> str:
        """Empty when queries are answered; otherwise why not yet. Never raises."""
        ...

    async def figures(self) -> str:
        """For Prometheus, in its text format."""
        ...

    async def streams(self) -> list[Watched]:
        """All streams, by name."""
        ...

    async def stream(self, stream_id: str) -> Watched:
        """One stream."""
        ...

    async def add(self, stream: StreamConfig, *, paused: bool, key: str | None) -> Watched:
        """Adds a stream, for ever.

        Args:
            stream: With its name.
            paused: It does not run until it is resumed.
            key: Names the request; the same request under the same key adds nothing twice.

        Raises:
            ConflictError: If the name is taken, the key stands for another request, or there are too many streams.
        """
        ...

    async def change(
        self, stream_id: str, changes: Mapping[str, Any], *, paused: bool | None = None
    ) -> Watched:
        """Changes what is asked of a stream, pauses or resumes it, for ever."""
        ...

    async def remove(self, stream_id: str) -> Watched:
        """Ends a stream, for ever; its results stay. Gives its last status."""
        ...

    async def ask(self, frames: Sequence[Frame], prompts: Sequence[Prompt]) -> list[Result]:
        """Answers about frames, in their order."""
        ...

    async def ask_stream(self, stream_id: str, prompts: Sequence[Prompt]) -> Result:
        """Answers about the newest frame of a stream."""
        ...

    async def notes(self, after: int, wait_s: float) -> list[Note]:
        """What happened after the note of that number, oldest first; waits for something up to `wait_s`."""
        ...

    async def shots(self, wants: Sequence[Want], seen: Mapping[Want, int], wait_s: float) -> list[Shot]:
        """The newest picture of each view that is newer than the one seen; waits for one up to `wait_s`.

        A view that nobody asks for any more is not drawn any more.
        """
        ...
