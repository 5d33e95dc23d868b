"""Where results go: one class for each kind of sink, named here and imported inside the worker that writes."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, cast

from plantain.operators.errors import UsageError
from plantain.operators.sinks.base import Sink

SINKS = {
    "kafka": "plantain.operators.sinks.kafka.sink:KafkaSink",
    "memory": "plantain.operators.sinks.memory:MemorySink",
    "overlay": "plantain.operators.sinks.video.overlay:OverlaySink",
    "parquet": "plantain.operators.sinks.parquet.sink:ParquetSink",
}
"""Name of each sink, and where its class is."""


def make_sink(name: str, options: Mapping[str, Any]) -> Sink:
    """The sink called `name`, or the class that `module:Class` names.

    Args:
        name: A key of `SINKS`, or a dotted path.
        options: Keyword arguments for the class.

    Raises:
        UsageError: If there is no such sink, or it does not take the options.
    """
    try:
        return cast(Sink, _class_of(name)(**options))
    except TypeError as error:
        raise UsageError(f"sink '{name}' cannot be made: {error}") from error


def check_sink(name: str) -> None:
    """Finds what making a sink would find of its name.

    Raises:
        UsageError: If there is no such sink.
    """
    if name not in SINKS:
        _class_of(name)


def _class_of(name: str) -> Callable[..., Any]:
    """The class behind a name."""
    module, colon, attribute = SINKS.get(name, name).partition(":")
    if not colon:
        raise UsageError(
            f"sink '{name}' is unknown: use {', '.join(SINKS)}, or a class of yours as my_pkg.my_module:MySink"
        )
    try:
        return cast("Callable[..., Any]", getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        raise UsageError(f"sink '{name}' cannot be made: {error}") from error
