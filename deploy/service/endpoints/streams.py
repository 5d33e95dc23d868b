"""/v1/streams: what is watched, while it runs; and questions about what is there just now."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from plantain.deploy.service import answers
from plantain.deploy.service.answers import Form
from plantain.deploy.service.endpoints.predict import FORMS, check_form, respond
from plantain.deploy.service.endpoints.service import Service, TheService, slot_of
from plantain.deploy.service.problems import HttpError, of_error
from plantain.deploy.service.schemas import QueryIn, Stream, StreamIn, StreamName, StreamPage, StreamPatch
from plantain.deploy.service.security_urls import check_stream
from plantain.deploy.service.sse import event, stream_of
from plantain.operators.answers import kind_of
from plantain.operators.errors import PlantainError, SourceError
from plantain.operators.prompts import Prompt
from plantain.operators.render.looks import Look
from plantain.operators.types import Failure, Result
from plantain.pipeline import commands
from plantain.pipeline.config import StreamConfig
from plantain.pipeline.engine.stream import Phase
from plantain.pipeline.status import REMOVING, StreamStatus
from plantain.pipeline.video import PICTURE_LONG_SIDE

router = APIRouter(tags=["streams"])

# A request waits so long for a stream to drain, and is then told how it stands.
DRAIN_S = 5.0
# How long a question with a picture waits for one, where nobody was looking before.
LOOK_S = 1.0

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="The same request under the same key adds nothing twice.",
    ),
]


@router.get("/v1/streams")
async def list_streams(
    service: TheService,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    after: Annotated[str, Query(max_length=100)] = "",
) -> StreamPage:
    """How all streams are doing, by name."""
    items = [shown(status) for status in await service.engine.do(commands.Streams())]
    rest = [item for item in sorted(items, key=lambda item: item.id) if item.id > after]
    items = rest[:limit]
    return StreamPage(items=items, next=items[-1].id if len(rest) > limit else None)


@router.post("/v1/streams", status_code=201, responses={200: {"model": Stream}})
async def add_stream(
    stream: StreamIn, request: Request, response: Response, service: TheService, key: Key = None
) -> Stream:
    """Watch a further stream, from now on and after every restart."""
    prompts = service.prompts_of(stream.prompts, "prompts")
    options = await check_stream(stream, service.limits)
    config = StreamConfig(
        id=stream.id, url=stream.url, prompts=prompts, fps=stream.fps, every=stream.every, options=options
    )
    named = None if key is None else f"{key} {hashlib.sha256(stream.model_dump_json().encode()).hexdigest()}"
    added = await service.do(request, commands.Add(config, stream.paused, named))
    response.status_code = 201 if added.is_new else 200
    response.headers["Location"] = f"/v1/streams/{stream.id}"
    return shown(added.status)


@router.get("/v1/streams/{stream_id}")
async def get_stream(stream_id: StreamName, service: TheService) -> Stream:
    """How a stream is doing."""
    return shown(await service.engine.do(commands.Status(stream_id)))


@router.patch("/v1/streams/{stream_id}", responses={202: {"model": Stream}})
async def change_stream(
    stream_id: StreamName, patch: StreamPatch, request: Request, response: Response, service: TheService
) -> Stream:
    """Change what is asked of a stream, pause or resume it; the others notice nothing. 202 while it is draining."""
    changes: dict[str, Any] = patch.model_dump(exclude_unset=True, exclude={"paused"})
    if "prompts" in changes:
        changes["prompts"] = service.prompts_of(patch.prompts or (), "prompts")
        if not changes["prompts"]:
            raise HttpError(422, "prompts: name at least one")
    if changes.get("every", 1) is None:
        changes["every"] = 1
    command: commands.Command[StreamStatus] = (
        commands.Change(stream_id, changes) if changes else commands.Status(stream_id)
    )
    status = await service.do(request, command)
    if patch.paused:
        status = await service.do(request, commands.Pause(stream_id, wait_s=DRAIN_S))
        response.status_code = 200 if status.phase == Phase.PAUSED else 202
    elif patch.paused is not None:
        status = await service.do(request, commands.Resume(stream_id))
    return shown(status)


@router.delete("/v1/streams/{stream_id}", responses={202: {"model": Stream}})
async def remove_stream(
    stream_id: StreamName, request: Request, response: Response, service: TheService
) -> Stream:
    """Stop watching a stream, for ever; its results stay. Gives its last status; 202 while it is being removed."""
    status = await service.do(request, commands.Remove(stream_id, wait_s=DRAIN_S))
    response.status_code = 202 if status.phase == REMOVING else 200
    return shown(status)


@router.post("/v1/streams/{stream_id}/query", responses=FORMS)
async def query_stream(
    stream_id: StreamName, query: QueryIn, request: Request, service: TheService
) -> Response:
    """Ask the newest frame of a stream; with `watch`, be told when the answer is not empty (server-sent events)."""
    started = time.perf_counter()
    prompts = service.prompts_of(query.tasks)
    if query.watch:
        slot_of(request).stay()
        (first,) = await service.do(request, commands.AskStream(stream_id, prompts))
        answers.check_success([first])
        return stream_of(service, _watch(service, stream_id, prompts, query, first))
    form = answers.choose(request.headers.get("accept", "*/*"))
    check_form(form, prompts)
    (result,) = await service.do(request, commands.AskStream(stream_id, prompts))
    if result.info.picture is None and (form is Form.JPEG or query.drawn):
        # Cameras keep the pictures of their frames while somebody looks: look, and ask again.
        await service.engine.do(commands.Watch([Look(stream_id, "", 1.0, PICTURE_LONG_SIDE)], wait_s=LOOK_S))
        (result,) = await service.do(request, commands.AskStream(stream_id, prompts))
    return await asyncio.to_thread(respond, form, [result], query, started)


async def _watch(
    service: Service, stream_id: str, prompts: tuple[Prompt, ...], query: QueryIn, first: Result
) -> AsyncIterator[bytes]:
    """`match` when the answer becomes other than empty, `clear` when it is empty again, `problem` when none came.

    After a problem it is said anew whether it is there. A camera that is away is waited for; the watch ends with what
    time does not heal.
    """
    result: Result | None = first
    was_there: bool | None = False
    trouble = ""
    while True:
        begun = time.monotonic()
        if result is not None:
            is_there = has_something(result)
            if is_there != was_there:
                (frame,) = answers.json_of(
                    [result], query.resolution, rasters=query.rasters, drawn=query.drawn
                )
                yield event("match" if is_there else "clear", frame.model_dump_json())
                if is_there and query.once:
                    return
            was_there, trouble = is_there, ""
        await asyncio.sleep(max(0.0, query.every_s - (time.monotonic() - begun)))
        try:
            (result,) = await service.engine.do(
                commands.AskStream(stream_id, prompts), service.limits.timeout_s
            )
        except commands.EngineDownError:
            result = None  # it comes back
        except PlantainError as error:
            problem, kind = of_error(error), type(error)
            if (what := f"{kind.__name__} {problem.status}") != trouble:
                trouble = what
                yield event("problem", json.dumps({"status": problem.status, "detail": problem.detail}))
            if not (error.retryable or isinstance(error, SourceError)):
                return
            result = was_there = None


def has_something(result: Result) -> bool:
    """Whether an answer is not empty."""
    return any(
        not kind_of(prediction.prompt).is_empty(prediction.value)
        for prediction in result.predictions
        if not isinstance(prediction.value, Failure)
    )


def shown(status: StreamStatus) -> Stream:
    """A stream as clients see it."""
    fields = asdict(status)
    since_ns = fields.pop("since_ns")
    since = None if since_ns is None else datetime.fromtimestamp(since_ns / 1e9, UTC).isoformat()
    return Stream(id=fields.pop("stream_id"), paused=status.phase == Phase.PAUSED, since=since, **fields)
