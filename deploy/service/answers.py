"""Results to what the client asked for: JSON, PNG, arrays, an annotated picture, or several of these."""

from __future__ import annotations

import base64
import io
import secrets
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from plantain.deploy.service.problems import RETRY_AFTER_S, HttpError
from plantain.deploy.service.schemas import Answer, FrameAnswers, Object, Resolution, Rle
from plantain.operators.answers import kind_of
from plantain.operators.answers.base import Raster, Row
from plantain.operators.render.drawing import draw, draw_answer
from plantain.operators.render.layout import layout_for
from plantain.operators.sinks.rows import AnswerRows, Rows
from plantain.operators.types import Failure, Prediction, Result, Value
from plantain.pipeline.video import PICTURE_LONG_SIDE

JPEG_QUALITY = 85
# A clip's masks and maps at the size of its pictures may not take more than this together.
MAX_PIXELS_OUT = 128_000_000


class Form(StrEnum):
    """Media types that an answer can have, the preferred first."""

    JSON = "application/json"
    PNG = "image/png"
    NPY = "application/x-npy"
    JPEG = "image/jpeg"
    MIXED = "multipart/mixed"


def choose(accept: str) -> Form:
    """The form that an Accept header likes best.

    Raises:
        HttpError: 406 if it likes none.
    """
    best, best_rank = None, (0.0, 0)
    for part in accept.split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = _quality(parameters)
        for form in Form:
            family = form.split("/")[0]
            specificity = {form.value: 3, f"{family}/*": 2, "*/*": 1}.get(media or "*/*", 0)
            if specificity and quality > 0 and (quality, specificity) > best_rank:
                best, best_rank = form, (quality, specificity)
    if best is None:
        raise HttpError(406, f"no answer of the kind '{accept[:200]}': accept one of {', '.join(Form)}")
    return best


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0


def check_success(results: Sequence[Result]) -> None:
    """Complains where not one task was answered.

    Raises:
        HttpError: 503 if the same may work later, 422 otherwise.
    """
    failures = [p.value for r in results for p in r.predictions if isinstance(p.value, Failure)]
    if len(failures) < sum(len(result.predictions) for result in results):
        return
    first = failures[0]
    text = f"{first.stage}: {first.error}"
    raise HttpError(503, text, retry_after_s=RETRY_AFTER_S) if first.retryable else HttpError(422, text)


def at(results: Sequence[Result], resolution: Resolution) -> list[Result]:
    """The results with masks and maps at the size that was asked for.

    Raises:
        HttpError: 413 if that is too much.
    """
    if resolution == "model":
        return list(results)
    total = sum(np.prod(r.info.fit.source_hw, dtype=np.int64) * len(r.predictions) for r in results)
    if total > MAX_PIXELS_OUT:
        raise HttpError(
            413, f"masks and maps of {total / 1e6:.0f} million pixels are too many: ask for resolution=model"
        )
    return [_enlarged(result) for result in results]


def _enlarged(result: Result) -> Result:
    size_hw = result.info.fit.source_hw
    predictions = tuple(
        p if isinstance(p.value, Failure) else replace(p, value=kind_of(p.prompt).sized(p.value, size_hw))
        for p in result.predictions
    )
    return replace(result, predictions=predictions)


# -- JSON --------------------------------------------------------------------------------------------------


def json_of(
    results: Sequence[Result], resolution: Resolution, *, rasters: bool = False, drawn: bool = False
) -> list[FrameAnswers]:
    """Results as plain data.

    Args:
        results: One or more.
        resolution: Size of the masks.
        rasters: With the dense maps.
        drawn: With the frames, and the answer to the first task drawn on them.
    """
    sized = at(results, resolution) if rasters else results
    frames = [
        _frame_of(result, each, resolution, rasters=rasters)
        for result, each in zip(results, sized, strict=True)
    ]
    if not drawn:
        return frames
    pictures = (base64.b64encode(_first_drawn(result)).decode() for result in results)
    return [frame.model_copy(update={"drawn": text}) for frame, text in zip(frames, pictures, strict=True)]


def _frame_of(result: Result, sized: Result, resolution: Resolution, *, rasters: bool) -> FrameAnswers:
    rows = Rows([result], grid=resolution).answers
    answers = [
        _answer(each, _raster(prediction) if rasters else None)
        for each, prediction in zip(rows, sized.predictions, strict=True)
    ]
    frame = rows[0].frame
    captured = frame["captured_at"]
    own = {"captured_at", "answers", "age_s", "drawn"}
    return FrameAnswers(
        **{name: frame[name] for name in FrameAnswers.model_fields if name not in own},
        captured_at=None if captured is None else captured.isoformat(),
        answers=answers,
        age_s=None if result.info.captured_by == "file" else result.header.waited_s,
    )


