"""The one way to an HTTP API: JSON comes back, or a sentence that says what came instead, and whether it may cost.

| what comes                                       | raised          | paid for |
|--------------------------------------------------|-----------------|----------|
| no connection; 408, 429, 500, 502, 503, 504, 529 | ModelBusyError  | no       |
| other errors, redirects                          | ModelError      | no       |
| late, cut, too long, no JSON                     | ModelLostError  | perhaps  |

The APIs that are spoken here charge nothing for an answer with an error code.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from plantain.operators.errors import ModelBusyError, ModelError, ModelLostError
from plantain.operators.models.hosted.options import Hosting
from plantain.operators.redaction import HIDDEN, redact

if TYPE_CHECKING:
    import httpx

MAX_BYTES = 64 << 20
"""An answer is no longer: a picture of 4K as PNG in base64 takes up to 40 MB."""

MAX_CONNECT_S = 10.0
"""A server that does not even accept a connection is not there."""

_BUSY = frozenset((408, 429, 500, 502, 503, 504, 529))
_MAX_SAID = 200


class Api:
    """See the module; safe to use from several threads.

    Args:
        hosting: Where it is.
        header: Makes the headers that open it, of the key.
    """

    def __init__(self, hosting: Hosting, header: Callable[[str], Mapping[str, str]]) -> None:
        import httpx

        self._httpx = httpx
        self._hosting = hosting
        self._base = hosting.base_url.rstrip("/")
        self._key = hosting.key()
        self._client = httpx.Client(
            headers={**(header(self._key) if self._key else {}), "Accept": "application/json"},
            timeout=httpx.Timeout(
                hosting.timeout_s, connect=min(hosting.timeout_s, MAX_CONNECT_S), pool=None
            ),
            limits=httpx.Limits(max_connections=hosting.at_once, max_keepalive_connections=hosting.at_once),
        )

    def post(self, path: str, **body: Any) -> Any:
        """What a POST is answered with, as JSON.

        Args:
            path: Behind the base address.
            body: `json`, or `data` and `files`, as httpx takes them.

        Raises:
            ModelError: See the module.
        """
        return self._ask("POST", path, **body)

    def get(self, path: str) -> Any:
        """What a GET is answered with, as JSON.

        Raises:
            ModelError: See the module.
        """
        return self._ask("GET", path)

    def close(self) -> None:
        """Ends the connections."""
        self._client.close()

    def _ask(self, method: str, path: str, **body: Any) -> Any:
        httpx, where, timeout_s = self._httpx, self._hosting.place, self._hosting.timeout_s
        deadline_s = time.monotonic() + timeout_s
        try:
            with self._client.stream(method, self._base + path, **body) as response:
                content = self._content(response, deadline_s)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ModelBusyError(
                f"{where} cannot be reached ({self._said(str(error)) or 'no answer'}): "
                "check base_url, and whether it runs"
            ) from error
        except httpx.TimeoutException as error:
            raise self._late() from error
        except httpx.TransportError as error:
            raise ModelLostError(
                f"{where} broke off its answer ({self._said(str(error))}): see what it says in its own log"
            ) from error
        if response.is_success:
            return self._json(response, content)
        raise self._error(response, content)

    def _content(self, response: httpx.Response, deadline_s: float) -> bytes:
        """The body; the client's own time limit is for each piece of it, and pieces can be small."""
        content = bytearray()
        for piece in response.iter_bytes():
            content += piece
            if time.monotonic() > deadline_s:
                raise self._late()
            if len(content) > MAX_BYTES:
                raise ModelLostError(f"{self._hosting.place} answers with more than {MAX_BYTES >> 20} MiB")
        return bytes(content)

    def _late(self) -> ModelLostError:
        return ModelLostError(
            f"{self._hosting.place} had not answered after {self._hosting.timeout_s:g} s (timeout_s): "
            "give it more time, or less to do"
        )

    def _json(self, response: httpx.Response, content: bytes) -> Any:
        try:
            return json.loads(content)
        except ValueError as error:
            where = self._hosting.place
            if _is_page(response, content):
                said = f"{where} answers with a page and no JSON: check base_url, and what stands in between"
            elif len(content) and content.lstrip()[:1] in b"{[":
                said = f"{where} broke off its answer after {len(content)} bytes"
            else:
                said = f"{where} answers with {len(content)} bytes that are no JSON: check base_url"
            raise ModelLostError(said) from error

    def _error(self, response: httpx.Response, content: bytes) -> ModelError:
        """What an error code means."""
        where, code = self._hosting.place, response.status_code
        told: Any = None
        if not _is_page(response, content):
            try:
                told = json.loads(content)
            except ValueError:
                told = None
        reason = self._said(_message(told))
        behind = f": {reason}" if reason else ""
        if code in _BUSY:
            wait_s = retry_after_s(response.headers.get("Retry-After", ""), told)
            return ModelBusyError(f"{where} is busy ({code}){behind}", wait_s)
        if code in (401, 403):
            of = (
                f"the key in {self._hosting.key_env}" if self._hosting.key_env else "requests without key_env"
            )
            return ModelError(f"{where} refuses {of} ({code}){behind}")
        if code in (404, 405):
            return ModelError(
                f"{where} has no such model or address ({code}): check model and base_url{behind}"
            )
        if response.is_redirect:
            return ModelError(
                f"{where} sends elsewhere ({code}): write the address that it means as base_url"
            )
        return ModelError(f"{where} refuses the request ({code}){behind}")

    def _said(self, text: str) -> str:
        """What a server said as it may be shown: it may repeat what it was sent."""
        text = " ".join(text.split())
        if self._key:
            text = text.replace(self._key, HIDDEN)
        return redact(text)[:_MAX_SAID].rstrip(" .")


def bearer(key: str) -> dict[str, str]:
    """The header of OpenAI's API and of those that speak like it."""
    return {"Authorization": f"Bearer {key}"}


def retry_after_s(header: str, told: Any = None) -> float | None:
    """When to come back, seconds: of the header `Retry-After`, or of Google's `RetryInfo`; None where neither says.

    Args:
        header: Seconds, or a date in GMT (RFC 9110, 10.2.3).
        told: The body, as JSON.
    """
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(header)
        # The oldest of the three forms of a date in HTTP does not say that it is GMT.
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return max(0.0, (when - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        pass
    error = told.get("error") if isinstance(told, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else []:
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and delay.endswith("s"):
            try:
                return max(0.0, float(delay[:-1]))
            except ValueError:
                continue
    return None


def _is_page(response: httpx.Response, content: bytes) -> bool:
    """Whether HTML came."""
    return "html" in response.headers.get("Content-Type", "") or content.lstrip()[:1] == b"<"


def _message(told: Any) -> str:
    """The words of an error: `{"error": {"message"}}`, `{"error": "..."}`, `{"detail": ...}`, `{"message"}`."""
    if not isinstance(told, dict):
        return ""
    for found in (told.get("error"), told.get("detail"), told.get("message")):
        if isinstance(found, dict) and isinstance(found.get("message"), str):
            return str(found["message"])
        if isinstance(found, str):
            return found
        if isinstance(found, list):  # of a request that is not valid: [{"loc": ..., "msg": ...}]
            said = [str(each["msg"]) for each in found if isinstance(each, dict) and "msg" in each]
            return "; ".join(said)
    return ""
