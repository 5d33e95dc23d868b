"""What HTTP requests and answers hold; names and units are those of the stored rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, create_model

from plantain.operators.answers.base import Column
from plantain.operators.sinks.columns import KIND_COLUMNS, OBJECT_COLUMNS
from plantain.pipeline.config.stream import STREAM_ID

Resolution = Literal["source", "model"]
Tasks = Annotated[
    list[str], Field(min_length=1, description="What to ask, such as `depth` or `refer:the red car`.")
]
StreamName = Annotated[str, StringConstraints(pattern=STREAM_ID.pattern)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Out(BaseModel):
    model_config = ConfigDict(frozen=True)


# -- what went wrong ---------------------------------------------------------------------------------------


class Mistake(_Out):
    """One wrong field of a request."""

    field: str
    detail: str


class Problem(_Out):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[Mistake] = []


# -- questions and answers ---------------------------------------------------------------------------------


class PredictIn(_In):
    """A question about a picture or a short clip, or words to draw a picture from."""

    image: str | None = Field(default=None, description="A JPEG, PNG or WebP file, base64.")
    clip: str | None = Field(default=None, description="A short video file such as mp4, base64.")
    tasks: Tasks
    fps: float | None = Field(
        default=None, gt=0, le=1000, description="Of a clip, look at no more frames a second."
    )
    resolution: Resolution = Field(
        default="source", description="Size of masks and maps: the picture's, or what the model saw."
    )
    rasters: bool = Field(default=False, description="Put the dense maps into JSON answers.")
    drawn: bool = Field(
        default=False,
        description="Put the frames, with the answer to the first task drawn on them, into JSON answers.",
    )


class QueryIn(_In):
    """A question about the newest frame of a stream."""

    tasks: Tasks
    resolution: Resolution = "source"
    rasters: bool = False
    drawn: bool = False
    watch: bool = Field(
        default=False, description="Keep asking, and tell by server-sent events when the answer is not empty."
    )
    every_s: float = Field(
        default=1.0, ge=0.1, le=3600, description="Of a watch: how often it asks, seconds."
    )
    once: bool = Field(default=False, description="Of a watch: end with the first answer that is not empty.")


class Rle(_Out):
    """A mask as COCO compressed run lengths."""

    size: tuple[int, int] = Field(description="Height and width, pixels.")
    counts: str


def _of(name: str, columns: Iterable[Column]) -> type[BaseModel]:
    """A model with a field for each column."""
    fields: dict[str, Any] = {}
    for column in columns:
        said = Field(description=column.meaning) if not column.is_nullable else None
        kind = _PYTHON[column.type]
        fields[column.name] = (
            (kind, said) if said else (kind | None, Field(default=None, description=column.meaning))
        )
    return create_model(name, __base__=_Out, **fields)


_PYTHON: dict[str, Any] = {
    "string": str,
    "int32": int,
    "int64": int,
    "float32": float,
    "float64": float,
    "binary": bytes,
    "timestamp": str,
}

_ObjectColumns = _of("ObjectColumns", (each for each in OBJECT_COLUMNS if not each.name.startswith("rle_")))
_AnswerColumns = _of("AnswerColumns", KIND_COLUMNS)


class Object(_ObjectColumns):  # type: ignore[misc, valid-type]  # its fields are the columns of `objects`
    """One region or box."""

    rle: Rle | None = Field(default=None, description="The region; null for a box.")


class Answer(_AnswerColumns):  # type: ignore[misc, valid-type]  # its fields are what kinds of answers add to `frames`
    """The answer to one task about one frame."""

    task: str
    prompt: str
    status: Literal["ok", "failed"]
    reason: str | None = None
    model: str
    model_fingerprint: str
    raster_format: str | None = None
    raster_scale: float | None = None
    raster: str | None = Field(default=None, description="The dense map as PNG, base64.")
    said: str = Field(description="The answer, or why there is none, in a few words.")
    wait_ms: float
    model_ms: float
    codec_ms: float
    cost_usd: float
    objects: list[Object] = Field(default=[])


class FrameAnswers(_Out):
    """All answers about one frame."""

    stream_id: str
    epoch: int
    frame_index: int
    time_s: float | None = None
    captured_at: str | None = None
    captured_by: str
    width: int
    height: int
    decode_ms: float
    trace_id: str
    answers: list[Answer]
    age_s: float | None = Field(
        default=None,
        description="How long ago a camera's frame had arrived when it was asked; null of files.",
    )
    drawn: str | None = Field(
        default=None, description="The frame with the first answer drawn on it, JPEG, base64."
    )


class Answers(_Out):
    """What a query came to."""

    frames: list[FrameAnswers]
    elapsed_ms: float = Field(description="From the whole request to the answer, in the service.")


# -- streams -----------------------------------------------------------------------------------------------


class StreamIn(_In):
    """A stream to be watched."""

    id: StreamName
    url: str = Field(min_length=1, max_length=2000, description="rtsp://..., synthetic://street?...")
    prompts: Tasks
    fps: float | None = Field(default=None, gt=0, le=1000)
    every: int = Field(default=1, ge=1, le=1_000_000)
    options: dict[str, str] = Field(default={}, description="Options of a live stream.")
    paused: bool = False


class StreamPatch(_In):
    """What is to be different; what is left out stays."""

    prompts: Tasks | None = None
    fps: float | None = Field(default=None, gt=0, le=1000)
    every: int | None = Field(default=None, ge=1, le=1_000_000)
    paused: bool | None = None


class Stream(_Out):
    """How a stream is doing."""

    id: str
    url: str = Field(description="Without its password.")
    prompts: list[str]
    state: str = Field(
        description="How it is, in one word: live, silent, frozen, refused, paused, failed, ..."
    )
    why: str = Field(description="What was told of it last, with the remedy.")
    since: str | None = Field(description="When that was told; null before.")
    behind: str = Field(
        description="What its sinks keep on disk for brokers that are away; empty for nothing."
    )
    deleted: str = Field(
        description="What of the results was deleted as `output.keep` says; empty for nothing."
    )
    newest_frame_s: float | None = Field(description="How long ago its newest frame arrived, seconds.")
    phase: str
    paused: bool
    health: str = Field(description="Of a live stream: connecting, live, silent, ...")
    error: str
    is_live: bool
    fps: float = Field(description="Results per second, over the last seconds.")
    latency_ms: float | None = Field(
        description="From capture or arrival to the result, median of the last seconds."
    )
    rung: int = Field(description="Of the overload ladder; 0 for everything.")
    width: int
    height: int
    decoded: int
    results: int
    in_flight: int
    lost: dict[str, int] = Field(description="Frames that were wanted and let go, by reason.")
    skipped: dict[str, int] = Field(description="Frames that nobody wanted, by reason.")
    failed: dict[str, int]
    reconnects: int
    asked_fps: float | None = Field(default=None, description="The limit that was asked for.")


class StreamPage(_Out):
    """A part of the list of streams."""

    items: list[Stream]
    next: str | None = Field(default=None, description="For `after` of the next page; null on the last.")


class Event(_Out):
    """Something that happened to a stream, or that an analytic tells of it."""

    id: int = Field(description="Grows; for `after` and `before`.")
    at: str = Field(description="When it happened, or was seen.")
    stream_id: str
    epoch: int
    kind: str = Field(
        description="live, silent, frozen, ... of a stream itself; appeared, left, ... of analytics."
    )
    detail: str
    rule: str = Field(default="", description="The analytic that tells it; empty for how a stream is doing.")
    event_id: str | None = Field(
        default=None, description="What an analytic states again with more in it has the same."
    )
    revision: int = 0
    label: str | None = None
    track_id: int | None = None
    zone: str | None = None
    start: str | None = None
    end: str | None = None
    x_px: float | None = None
    y_px: float | None = None
    distance_m: float | None = None
    frame_index: int | None = None


class EventPage(_Out):
    """A part of the list of events, in the order that was asked for."""

    items: list[Event]
    next: int | None = Field(
        default=None, description="For `after`, or `before`, of the next page; null when there is no more."
    )


# -- the rest ----------------------------------------------------------------------------------------------


class Model(_Out):
    """A backend."""

    name: str
    summary: str
    tasks: list[str]
    licence: str
    usable: bool
    missing: list[str]
    is_serving: bool = Field(description="It is the one that answers here.")


class Models(_Out):
    """All backends."""

    items: list[Model]


class Tick(_Out):
    """A round distance on the scale of a depth view."""

    metres: float
    place: float = Field(description="From 0, at the camera, to 1, at infinity.")


class ClassColour(_Out):
    """The colour of a class."""

    name: str
    colour: str


class Key(_Out):
    """What the colours of a drawn answer mean."""

    stops: list[str] = Field(
        default=[], description="Colours of depth at equal steps from the camera to infinity."
    )
    ticks: list[Tick] = []
    classes: list[ClassColour] = []


class Health(_Out):
    """Whether a process is alive, or ready for queries."""

    status: Literal["ok", "not ready"]
    detail: str = ""


class Access(_Out):
    """Who may use the service, and how much a request may bring."""

    has_token: bool = Field(description="It asks for a token.")
    max_body_bytes: int = Field(description="Of one request; a longer one is refused with 413.")


class Session(_In):
    """A login of the page."""

    token: str = Field(max_length=500)


class WantIn(_In):
    """One picture of the wall."""

    stream_id: StreamName
    prompt: str = Field(default="", max_length=2000, description="Which answer is drawn; empty for all.")
    fps: float = Field(default=5.0, gt=0, le=30)
    width: int = Field(default=640, ge=64, le=1920, description="Longer side of the picture, pixels.")


class WallIn(_In):
    """What a page tells over the WebSocket."""

    watch: list[WantIn] | None = Field(
        default=None, max_length=64, description="What it wants to see from now on."
    )
    seen: list[int] = Field(default=[], max_length=256, description="Numbers of pictures that have arrived.")


# -- reading -----------------------------------------------------------------------------------------------

In = TypeVar("In", bound=_In)


def read(model: type[In], data: bytes | str | Mapping[str, Any]) -> In | list[Mistake]:
    """What a body says, or what is wrong with it.

    Args:
        model: What it must be.
        data: JSON, or what a form held.
    """
    try:
        if isinstance(data, bytes | str):
            return model.model_validate_json(data)
        return model.model_validate(data)
    except ValidationError as error:
        return mistakes_of(error.errors(include_url=False, include_input=False, include_context=False))


def mistakes_of(errors: Iterable[Mapping[str, Any]]) -> list[Mistake]:
    """Pydantic's errors, without what the client sent."""
    mistakes = []
    for error in errors:
        where = (
            ".".join(str(part) for part in error["loc"] if part not in ("body", "query", "path")) or "body"
        )
        detail = str(error["msg"]).removeprefix("Value error, ")
        field = where[:200].encode("ascii", "backslashreplace").decode()
        mistakes.append(Mistake(field=field, detail=detail[:300]))
    return mistakes
