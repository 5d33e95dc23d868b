"""POST /v1/predict: questions about a picture or a short clip, and new pictures from words."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile
from starlette.responses import Response

from plantain.deploy.service import answers
from plantain.deploy.service.answers import Form
from plantain.deploy.service.endpoints.service import Service, TheService
from plantain.deploy.service.inputs import blank_frame, frame_of_image, frames_of_clip
from plantain.deploy.service.problems import HttpError
from plantain.deploy.service.schemas import Answers, PredictIn, QueryIn, read
from plantain.operators.prompts import Prompt, Task
from plantain.operators.streams import View
from plantain.operators.types import Frame, Result
from plantain.pipeline.commands import Ask

router = APIRouter(tags=["questions"])

_FIELDS = ("tasks", "fps", "resolution", "rasters", "drawn")
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["task"],
                    "properties": {
                        "image": {"type": "string", "format": "binary", "description": "JPEG, PNG or WebP."},
                        "clip": {"type": "string", "format": "binary", "description": "A short mp4."},
                        "task": {"type": "array", "items": {"type": "string"}, "minItems": 1},
                        "fps": {"type": "number"},
                        "resolution": {"enum": ["source", "model"]},
                        "rasters": {"type": "boolean"},
                        "drawn": {"type": "boolean"},
                    },
                }
            },
            "application/json": {"schema": PredictIn.model_json_schema()},
        },
    }
}
FORMS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Answers,
        "content": {form.value: {} for form in Form if form is not Form.JSON},
        "description": "The answers, in the form that Accept asks for.",
    }
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, read.

    Attributes:
        data: The file; None for none.
        is_clip: Whether it is a clip.
        asked: Everything else.
    """

    data: bytes | None
    is_clip: bool
    asked: PredictIn


@router.post("/v1/predict", openapi_extra=_BODY, responses=FORMS)
async def predict(request: Request, service: TheService) -> Response:
    """Ask a picture or a short clip; with neither, `generate:` tasks draw a new picture.

    Accept decides the form of the answer: `application/json` (masks as COCO run lengths), `image/png` (one task: the
    mask with a palette, or 16 bit depth), `application/x-npy` (one task: numbers), `image/jpeg` (annotated), or
    `multipart/mixed` (JSON and a PNG for each frame and task).
    """
    started = time.perf_counter()
    form = answers.choose(request.headers.get("accept", "*/*"))
    read_ = await _read(request)
    prompts = service.prompts_of(read_.asked.tasks)
    check_form(form, prompts)
    if read_.data is None and any(prompt.task is not Task.GENERATE for prompt in prompts):
        raise HttpError(422, "send one of image and clip; only generate: tasks need none")
    is_drawn = form is Form.JPEG or (form is Form.JSON and read_.asked.drawn)
    view = service.view_with_picture if is_drawn else service.view
    results = await service.patiently(request, _answered(read_, view, form, prompts, service))
    is_small = (
        form is Form.JSON and read_.asked.resolution == "model" and not (is_drawn or read_.asked.rasters)
    )
    if is_small and len(results) == len(prompts) == 1:
        return respond(form, results, read_.asked, started)  # as quick as the way to a thread and back
    return await asyncio.to_thread(respond, form, results, read_.asked, started)


async def _answered(
    read_: _Asked, view: View, form: Form, prompts: Sequence[Prompt], service: Service
) -> list[Result]:
    """What the engine says of a file; with the pictures of it that the answers are to be drawn on."""
    frames = await asyncio.to_thread(_frames, read_, view, service)
    if form in (Form.PNG, Form.JPEG) and len(frames) > 1:
        raise HttpError(
            406, f"{form} holds one picture; for a clip accept application/json or multipart/mixed"
        )
    bare = [replace(frame, info=replace(frame.info, picture=None)) for frame in frames]
    results = await service.engine.do(Ask(bare, prompts), service.limits.timeout_s)
    return [replace(result, info=frame.info) for result, frame in zip(results, frames, strict=True)]


def check_form(form: Form, prompts: Sequence[Prompt]) -> None:
    """Complains where one file would have to hold several answers.

    Raises:
        HttpError: 406.
    """
    if form in (Form.PNG, Form.NPY) and len(prompts) > 1:
        raise HttpError(406, f"{form} holds the answer to one task; for several accept multipart/mixed")


def respond(form: Form, results: Sequence[Result], asked: PredictIn | QueryIn, started: float) -> Response:
    """Results in the form that was asked for."""
    resolution = asked.resolution
    answers.check_success(results)
    headers = {"Vary": "Accept"}
    match form:
        case Form.PNG:
            data, told = answers.png_of(answers.at(results, resolution)[0].predictions[0])
            return Response(data, media_type=form, headers=headers | told)
        case Form.NPY:
            return Response(answers.npy_of(answers.at(results, resolution)), media_type=form, headers=headers)
        case Form.JPEG:
            return Response(answers.jpeg_of(results[0]), media_type=form, headers=headers)
    is_json = form is Form.JSON
    frames = answers.json_of(
        results, resolution, rasters=asked.rasters and is_json, drawn=asked.drawn and is_json
    )
    body = Answers(frames=frames, elapsed_ms=(time.perf_counter() - started) * 1e3).model_dump_json()
    if form is Form.JSON:
        return Response(body, media_type=form, headers=headers)
    data, media_type = answers.mixed_of(body, answers.at(results, resolution))
    return Response(data, headers=headers | {"Content-Type": media_type})


def _frames(read_: _Asked, view: View, service: Service) -> list[Frame]:
    if read_.data is None:
        return [blank_frame(view)]
    if read_.is_clip:
        return frames_of_clip(read_.data, view, service.limits, read_.asked.fps)
    return [frame_of_image(read_.data, view, service.limits)]


async def _read(request: Request) -> _Asked:
    """The request's file and what is asked of it.

    Raises:
        HttpError: 415 if it is neither a form nor JSON, 422 if something in it is wrong.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _read_form(request)
    if kind == "application/json":
        asked = _checked(await request.body())
        files = {"image": asked.image, "clip": asked.clip}
        name, text = _one({name: text for name, text in files.items() if text is not None})
        try:
            data = None if text is None else base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise HttpError(422, f"{name}: this is not base64") from error
        return _Asked(data, name == "clip", asked)
    raise HttpError(415, "send multipart/form-data with image or clip and task, or application/json")


async def _read_form(request: Request) -> _Asked:
    async with request.form(max_files=2, max_fields=64) as form:
        files = {name: form.get(name) for name in ("image", "clip") if name in form}
        name, upload = _one(files)
        if not isinstance(upload, UploadFile | None):
            raise HttpError(422, f"{name}: send it as a file, with a filename")
        data = None if upload is None else await upload.read()
        unknown = sorted({*form} - {"image", "clip", "task", *_FIELDS[1:]})
        if unknown:
            raise HttpError(422, "a form has the fields image or clip, task, fps, resolution, rasters, drawn")
        given = {key: form[key] for key in _FIELDS if key in form}
        asked = _checked({**given, "tasks": [text for text in form.getlist("task") if isinstance(text, str)]})
    return _Asked(data, name == "clip", asked)


def _one(files: dict[str, Any]) -> tuple[str, Any]:
    """Name and content of the only file; of none, no content."""
    if len(files) > 1:
        raise HttpError(422, "send one of image and clip")
    return next(iter(files.items()), ("image", None))


def _checked(data: bytes | dict[str, Any]) -> PredictIn:
    asked = read(PredictIn, data)
    if isinstance(asked, list):
        raise HttpError(422, f"{asked[0].field}: {asked[0].detail}", mistakes=tuple(asked))
    return asked
