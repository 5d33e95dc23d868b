"""Where results go: one class for each kind of sink, named here and imported inside the worker that writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from plantain.operators import naming
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
    return cast(Sink, naming.make("sink", name, options, SINKS))


def check_sink(name: str) -> None:
    """Finds what making a sink would find of its name.

    Raises:
        UsageError: If there is no such sink.
    """
    if name not in SINKS:
        naming.class_of("sink", name, name, SINKS)
