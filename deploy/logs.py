"""What every process writes about itself: one line for each event, on stderr.

On a terminal for people; elsewhere one JSON object a line: `timestamp` (UTC), `level`, `event` (a few fixed words),
and what belongs to it. What libraries say is one such event, `library`, and no more of it than can be read: the same
words once a minute. Secrets do not get out: every text passes through `redact`, and values whose names promise a
secret are left out. The command line, Ray's actors and the service call `configure` first of all.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import structlog

from plantain.operators.redaction import redact

_SECRET = re.compile(r"(?i)password|passwd|secret|token|authorization|credential|api_?key")
# What differs from one line to the next of the same words: numbers, addresses of objects, identities.
_VARYING = re.compile(r"0x[0-9a-f]+|\d+")
_HANDLER = "plantain"


# Of the same words of a library there is one line in so long, and of all its words no more than so many, seconds.
REPEAT_S, MAX_LINES = 60.0, 20
# Clients that try again by themselves, and of whose failures we tell in our own words when they last: none is an error.
PATIENT = ("kafka",)
# Kinds of words that are remembered.
MAX_KINDS = 1000


class Bounded(logging.Filter):
    """Lets one line of a kind pass in a while, and says with the next one how many were kept back.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[tuple[str, int, str], _Kept] = {}
        self._libraries: dict[str, _Kept] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written."""
        library, said = record.name.partition(".")[0], record.getMessage()
        kind = (record.name, record.levelno, _VARYING.sub("#", said)[:200])
        if len(self._kinds) >= MAX_KINDS and kind not in self._kinds:
            self._kinds.clear()
        kept = self._kinds.setdefault(kind, _Kept())
        now_s = self._clock()
        if not (kept.passes(now_s, 1) and self._library(library).passes(now_s, MAX_LINES)):
            return False
        if num_kept := kept.take() + self._library(library).take():
            record.msg, record.args = f"{said} ({num_kept} more lines like it were left out)", ()
        return True

    def _library(self, name: str) -> _Kept:
        return self._libraries.setdefault(name, _Kept())


@dataclass(slots=True)
class _Kept:
    """Lines of one kind in a while.

    Attributes:
        since_s: When the while began, in the filter's clock.
        num_passed: Lines of it that were written.
        num_kept: Lines that were kept back since the last one that was written.
    """

    since_s: float = -REPEAT_S
    num_passed: int = 0
    num_kept: int = 0

    def passes(self, now_s: float, most: int) -> bool:
        """Whether a further line is written, of which there may be `most` in a while."""
        if now_s - self.since_s >= REPEAT_S:
            self.since_s, self.num_passed = now_s, 0
        self.num_passed += 1
        self.num_kept += self.num_passed > most
        return self.num_passed <= most

    def take(self) -> int:
        """How many lines were kept back; they are told of now."""
        num_kept, self.num_kept = self.num_kept, 0
        return num_kept


class _Stderr:
    """Whatever stderr is at the moment."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure() -> None:
    """Sets up structlog, and warnings of libraries that use `logging`, for this process; again if called again.

    On a terminal it is text for people, elsewhere JSON.
    """
    shared: list[Callable[[Any, str, MutableMapping[str, Any]], Any]] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        without_secrets,
    ]
    render = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    stderr: Any = _Stderr()
    structlog.configure(processors=[*shared, render], logger_factory=structlog.WriteLoggerFactory(stderr))
    handler = logging.StreamHandler(stderr)
    handler.set_name(_HANDLER)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared, _as_ours],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    for known in [known for known in root.handlers if known.get_name() == _HANDLER]:
        root.removeHandler(known)
    handler.addFilter(Bounded())
    root.addHandler(handler)
    logging.captureWarnings(True)


def _as_ours(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor that gives what a library says the form of an event of ours."""
    del logger, method
    event["what"], event["event"] = event["event"], "library"
    if event["logger"].partition(".")[0] in PATIENT:
        event["level"] = "warning"
    return event


def without_secrets(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor that hides passwords and tokens, wherever they are."""
    del logger, method
    return {name: _clean(name, value) for name, value in event.items()}


def _clean(name: str, value: Any) -> Any:
    if _SECRET.search(name) and value is not None:
        return "***"
    match value:
        case str():
            return redact(value)
        case Mapping():
            return {str(key): _clean(str(key), inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_clean("", inner) for inner in value]
        case int() | float() | None:
            return value
        case _:
            return redact(str(value))
