"""Which streams a request may name: kinds and hosts that the configuration allows, no option that opens a file."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl, urlsplit

from plantain.deploy.service.problems import HttpError
from plantain.deploy.service.schemas import StreamIn
from plantain.operators.errors import UsageError
from plantain.operators.sources.live.guard import AddressRefusedError, judged_addresses
from plantain.operators.sources.live.options import LiveOptions
from plantain.operators.streams import StreamSpec
from plantain.pipeline.config import ServeConfig

# Options of live streams that a request may set; the others open files, or reach beyond their stream.
OPTIONS = frozenset(
    (
        "policy",
        "ring",
        "max_staleness_s",
        "keyframes_only",
        "deinterlace",
        "timeout_s",
        "transport",
        "frozen_s",
    )
)
MAX_RING = 64
MAX_SIDE = 1920
MAX_FRAMES = 100_000
_STREET = frozenset(("seed", "frames", "fps", "width", "height"))


async def check_stream(stream: StreamIn, serve: ServeConfig) -> dict[str, str]:
    """The options with which a stream of a request is opened.

    Raises:
        HttpError: 403 if the kind of stream or its host is not allowed, 422 if the address or an option makes no sense.
    """
    try:
        parts = urlsplit(stream.url)
        port = parts.port
    except ValueError as error:
        raise HttpError(422, "url: this is no address") from error
    if not stream.url.isprintable() or " " in stream.url or "\\" in stream.url:
        raise HttpError(422, "url: an address has no spaces and no special characters")
    scheme = parts.scheme.lower()
    if scheme not in serve.schemes or "://" not in stream.url:
        allowed = ", ".join(f"{name}://" for name in serve.schemes) or "none"
        raise HttpError(403, f"url: requests may add streams of these kinds: {allowed} (serve.schemes)")
    if scheme == "synthetic":
        _check_street(stream)
        return {}
    if not parts.hostname:
        raise HttpError(422, "url: it names no host")
    _check_options(stream)
    try:
        await asyncio.to_thread(judged_addresses, parts.hostname, port or 554, serve.hosts)
    except AddressRefusedError as error:
        raise HttpError(403, f"url: {error} (serve.hosts)") from error
    except (OSError, UnicodeError) as error:
        raise HttpError(422, f"url: the host {parts.hostname} cannot be found just now") from error
    return {**stream.options, "hosts": " ".join(serve.hosts)}


def _check_options(stream: StreamIn) -> None:
    unknown = sorted(set(stream.options) - OPTIONS)
    if unknown:
        raise HttpError(
            422, f"options: a request may set {', '.join(sorted(OPTIONS))}; not {', '.join(unknown)[:200]}"
        )
    try:
        options = LiveOptions.of(StreamSpec(stream.id, stream.url, options=dict(stream.options)))
    except UsageError as error:
        raise HttpError(422, f"options: {error}") from error
    if options.ring > MAX_RING:
        raise HttpError(422, f"options: ring may be at most {MAX_RING}")


def _check_street(stream: StreamIn) -> None:
    """A rendered street costs what its size says."""
    if stream.options:
        raise HttpError(422, "options: a synthetic stream takes none; write them into its address")
    given = dict(parse_qsl(urlsplit(stream.url).query, keep_blank_values=True))
    if urlsplit(stream.url).netloc != "street" or urlsplit(stream.url).path or not set(given) <= _STREET:
        raise HttpError(
            422, f"url: write synthetic://street?{'&'.join(f'{name}=1' for name in sorted(_STREET))}"
        )
    limits = {"width": MAX_SIDE, "height": MAX_SIDE, "frames": MAX_FRAMES, "fps": 120, "seed": 2**31 - 1}
    for name, text in given.items():
        if not text.isascii() or not text.isdecimal() or len(text) > 10 or int(text) > limits[name]:
            raise HttpError(422, f"url: {name} is a whole number up to {limits[name]}")
        if name != "seed" and int(text) < (16 if name in ("width", "height") else 1):
            raise HttpError(422, f"url: {name}={text} is too small")
