"""What flows: one frozen type per step, identity and time on every one of them.

    Source -> Frame -> Request -> Answer -> Prediction -> rows
                                  `-- a Value (Masks, DepthMap, Boxes, ...: operators/answers) or a Failure
                       analytics -> Event -> rows

Images are (H, W, 3) uint8 RGB on the host; model pixels unless a name says `source`. Time is an integer `pts`
with its `time_base`; seconds appear only at the edges. Arrays are read-only, as they are under Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from plantain.operators.geometry import Letterbox
from plantain.operators.prompts import Prompt

CapturedBy = Literal["camera", "arrival", "file"]


@dataclass(frozen=True, slots=True)
class Header:
    """Identity of what it is attached to, and all that the engine ever sees.

    Attributes:
        stream_id: The stream's name, unique in a run.
        epoch: Counts restarts of a live source, and where the time of a file goes back or jumps.
        frame_index: Position in the stream in display order, from 0, counted over all decoded frames.
        batch_key: Requests with different keys never meet in a batch (resolution, steps, dtype; never the task).
        cost: Drawings that the model owes for this item (its number of prompts).
        prompts: What is asked of it, as written.
        age_s: Time since a live stream's frame was taken (or arrived) when it was read, seconds, by the clock of the
            camera where that says when; 0 for files.
        waited_s: Time since it arrived when it was read, seconds, by this machine's clock alone; 0 for files.
        spared: What would have been asked of it, and is not because of overload.
        pool: The pool of models that it is for; empty where nothing is asked.
        part: A frame whose prompts go to several pools becomes as many requests; this is number `part` of `parts`.
        parts: See `part`.
        joins: Some of its parts are measured by another; of a camera, those wait for one another, for a while.
        pts: Presentation time in units of the stream's time base; None where the container gives none.
    """

    stream_id: str
    epoch: int
    frame_index: int
    batch_key: str = ""
    cost: int = 1
    prompts: tuple[str, ...] = ()
    age_s: float = 0.0
    waited_s: float = 0.0
    spared: tuple[str, ...] = ()
    pool: str = ""
    part: int = 0
    parts: int = 1
    joins: bool = False
    pts: int | None = None


@dataclass(frozen=True, slots=True)
class FrameInfo:
    """All that is known about a frame apart from its pixels; goes with its results to the sinks.

    Attributes:
        pts: Presentation time in units of `time_base`; None where the container gives none.
        time_base: Seconds per unit of `pts`.
        captured_ns: Wall-clock capture time, ns since 1970 UTC, None where unknown.
        captured_by: Who says so.
        fit: Where the picture lies on the model's canvas, and the size of the source picture.
        is_corrupt: The decoder reported damage in this frame.
        decode_ms: Time spent on decoding and resizing it, milliseconds.
        picture: (h, w, 3) uint8 RGB at display size, only when a sink asked for pixels.
        rung: Of the overload ladder, 0 where nothing was given up.
        image: Name of the frame's own file in a folder of images; empty where frames have none.
        hfov_deg: Horizontal field of view of the whole source picture, degrees; None where nobody told.
        shift_s: What puts `time_s` on a line that goes on where the time of a file goes back or jumps, seconds.
    """

    pts: int | None
    time_base: Fraction
    captured_ns: int | None
    captured_by: CapturedBy
    fit: Letterbox
    is_corrupt: bool = False
    decode_ms: float = 0.0
    picture: NDArray[np.uint8] | None = field(default=None, repr=False)
    rung: int = 0
    image: str = ""
    hfov_deg: float | None = None
    shift_s: float = 0.0

    @property
    def time_s(self) -> float | None:
        """Presentation time in seconds."""
        if self.pts is None:
            return None
        return self.pts * self.time_base.numerator / self.time_base.denominator  # as exact as the fraction

    @property
    def line_s(self) -> float | None:
        """Time in seconds on a line that neither goes back nor jumps within a file."""
        time_s = self.time_s
        return None if time_s is None else time_s + self.shift_s


Canvases = Callable[[int], tuple[Letterbox, NDArray[np.uint8]]]
"""A picture on one of several canvases, by its place among them: where it lies there, and (h, w, 3) uint8 RGB."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture at the model's size.

    Attributes:
        header: Whose frame it is.
        info: When it was taken, and where its picture lies on the canvas.
        image: (model_h, model_w, 3) uint8 RGB.
        canvases: Puts the same picture on the canvases of `View.more`, for pools whose models want another; None where
            there is none, or a source makes only one.
    """

    header: Header
    info: FrameInfo
    image: NDArray[np.uint8] = field(repr=False)
    canvases: Canvases | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        expected = (*self.info.fit.model_hw, 3)
        if self.image.dtype != np.uint8 or self.image.shape != expected:
            raise ValueError(
                f"frame image must be uint8 {expected}, not {self.image.dtype} {self.image.shape}"
            )


@dataclass(frozen=True, slots=True)
class Request:
    """A frame and the prompts that are asked of it, which one encoding of the frame serves.

    Attributes:
        header: The frame's, with `batch_key` and `cost` filled in.
        frame: What is looked at.
        prompts: What is asked, at least one.
    """

    header: Header
    frame: Frame
    prompts: tuple[Prompt, ...]


class Value:
    """What a prompt is answered with; each kind of it has a room of its own under `operators/answers`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that failed, announced so that nothing downstream waits for it.

    Attributes:
        stage: Where it failed.
        error: One sentence, without secrets.
        retryable: Whether the same item may succeed later.
    """

    stage: str
    error: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class Gap(Failure):
    """A camera was away, and nothing was seen. Its `stage` is the state that the camera was in.

    Attributes:
        until_ns: When it was seen again, or is known to be away still, ns since 1970 UTC; it begins with the frame's
            capture time.
    """

    until_ns: int = 0


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time of one prediction went, in milliseconds.

    `model_ms` and `codec_ms` are this prediction's share of its batch.
    """

    decode_ms: float = 0.0
    wait_ms: float = 0.0
    model_ms: float = 0.0
    codec_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one prompt about one frame, or the reason why there is none.

    Attributes:
        prompt: What was asked.
        value: The answer, or a Failure.
        model: Name of the backend that answered.
        model_fingerprint: Identity of its weights and code.
        timing: Where the time went.
        cost_usd: What the answer cost, US dollars.
    """

    prompt: Prompt
    value: Value | Failure
    model: str
    model_fingerprint: str
    timing: Timing
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Moment:
    """When something was, on every clock that tells.

    Attributes:
        epoch, frame_index: The frame that shows it, which orders moments of a stream.
        time_s: That frame's presentation time, seconds; None where the container gives none.
        captured_ns: That frame's capture time, ns since 1970 UTC; None where unknown.
    """

    epoch: int
    frame_index: int
    time_s: float | None
    captured_ns: int | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was.

    Attributes:
        x_px, y_px: In source pixels; of an object, where it stands: the middle of its lower edge.
        distance_m: From the camera, metres; None where no depth was asked of the same frame.
    """

    x_px: float
    y_px: float
    distance_m: float | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A fact over time, as an analytic states it.

    What was stated before is stated again, with more in it and a greater `revision`, under the same identity: a stay
    first has a start, and an end once that is known. The greatest revision counts.

    Attributes:
        kind: What happened, in a word: `appeared`, `left`, `failed`.
        rule: Which analytic says so, by its name in the configuration.
        stream_id: The stream.
        start: Since when.
        end: Until when; None for what goes on, or took no time.
        evidence: The frame that made it known.
        track_id: Of the object that it is about; None if it is about none.
        zone: Name of the zone that it is about; None if it is about none.
        label: What the object is; empty if it is about none.
        place: Where; None if it is nowhere.
        snapshot: Name of a stored picture of it; None if there is none.
        revision: Counts what was stated of it, from 0.
        detail: One sentence where there is more to say, without secrets.
    """

    kind: str
    rule: str
    stream_id: str
    start: Moment
    end: Moment | None
    evidence: Moment
    track_id: int | None = None
    zone: str | None = None
    label: str = ""
    place: Place | None = None
    snapshot: str | None = None
    revision: int = 0
    detail: str = ""

    @property
    def identity(self) -> str:
        """`stream_id/rule/track or zone/start`: equal for the same event, however often and by whom it is stated."""
        about = self.zone if self.track_id is None else self.track_id
        start = f"{self.start.epoch}.{self.start.frame_index}"
        return f"{self.stream_id}/{self.rule}/{'' if about is None else about}/{start}"


@dataclass(frozen=True, slots=True)
class Result:
    """Answers about one frame, in the order of its prompts; what the stages after the model work on.

    Attributes:
        header: The request's.
        info: The frame's.
        predictions: One for each prompt.
        events: What the analytics state, now that they have seen it.
    """

    header: Header
    info: FrameInfo
    predictions: tuple[Prediction, ...]
    events: tuple[Event, ...] = ()

    @property
    def failures(self) -> tuple[tuple[str, Failure], ...]:
        """The prompts that were not answered, and why."""
        return tuple((str(p.prompt), p.value) for p in self.predictions if isinstance(p.value, Failure))

    @property
    def is_gap(self) -> bool:
        """Whether there was no frame: its rows say since when and until when a camera was away."""
        return isinstance(self.failure, Gap)

    @property
    def moment(self) -> Moment:
        """When its frame was."""
        return Moment(self.header.epoch, self.header.frame_index, self.info.time_s, self.info.captured_ns)

    @property
    def failure(self) -> Failure | None:
        """Why the first prompt that failed has no answer; None if all were answered."""
        return next((p.value for p in self.predictions if isinstance(p.value, Failure)), None)

    @property
    def cost_usd(self) -> float:
        """What the answers cost, US dollars."""
        return sum(prediction.cost_usd for prediction in self.predictions)

    @property
    def failed_in(self) -> str | None:
        """The stage where a prompt of this frame failed; None if all were answered."""
        return None if self.failure is None else self.failure.stage


def joined(header: Header, parts: Sequence[Result]) -> Result:
    """One result of what several pools answered about the same frame.

    Args:
        header: Of the whole.
        parts: In the order of the requests, at least one.
    """
    if len(parts) == 1:
        return parts[0]
    info = max((part.info for part in parts), key=lambda info: info.picture is not None)
    return Result(header, info, tuple(prediction for part in parts for prediction in part.predictions))
