"""The HTTP application, independent of where the engine lives.

    client -> Guard (who, how much) -> endpoints -> Transport -> engine

`create_app` joins them; `endpoints/` has what is done at each address, `inputs.py` and `answers.py` turn bytes into
frames and results into bytes.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import cast

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from plantain.deploy.service.endpoints import events, live, meta, predict, streams
from plantain.deploy.service.endpoints.service import CLIENT_LEFT, Service
from plantain.deploy.service.problems import HttpError, of_error, response_of
from plantain.deploy.service.schemas import Problem, mistakes_of
from plantain.deploy.service.security import Guard, check_exposure
from plantain.deploy.transport import Transport
from plantain.operators.errors import PlantainError
from plantain.operators.redaction import redact
from plantain.pipeline.config import PipelineConfig

log = structlog.get_logger()

_PROBLEMS = {
    status: {"model": Problem, "content": {"application/problem+json": {}}}
    for status in (401, 403, 404, 406, 409, 413, 415, 422, 503, 507)
}


def create_app(config: PipelineConfig, engine: Transport) -> Guard:
    """The application as ASGI.

    Args:
        config: What runs, and what requests may do.
        engine: The way to it.

    Raises:
        UsageError: If other machines could reach it without a token.
    """
    token = check_exposure(config.serve)
    app = FastAPI(
        title="Plantain",
        version=version("plantain-video"),
        description="Ask any picture, clip or camera anything, on one model.",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        responses=cast("dict[int | str, dict[str, object]]", _PROBLEMS),
    )
    for endpoints in (predict, streams, events, live, meta):
        app.include_router(endpoints.router)
    app.add_exception_handler(PlantainError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(ClientDisconnect, _on_left)
    app.add_exception_handler(OSError, _on_disk)
    app.add_exception_handler(Exception, _on_bug)
    guard = Guard(app, config.serve, token)
    app.state.service = guard.service = Service(config, engine, guard)
    return guard


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    app.state.service.close()


async def _on_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, PlantainError)
    return response_of(of_error(error))


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    mistakes = tuple(mistakes_of(error.errors()))
    return response_of(HttpError(422, "the request has mistakes; see errors", mistakes=mistakes))


async def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return response_of(HttpError(error.status_code, str(error.detail)))


async def _on_left(_: Request, error: Exception) -> Response:
    del error
    return response_of(HttpError(CLIENT_LEFT, "the client has left"))


async def _on_disk(request: Request, error: Exception) -> Response:
    """What was sent goes through temporary files: long uploads, and every clip."""
    assert isinstance(error, OSError)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return await _on_bug(request, error)
    log.error("no room for a request", path=request.url.path, error=redact(str(error)))
    return response_of(HttpError(507, "the service has no room left on its disk for what was sent"))


async def _on_bug(request: Request, error: Exception) -> Response:
    log.error("request failed", path=request.url.path, error=redact(f"{type(error).__name__}: {error}"))
    return response_of(HttpError(500, "this should not have happened; the service's log says more"))
