"""What a web server says of a file without sending it."""

from __future__ import annotations

import base64
from http.client import HTTPException
from typing import Any
from urllib.error import URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

# A server that takes longer to answer is asked nothing more here: whoever opens the file has more patience.
TIMEOUT_S = 5.0


def is_web(url: str) -> bool:
    """Whether an address is one of a web server."""
    return urlsplit(url).scheme in ("http", "https")


def told_of(url: str) -> dict[str, Any] | None:
    """Its `length` in bytes, `etag` and time of modification (`modified`), what the server tells; None if nothing.

    Args:
        url: `http://...` or `https://...`, perhaps with a login.
    """
    try:
        with urlopen(_question(url), timeout=TIMEOUT_S) as answer:
            headers = answer.headers
    except (OSError, URLError, HTTPException, ValueError):
        return None
    told = {
        "length": int(headers["Content-Length"]) if str(headers["Content-Length"]).isdigit() else None,
        "etag": headers["ETag"] and str(headers["ETag"]).removeprefix("W/"),
        "modified": headers["Last-Modified"],
    }
    return {name: value for name, value in told.items() if value is not None} or None


def is_same(known: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether a server has the file that it had before, as far as it tells.

    Servers behind one name may each have tags of their own: a file of the same length and time is the same.
    """
    dated = ("length", "modified")
    if all(name in known and name in now for name in dated):
        if all(known[name] == now[name] for name in dated):
            return True
        if "etag" not in known or "etag" not in now:
            return False
    shared = [name for name in ("etag", "length") if name in known and name in now]
    return all(known[name] == now[name] for name in shared)


def _question(url: str) -> Request:
    """A question for the head of an answer alone."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    request = Request(parts._replace(netloc=place, fragment="").geturl(), method="HEAD")
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    return request
