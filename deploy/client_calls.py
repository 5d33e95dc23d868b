"""What the clients share: each call as a flow of requests and replies, and what replies mean."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from plantain.deploy.service.schemas import (
    Answers,
    Event,
    EventPage,
    FrameAnswers,
    Models,
    Stream,
    StreamPage,
)
from plantain.operators.errors import PlantainError

T = TypeVar("T")

Picture = bytes | Path
Reply = httpx.Response
Flow = Generator["Request", Reply, T]
"""Requests out, replies in, the result at the end; knows nothing of sockets or coroutines."""

MAX_PAUSE_S = 10.0
JSON = "application/json"


class ServiceError(PlantainError):
    """The service refused a request.

    Attributes:
        status: HTTP status code; 0 where it could not be reached.
        detail: Why, and what to do.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, as httpx takes it."""

    method: str
    path: str
    options: dict[str, Any] = field(default_factory=dict)


# -- what can be asked of the service; the methods of both clients -------------------------------------------------


def predict(
    tasks: Sequence[str],
    *,
    image: Picture | None = None,
    clip: Picture | None = None,
    fps: float | None = None,
    resolution: str = "source",
) -> Flow[Answers]:
    """Answers about a picture or a short clip; `generate:` needs neither."""
    reply = yield _prediction(tasks, image, clip, fps, resolution, JSON)
    return Answers.model_validate_json(reply.content)


def draw(task: str, accept: str, *, image: Picture | None = None, resolution: str = "source") -> Flow[bytes]:
    """The answer to one task as a file: image/png, application/x-npy, or image/jpeg."""
    return (yield _prediction([task], image, None, None, resolution, accept)).content


def query(stream_id: str, tasks: Sequence[str], *, resolution: str = "source") -> Flow[Answers]:
    """Answers about the newest frame of a stream."""
    options = {"json": {"tasks": list(tasks), "resolution": resolution}, "headers": {"Accept": JSON}}
    reply = yield Request("POST", f"/v1/streams/{stream_id}/query", options)
    return Answers.model_validate_json(reply.content)


def add_stream(
    stream_id: str,
    url: str,
    prompts: Sequence[str],
    *,
    fps: float | None = None,
    every: int = 1,
    options: dict[str, str] | None = None,
    key: str | None = None,
) -> Flow[Stream]:
    """Watches a further stream; the same request under the same key adds nothing twice."""
    body = {
        "id": stream_id, "url": url, "prompts": list(prompts), "fps": fps, "every": every, "options": options or {},
    }  # fmt: skip
    headers = {} if key is None else {"Idempotency-Key": key}
    reply = yield Request("POST", "/v1/streams", {"json": body, "headers": headers})
    return Stream.model_validate_json(reply.content)


def stream(stream_id: str) -> Flow[Stream]:
    """How a stream is doing."""
    return Stream.model_validate_json((yield Request("GET", f"/v1/streams/{stream_id}")).content)


def streams() -> Flow[list[Stream]]:
    """How all streams are doing."""
    found: list[Stream] = []
    after: str | None = ""
    while after is not None:
        reply = yield Request("GET", "/v1/streams", {"params": {"after": after}})
        page = StreamPage.model_validate_json(reply.content)
        found += page.items
        after = page.next
    return found


def change_stream(stream_id: str, **changes: Any) -> Flow[Stream]:
    """Changes prompts, fps, every or paused of a stream."""
    reply = yield Request("PATCH", f"/v1/streams/{stream_id}", {"json": changes})
    return Stream.model_validate_json(reply.content)


def remove_stream(stream_id: str) -> Flow[Stream]:
    """Stops watching a stream; its last status. While it drains its phase is `removing`: ask again."""
    return Stream.model_validate_json((yield Request("DELETE", f"/v1/streams/{stream_id}")).content)


def events(after: int = 0, stream: str = "") -> Flow[list[Event]]:
    """What happened, oldest first."""
    found: list[Event] = []
    following: int | None = after
    while following is not None:
        reply = yield Request("GET", "/v1/events", {"params": {"after": following, "stream": stream}})
        page = EventPage.model_validate_json(reply.content)
        found += page.items
        following = page.next
    return found


def models() -> Flow[Models]:
    """Every backend."""
    return Models.model_validate_json((yield Request("GET", "/v1/models")).content)


def wait_until_ready() -> Flow[None]:
    """Returns once queries are answered."""
    yield Request("GET", "/readyz")


def _prediction(
    tasks: Sequence[str],
    image: Picture | None,
    clip: Picture | None,
    fps: float | None,
    resolution: str,
    accept: str,
) -> Request:
    """A question about a file, or about none."""
    name, picture = ("image", image) if clip is None else ("clip", clip)
    if image is not None and clip is not None:
        raise ValueError("give one of image and clip")
    headers = {"Accept": accept}
    if picture is None:
        body = {"tasks": list(tasks), "resolution": resolution}
        return Request("POST", "/v1/predict", {"json": body, "headers": headers})
    data: dict[str, Any] = {"task": list(tasks), "resolution": resolution}
    if fps is not None:
        data["fps"] = str(fps)
    content = picture if isinstance(picture, bytes) else picture.read_bytes()
    return Request(
        "POST", "/v1/predict", {"files": {name: (name, content)}, "data": data, "headers": headers}
    )


# -- what replies mean ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Match:
    """News of a watch.

    Attributes:
        is_there: Whether the answer is not empty any more, or empty again.
        frame: The frame and its answers.
    """

    is_there: bool
    frame: FrameAnswers


def headers_of(token: str | None) -> dict[str, str]:
    """The headers of every request."""
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def pause_before_the_next(reply: Reply | None, error: Exception | None, left_s: float) -> float | None:
    """How long to wait before another try; None for no other.

    A request whose answer was lost may have been carried out: only one that did not get through is sent again.
    """
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        pause_s = 0.5
    elif reply is not None and reply.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        try:
            pause_s = min(MAX_PAUSE_S, float(reply.headers.get("Retry-After", "")))
        except ValueError:
            return None
    else:
        return None
    return pause_s if pause_s < left_s else None


def checked(reply: Reply | None, error: Exception | None) -> Reply:
    """A reply that is an answer.

    Raises:
        ServiceError: If it is none.
    """
    if reply is None:
        raise ServiceError(0, f"the service cannot be reached ({error})") from error
    if not reply.is_success:
        raise refusal_of(reply)
    return reply


def refusal_of(reply: Reply) -> ServiceError:
    """What a reply that is no answer says."""
    try:
        problem = reply.json()
        return ServiceError(reply.status_code, str(problem.get("detail") or problem.get("title")))
    except (ValueError, AttributeError):
        return ServiceError(reply.status_code, f"the service answered {reply.status_code}")


def watch(stream_id: str, tasks: Sequence[str], every_s: float, *, once: bool) -> Request:
    """What a watch asks."""
    body = {"tasks": list(tasks), "watch": True, "every_s": every_s, "once": once}
    return Request("POST", f"/v1/streams/{stream_id}/query", {"json": body})


class SseReader:
    """Reads the events of a watch, line by line."""

    def __init__(self) -> None:
        self._name = ""

    def take(self, line: str) -> Match | None:
        """The news that a line completes.

        Raises:
            ServiceError: If it says that there will be no more.
        """
        if line.startswith("event: "):
            self._name = line[7:]
        elif line.startswith("data: "):
            if self._name == "problem":
                status = int(json.loads(line[6:])["status"])
                if status < httpx.codes.INTERNAL_SERVER_ERROR:
                    raise ServiceError(status, "the watch has ended")
                return None
            return Match(self._name == "match", FrameAnswers.model_validate_json(line[6:]))
        return None
