"""/v1/streams: what is watched, while it runs; and questions about what is there just now."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from plantain.deploy.service import answers
from plantain.deploy.service.answers import Form
from plantain.deploy.service.endpoints.predict import FORMS, check_form, respond
from plantain.deploy.service.endpoints.service import Service, TheService, slot_of
from plantain.deploy.service.gateway import Want, Watched
from plantain.deploy.service.problems import EngineDownError, HttpError, of_error
from plantain.deploy.service.schemas import QueryIn, Stream, StreamIn, StreamName, StreamPage, StreamPatch
from plantain.deploy.service.security_urls import check_stream
from plantain.deploy.service.sse import event, stream_of
from plantain.operators.answers import kind_of
from plantain.operators.errors import PlantainError
from plantain.operators.prompts import Prompt
from plantain.operators.redaction import shown as shown_address
from plantain.operators.types import Failure, Result
from plantain.pipeline.config import StreamConfig
from plantain.pipeline.video import PICTURE_LONG_SIDE

router = APIRouter(tags=["streams"])

PAUSED = "paused"
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
    items = [shown(watched) for watched in await service.gateway.streams()]
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
    added = await service.patiently(request, service.gateway.add(config, paused=stream.paused, key=named))
    response.status_code = 201 if added.is_new else 200
    response.headers["Location"] = f"/v1/streams/{stream.id}"
    return shown(added)


@router.get("/v1/streams/{stream_id}")
async def get_stream(stream_id: StreamName, service: TheService) -> Stream:
    """How a stream is doing."""
    return shown(await service.gateway.stream(stream_id))


@router.patch("/v1/streams/{stream_id}")
async def change_stream(
    stream_id: StreamName, patch: StreamPatch, request: Request, service: TheService
) -> Stream:
    """Change what is asked of a stream, pause or resume it; the others notice nothing."""
    changes: dict[str, Any] = patch.model_dump(exclude_unset=True, exclude={"paused"})
    if "prompts" in changes:
        changes["prompts"] = service.prompts_of(patch.prompts or (), "prompts")
        if not changes["prompts"]:
            raise HttpError(422, "prompts: name at least one")
    if changes.get("every", 1) is None:
        changes["every"] = 1
    work = service.gateway.change(stream_id, changes, paused=patch.paused)
    return shown(await service.patiently(request, work))


@router.delete("/v1/streams/{stream_id}")
async def remove_stream(stream_id: StreamName, request: Request, service: TheService) -> Stream:
    """Stop watching a stream, for ever; its results stay. Gives its last status."""
    return shown(await service.patiently(request, service.gateway.remove(stream_id)))


@router.post("/v1/streams/{stream_id}/query", responses=FORMS)
async def query_stream(
    stream_id: StreamName, query: QueryIn, request: Request, service: TheService
) -> Response:
    """Ask the newest frame of a stream; with `watch`, be told when the answer is not empty (server-sent events)."""
    started = time.perf_counter()
    prompts = service.prompts_of(query.tasks)
    if query.watch:
        slot_of(request).stay()
        first = await service.patiently(request, service.gateway.ask_stream(stream_id, prompts))
        answers.check_success([first])
        return stream_of(service, _watch(service, stream_id, prompts, query, first))
    form = answers.choose(request.headers.get("accept", "*/*"))
    check_form(form, prompts)
    result = await service.patiently(request, service.gateway.ask_stream(stream_id, prompts))
    if result.info.picture is None and (form is Form.JPEG or query.drawn):
        # Cameras keep the pictures of their frames while somebody looks: look, and ask again.
        await service.gateway.shots([Want(stream_id, "", 1.0, PICTURE_LONG_SIDE)], {}, LOOK_S)
        result = await service.patiently(request, service.gateway.ask_stream(stream_id, prompts))
    return await asyncio.to_thread(respond, form, [result], query, started)


async def _watch(
    service: Service, stream_id: str, prompts: tuple[Prompt, ...], query: QueryIn, first: Result
) -> AsyncIterator[bytes]:
    """`match` when the answer becomes other than empty, `clear` when it is empty again, `problem` when none came."""
    result: Result | None = first
    was_there = False
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
            was_there = is_there
        await asyncio.sleep(max(0.0, query.every_s - (time.monotonic() - begun)))
        try:
            result = await asyncio.wait_for(
                service.gateway.ask_stream(stream_id, prompts), service.limits.timeout_s
            )
        except (EngineDownError, TimeoutError):
            result = None  # it comes back
        except PlantainError as error:
            problem = of_error(error)
            yield event("problem", f'{{"status": {problem.status}}}')
            if not error.retryable:
                return
            result = None


def has_something(result: Result) -> bool:
    """Whether an answer is not empty."""
    return any(
        not kind_of(prediction.prompt).is_empty(prediction.value)
        for prediction in result.predictions
        if not isinstance(prediction.value, Failure)
    )


def shown(watched: Watched) -> Stream:
    """A stream as clients see it."""
    status, config = watched.status, watched.config
    own = {"id", "url", "prompts", "paused", "asked_fps"}
    return Stream(
        id=status.stream_id,
        url=shown_address(config.url),
        prompts=[str(prompt) for prompt in config.prompts],
        paused=status.phase == PAUSED,
        asked_fps=config.fps,
        **{name: getattr(status, name) for name in Stream.model_fields if name not in own},
    )
