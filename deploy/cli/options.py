"""Options that several commands take."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from plantain.operators.errors import UsageError


class ExecutorName(StrEnum):
    """Where workers live."""

    INLINE = "inline"
    THREADS = "threads"
    RAY = "ray"


Json = Annotated[bool, typer.Option("--json", help="Write the result as JSON to stdout.")]
Model = Annotated[str, typer.Option(help="One of 'plantain models', or my_pkg.my_module:MyBackend.")]
ModelOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--model-option",
        metavar="NAME=VALUE",
        help="Of the model, such as weights=FILE; repeat for several.",
    ),
]


def options_of(written: Sequence[str] | None) -> dict[str, Any]:
    """What is written as NAME=VALUE: numbers, true, false and null as JSON has them, anything else as it stands.

    Raises:
        UsageError: If one has another form.
    """
    found = {}
    for each in written or ():
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise UsageError(f"--model-option '{each}': write NAME=VALUE, such as weights=FILE")
        found[name] = _value(value)
    return found


def _value(written: str) -> Any:
    try:
        return json.loads(written)
    except ValueError:
        return written