def _answer(rows: AnswerRows, raster: Raster | None) -> Answer:
    """A row as JSON; every field is a column, but for those that are named here."""
    known = {name: rows.frame[name] for name in Answer.model_fields if name not in ("objects", "said")}
    prompt, value = rows.prediction.prompt, rows.prediction.value
    said = value.error if isinstance(value, Failure) else kind_of(prompt).words(prompt, value)
    if raster is not None:
        known["raster_format"], known["raster_scale"] = raster.format, raster.scale
        known["raster"] = base64.b64encode(raster.data).decode()
    return Answer(**known, said=said, objects=[_object(row) for row in rows.objects])


def _object(row: Row) -> Object:
    counts = row["rle_counts"]
    return Object(
        **{name: row[name] for name in Object.model_fields if name != "rle"},
        rle=None if counts is None else Rle(size=(row["rle_h"], row["rle_w"]), counts=counts),
    )


def _raster(prediction: Prediction) -> Raster | None:
    if isinstance(prediction.value, Failure):
        return None
    return kind_of(prediction.prompt).raster(prediction.value)


# -- pictures and arrays -----------------------------------------------------------------------------------


def png_of(prediction: Prediction) -> tuple[bytes, dict[str, str]]:
    """One answer as a PNG file, and headers that say how to read it.

    Masks are a palette image whose indexes are the regions' numbers (0 background) and whose colours can be looked
    at; depth is 16 bit gray, metres = sample / scale, 0 for none; normals are RGB, n = 2 * sample / 255 - 1.

    Raises:
        HttpError: 422 if the task failed, 406 if its answer is no picture.
    """
    value = answered(prediction)
    picture = kind_of(prediction.prompt).picture(prediction.prompt, value)
    if picture is None:
        raise HttpError(406, f"the answer to '{prediction.prompt}' is no picture: accept {Form.JSON}")
    return picture.data, {f"Plantain-{name}": said for name, said in picture.notes.items()}


def array_of(prediction: Prediction) -> NDArray[Any]:
    """One answer as numbers: labels uint16, metres float32 (0 for none), normals float32, or RGB uint8.

    Raises:
        HttpError: 422 if the task failed, 406 if its answer is no array.
    """
    array = kind_of(prediction.prompt).array(answered(prediction))
    if array is None:
        raise HttpError(406, f"the answer to '{prediction.prompt}' is no array: accept {Form.JSON}")
    return array


def answered(prediction: Prediction) -> Value:
    """The answer.

    Raises:
        HttpError: 422 if the task failed.
    """
    value = prediction.value
    if isinstance(value, Failure):
        raise HttpError(422, f"{value.stage}: {value.error}")
    return value


def npy_of(results: Sequence[Result]) -> bytes:
    """The answers to one task as a NumPy file: (h, w, ...) of a picture, (n, h, w, ...) of a clip."""
    arrays = [array_of(result.predictions[0]) for result in results]
    file = io.BytesIO()
    np.save(file, arrays[0] if len(arrays) == 1 else np.stack(arrays), allow_pickle=False)
    return file.getvalue()


def jpeg_of(result: Result) -> bytes:
    """The frame with all answers drawn on it and beside it."""
    return _jpeg(draw(result, layout_for(result)))


def _first_drawn(result: Result) -> bytes:
    """The frame with the answer to the first task, without captions; `/v1/key` says what its colours mean."""
    info = result.info
    height, width = info.fit.source_hw
    scale = min(1.0, PICTURE_LONG_SIDE / max(height, width))
    size_hw = (max(2, round(height * scale)), max(2, round(width * scale)))
    return _jpeg(draw_answer(result.predictions[0], info, size_hw))


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def mixed_of(body: str, results: Sequence[Result]) -> tuple[bytes, str]:
    """JSON and one PNG for each frame and task as multipart/mixed, with its media type."""
    boundary = secrets.token_hex(16)
    parts = [_part(boundary, {"Content-Type": "application/json"}, body.encode())]
    for result in results:
        for number, prediction in enumerate(result.predictions):
            if isinstance(prediction.value, Failure):
                continue
            if kind_of(prediction.prompt).size_hw(prediction.value) is None:
                continue
            data, headers = png_of(prediction)
            name = f"frame{result.header.frame_index}-task{number}.png"
            headers |= {
                "Content-Type": "image/png",
                "Content-Disposition": f'attachment; filename="{name}"',
                "Plantain-Frame": str(result.header.frame_index),
                "Plantain-Task": str(number),
            }
            parts.append(_part(boundary, headers, data))
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/mixed; boundary={boundary}"


def _part(boundary: str, headers: dict[str, str], body: bytes) -> bytes:
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"--{boundary}\r\n{head}\r\n".encode() + body + b"\r\n"
