"""What every process writes about itself: one line for each event, on stderr.

On a terminal for people; elsewhere one JSON object a line: `timestamp` (UTC), `level`, `event` (a few fixed words),
and what belongs to it. Secrets do not get out: every text passes through `redact`, and values whose names promise a
secret are left out. The command line, Ray's actors and the service call `configure` first of all.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import structlog

from plantain.operators.redaction import redact

_SECRET = re.compile(r"(?i)password|passwd|secret|token|authorization|credential|api_?key")
_HANDLER = "plantain"


class _Stderr:
    """Whatever stderr is at the moment."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure(*, as_json: bool | None = None) -> None:
    """Sets up structlog, and warnings of libraries that use `logging`, for this process; again if called again.

    Args:
        as_json: JSON or text for people; by what stderr is if left out.
    """
    if as_json is None:
        as_json = not sys.stderr.isatty()
    shared: list[Callable[[Any, str, MutableMapping[str, Any]], Any]] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        without_secrets,
    ]
    render = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    stderr: Any = _Stderr()
    structlog.configure(processors=[*shared, render], logger_factory=structlog.WriteLoggerFactory(stderr))
    handler = logging.StreamHandler(stderr)
    handler.set_name(_HANDLER)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    for known in [known for known in root.handlers if known.get_name() == _HANDLER]:
        root.removeHandler(known)
    root.addHandler(handler)


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
