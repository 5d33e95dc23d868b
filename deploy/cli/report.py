"""`plantain report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def report(
    folder: Annotated[str, typer.Argument(help="Output folder of a run, local or s3://, gs://, abfs://.")],
    to: Annotated[Path | None, typer.Option(help="The page; report.html in the folder if left out.")] = None,
) -> None:
    """Write a page about what a run stored: pictures, charts, speed, and what went wrong."""
    from plantain.deploy.report.page import write_report

    path = write_report(folder, to)
    Console(highlight=False).print(f"{path} is the report; open it in a browser", soft_wrap=True)
