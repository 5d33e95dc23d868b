"""What somebody wants to see of a stream, and what is shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Look:
    """What somebody wants to see of a stream.

    Attributes:
        prompt: The answer to draw; empty for all of them.
        fps: At most so many pictures per second.
        long_side: Of the pictures, pixels.
    """

    prompt: str
    fps: float = 5.0
    long_side: int = 640


@dataclass(frozen=True, slots=True)
class Picture:
    """One annotated frame.

    Attributes:
        stream_id, prompt: What it shows; an empty prompt stands for all answers.
        jpeg: The file.
        time_s: The frame's time in its stream, seconds; None where unknown.
        captured_at: When it was taken; None where unknown.
        latency_ms: From there to the drawing; None for files.
        fps, long_side: As it was wished.
    """

    stream_id: str
    prompt: str
    jpeg: bytes = field(repr=False)
    time_s: float | None
    captured_at: datetime | None
    latency_ms: float | None
    fps: float = 5.0
    long_side: int = 640
