"""Options that several commands take."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from plantain.operators.errors import UsageError

if TYPE_CHECKING:
    from plantain.pipeline.commands import Command

A = TypeVar("A")


class ExecutorName(StrEnum):
    """Where workers live."""

    INLINE = "inline"
    THREADS = "threads"
    RAY = "ray"


Json = Annotated[bool, typer.Option("--json", help="Write the result as JSON to stdout.")]
Model = Annotated[str, typer.Option(help="One of 'plantain models', or my_pkg.my_module:MyBackend.")]
OtherModel = Annotated[
    str | None, typer.Option(help="One of 'plantain models', or my_pkg.my_module:MyBackend.")
]
ConfigFile = Annotated[Path | None, typer.Option(help="YAML file; options given here win over it.")]
Out = Annotated[str | None, typer.Option("--out", help="Folder or s3://, gs://, abfs:// URL.")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Do streams anew whose file is another one than when it was done.")
]
JobSocket = Annotated[
    Path | None, typer.Option("--control", help="Socket of the job, as given to 'plantain run --control'.")
]
JobOut = Annotated[str | None, typer.Option("--out", help="Output folder of the job, instead of its socket.")]
ModelOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--model-option", metavar="NAME=VALUE", help="Of the model, such as weights=FILE; repeat for several."
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


def put(settings: Any, section: Any, **given: Any) -> None:
    """Puts what was given into a section of unchecked settings; one of a wrong form is left for `check` to name."""
    known = {name: value for name, value in given.items() if value is not None}
    if known and isinstance(settings, dict):
        settings.setdefault(section, {})
    if known and isinstance(settings[section], dict):
        settings[section] |= known


def told(control: Path | None, out: str | None, command: Command[A]) -> A:
    """What a running job answers, which is known by its socket or its output folder.

    Raises:
        UsageError: If neither is given.
    """
    from plantain.deploy.job_socket import socket_of, tell

    if control is None and out is None:
        raise UsageError("say which job: --out with its output folder, or --control with its socket")
    return tell(control or socket_of(str(out)), command)


def _value(written: str) -> Any:
    try:
        return json.loads(written)
    except ValueError:
        return written
