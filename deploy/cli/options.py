"""Options that several commands take."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class ExecutorName(StrEnum):
    """Where workers live."""

    INLINE = "inline"
    THREADS = "threads"
    RAY = "ray"


Json = Annotated[bool, typer.Option("--json", help="Write the result as JSON to stdout.")]
Model = Annotated[str, typer.Option(help="One of 'plantain models', or my_pkg.my_module:MyBackend.")]
