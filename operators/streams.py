"""What is said about a stream: which one, what is asked of it, where it begins, and how its reading stands."""

from __future__ import annotations

from dataclasses import dataclass, field

from plantain.operators.geometry import Fit
from plantain.operators.health import HealthEvent
from plantain.operators.prompts import Prompt
from plantain.operators.segments import Durable, Position


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which frames of a stream are looked at.

    Attributes:
        fps: At most this many frames per second of stream time (the first frame at or after each tick); None for all.
        every: Every n-th decoded frame, from frame 0.
        max_frames: End after this many looked-at frames, counted from the start of the stream; None for all.
    """

    fps: float | None = None
    every: int = 1
    max_frames: int | None = None


@dataclass(frozen=True, slots=True)
class Canvas:
    """What a model sees.

    Attributes:
        model_hw: Height and width, pixels.
        fit: How the picture is put on it.
    """

    model_hw: tuple[int, int]
    fit: Fit = "letterbox"


@dataclass(frozen=True, slots=True)
class View:
    """What a frame must look like when it leaves the source.

    Attributes:
        model_hw: The canvas of the first pool of models.
        fit: How the picture is put on it.
        picture_long_side: Also keep the picture for display, its longer side at most this; None to leave it out.
        more: Further canvases, of other pools; a source that cannot make them leaves them to the planning step.
    """

    model_hw: tuple[int, int]
    fit: Fit = "letterbox"
    picture_long_side: int | None = None
    more: tuple[Canvas, ...] = ()

    def shown_hw(self, source_hw: tuple[int, int]) -> tuple[int, int] | None:
        """Size of the picture that is kept of one of `source_hw`; None for none."""
        if self.picture_long_side is None:
            return None
        scale = min(1.0, self.picture_long_side / max(source_hw))
        return max(1, round(source_hw[0] * scale)), max(1, round(source_hw[1] * scale))


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One stream to read.

    Attributes:
        stream_id: Its name, unique in a run.
        url: Path, `rtsp://...`, `synthetic://...` or what a user's own source understands.
        source: Name of the source or `"module:Class"`; empty to choose by the form of `url`.
        sampling: Which frames.
        options: Passed to the source as keyword arguments.
        hfov_deg: Horizontal field of view of its pictures, degrees; None if it is not known.
    """

    stream_id: str
    url: str = field(repr=False)
    source: str = ""
    sampling: Sampling = Sampling()
    options: dict[str, str] = field(default_factory=dict, repr=False)
    hfov_deg: float | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """How a stream begins, told to every step that keeps something about it.

    Attributes:
        spec: The stream.
        prompts: What is asked of each of its frames.
        durable: Where it goes on, and what the analytics knew there.
        is_live: It cannot be read again.
        cadences: How often prompts are asked that are not asked of every frame, by their text.
        pools: Which pool of models is asked, by the prompts' text; the first one if a prompt is not named.
        segment: Number of the segment that its next result belongs to.
        is_recording: It is one of many in a watched folder, and is told of once, when it has been read.
        refusal: Why it is not begun at all; empty where it is.
    """

    spec: StreamSpec
    prompts: tuple[Prompt, ...]
    durable: Durable
    is_live: bool = False
    cadences: tuple[tuple[str, Sampling], ...] = ()
    pools: tuple[tuple[str, str], ...] = ()
    segment: int = 0
    is_recording: bool = False
    refusal: str = ""

    @classmethod
    def fresh(cls, spec: StreamSpec, prompts: tuple[Prompt, ...], *, is_live: bool = False) -> Start:
        """A stream that has never been read."""
        return cls(spec, prompts, Durable(spec.stream_id, 0, Position()), is_live)


@dataclass(frozen=True, slots=True)
class Ease:
    """What a live stream gives up under overload.

    Attributes:
        pool: The pool of models whose prompts are concerned.
        rung: Of the ladder; written into each row.
        frames: Only every so many-th frame is asked anything.
        shrink: The canvas is so many times smaller, in width and height.
        tasks: Only the first of so many parts of the prompts are asked, at least one.
    """

    pool: str = ""
    rung: int = 0
    frames: int = 1
    shrink: int = 1
    tasks: int = 1


@dataclass(frozen=True, slots=True)
class ReadState:
    """What reading has come to.

    Attributes:
        stream_id: The stream.
        has_ended: Nothing more will come.
        position: Where a restart of the reader goes on.
        num_damaged: Packets that could not be decoded so far.
        dropped: Frames that a live source let go since it was opened, by reason.
        events: How a live source's health changed since the last look.
        size: Width and height of the source picture, pixels; 0 while unknown.
        unread_bytes: Of a file at its end, how much of it is not among its frames (`VideoReader.unread_bytes`).
    """

    stream_id: str
    has_ended: bool
    position: Position
    num_damaged: int
    dropped: tuple[tuple[str, int], ...] = ()
    events: tuple[HealthEvent, ...] = ()
    size: tuple[int, int] = (0, 0)
    unread_bytes: int = 0


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What a source knows about its stream once it is open.

    Attributes:
        stream_id: The stream.
        width, height: Of the displayed picture (after rotation), pixels.
        fps: Average rate, None where unknown.
        num_frames: How many frames it will deliver (after sampling), an estimate for progress; None where unknown.
    """

    stream_id: str
    width: int
    height: int
    fps: float | None
    num_frames: int | None
