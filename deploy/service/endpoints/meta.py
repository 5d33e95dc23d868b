"""Health, models, the login, and the page."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import FileResponse, PlainTextResponse

from plantain.deploy.metrics import CONTENT_TYPE
from plantain.deploy.service.endpoints.service import TheService
from plantain.deploy.service.problems import HttpError
from plantain.deploy.service.schemas import Access, ClassColour, Health, Key, Model, Models, Session, Tick
from plantain.deploy.service.security import COOKIE
from plantain.operators.answers import kind_of
from plantain.operators.colours import to_hex
from plantain.operators.models import BACKENDS, missing_modules
from plantain.pipeline.commands import EngineDownError, Figures, Ready

router = APIRouter(tags=["service"])

# Enough for a gradient of a few hundred pixels.
NUM_STOPS = 24
# A probe must not wait long for an engine that is just starting.
READY_TIMEOUT_S = 2.0
WEB = Path(__file__).parents[1] / "web"
SESSION_S = 30 * 24 * 3600
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@router.get("/healthz")
async def healthz() -> Health:
    """Whether this process is alive."""
    return Health(status="ok")


@router.get("/readyz", responses={503: {"model": Health}})
async def readyz(service: TheService, response: Response) -> Health:
    """Whether queries are answered."""
    try:
        why = (await service.engine.do(Ready(), READY_TIMEOUT_S)).trouble
    except EngineDownError as error:
        why = str(error)
    if why:
        response.status_code = 503
        response.headers["Retry-After"] = "1"
        return Health(status="not ready", detail=why)
    return Health(status="ok")


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(service: TheService) -> Response:
    """Figures for Prometheus."""
    return Response(await service.engine.do(Figures()), media_type=CONTENT_TYPE)


@router.get("/v1/models")
async def list_models(service: TheService) -> Models:
    """Every backend, and which one answers here."""
    serving = {model.name for model in service.config.pools.values()}
    items = []
    for name, spec in BACKENDS.items():
        missing = missing_modules(spec)
        items.append(
            Model(
                name=name,
                summary=spec.summary,
                tasks=[str(task) for task in spec.tasks],
                licence=spec.licence,
                usable=not missing,
                missing=missing,
                is_serving=name in serving,
            )
        )
    summary = "a class of the user's own"
    items += [
        Model(name=name, summary=summary, tasks=[], licence="", usable=True, missing=[], is_serving=True)
        for name in sorted(serving - {*BACKENDS})
    ]
    return Models(items=items)


@router.get("/v1/key")
async def get_key(service: TheService, prompt: Annotated[str, Query(max_length=2000)]) -> Key:
    """What the colours mean in which the answer to a prompt is drawn."""
    (asked,) = service.prompts_of([prompt], "prompt")
    key = kind_of(asked).key(asked, None, NUM_STOPS)
    stops, ticks = [], []
    if key.scale is not None:
        stops = [to_hex((int(red), int(green), int(blue))) for red, green, blue in key.scale.colours]
        ticks = [Tick(metres=metres, place=place) for metres, place in key.scale.ticks.items()]
    classes = [
        ClassColour(name=chip.name, colour=to_hex(chip.colour))
        for chip in key.chips
        if chip.colour is not None
    ]
    return Key(stops=stops, ticks=ticks, classes=classes)


@router.get("/v1/session")
async def get_session(service: TheService) -> Access:
    """Whether this service asks for a token (whoever is told so here can log out), and how long a request may be."""
    return Access(has_token=service.guard.has_token, max_body_bytes=service.limits.max_body_bytes)


@router.post("/v1/session", status_code=204)
async def log_in(session: Session, request: Request, service: TheService) -> Response:
    """Exchange the token for a cookie, for pictures and live views of a page."""
    if not service.guard.accepts(session.token):
        raise HttpError(401, "this is not the service's token")
    response = Response(status_code=204)
    response.set_cookie(
        COOKIE,
        service.guard.session,
        max_age=SESSION_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.delete("/v1/session", status_code=204)
async def log_out() -> Response:
    """Forget the cookie."""
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


@router.get("/", include_in_schema=False)
async def page() -> Response:
    """The wall of cameras."""
    return _file("index.html")


@router.get("/docs", include_in_schema=False)
async def docs() -> Response:
    """The interface, for people."""
    return _file("docs.html")


@router.get("/web/{name}", include_in_schema=False)
async def asset(name: str) -> Response:
    """A file of the page."""
    return _file(name)


@router.get("/favicon.ico", include_in_schema=False)
async def favicon() -> Response:
    """The page's symbol."""
    return _file("icon.svg")


def _file(name: str) -> Response:
    if name not in _assets():
        raise HttpError(404, "there is no such page")
    path = WEB / name
    return FileResponse(path, media_type=_TYPES[path.suffix], headers={"Cache-Control": "no-cache"})


@cache
def _assets() -> frozenset[str]:
    """Names of the files that may be fetched; nothing else of the disk is."""
    return frozenset(path.name for path in WEB.iterdir() if path.suffix in _TYPES)
