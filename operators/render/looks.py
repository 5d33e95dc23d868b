"""What somebody wants to see of a stream, and what is shown."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Look:
    """What somebody wants to see.

    Attributes:
        stream_id: Of this stream.
        prompt: The answer to draw; empty for all of them.
        fps: At most so many pictures per second.
        long_side: Of the pictures, pixels.
    """

    stream_id: str
    prompt: str = ""
    fps: float = 5.0
    long_side: int = 640


@dataclass(frozen=True, slots=True)
class Picture:
    """One annotated frame.

    Attributes:
        look: As it was wished.
        jpeg: The file; it travels apart from the rest, as frames do.
        time_s: The frame's time in its stream, seconds; None where unknown.
        latency_ms: From capture or arrival to the drawing; None for files.
        number: Grows from picture to picture that is shown.
    """

    look: Look
    time_s: float | None
    latency_ms: float | None
    number: int = 0
    jpeg: bytes = field(default=b"", repr=False)

    @property
    def stream_id(self) -> str:
        """What it shows."""
        return self.look.stream_id
