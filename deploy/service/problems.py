"""What went wrong with a request, as RFC 9457 problem details."""

from __future__ import annotations

from http import HTTPStatus

from fastapi.responses import JSONResponse
from starlette.responses import Response

from plantain.deploy.service.schemas import Mistake, Problem
from plantain.operators.errors import (
    ModelError,
    ModelUnavailableError,
    PlantainError,
    SourceError,
    UsageError,
)
from plantain.operators.redaction import redact
from plantain.pipeline.commands import ConflictError
from plantain.pipeline.engine.streams import UnknownStreamError

MEDIA_TYPE = "application/problem+json"

# How long a client is asked to wait where nobody knows better, seconds.
RETRY_AFTER_S = 2.0


class HttpError(PlantainError):
    """A request that gets no answer.

    Args:
        status: HTTP status code.
        detail: One sentence that names the thing and says what to do.
        retry_after_s: When to try again, seconds; None where that would not help.
        mistakes: Single fields that are wrong.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        retry_after_s: float | None = None,
        mistakes: tuple[Mistake, ...] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.mistakes = mistakes

    def __reduce__(self) -> tuple[object, ...]:
        return _made, (self.status, self.detail, self.retry_after_s, self.mistakes)


def _made(status: int, detail: str, retry_after_s: float | None, mistakes: tuple[Mistake, ...]) -> HttpError:
    return HttpError(status, detail, retry_after_s=retry_after_s, mistakes=mistakes)


def of_error(error: PlantainError) -> HttpError:
    """The answer to a request that ended in an error of the tree."""
    text = redact(str(error))
    match error:
        case HttpError():
            return error
        case UnknownStreamError():
            return HttpError(404, text)
        case ConflictError():
            return HttpError(409, text)
        case ModelUnavailableError():
            return HttpError(503, text, retry_after_s=30.0)
        case UsageError() | SourceError() | ModelError() if not error.retryable:
            return HttpError(422, text)
        case _ if error.retryable:
            return HttpError(503, text, retry_after_s=RETRY_AFTER_S)
        case _:
            return HttpError(500, text)


def response_of(error: HttpError) -> Response:
    """The problem details of an error."""
    problem = Problem(
        title=HTTPStatus(error.status).phrase,
        status=error.status,
        detail=error.detail,
        errors=list(error.mistakes),
    )
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="plantain"'
    return JSONResponse(
        problem.model_dump(exclude_defaults=False), error.status, headers=headers, media_type=MEDIA_TYPE
    )
