"""`plantain tidy`: few large parts instead of many small ones, and nothing kept for longer than is wanted."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from plantain.deploy.cli.options import Json
from plantain.deploy.standard import tell
from plantain.operators.errors import UsageError
from plantain.operators.redaction import shown


def tidy(
    out: Annotated[
        str | None,
        typer.Argument(help="Output folder or s3://, gs://, abfs:// URL; that of --config if left out."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file whose output.keep counts.")] = None,
    rows: Annotated[
        str | None, typer.Option(metavar="AGE", help="Delete rows older than this: 400d.")
    ] = None,
    rasters: Annotated[
        str | None, typer.Option(metavar="AGE", help="Delete dense maps older than this: 14d.")
    ] = None,
    pictures: Annotated[
        str | None, typer.Option(metavar="AGE", help="Delete pictures older than this: 30d.")
    ] = None,
    disk: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="Delete the oldest days while more of the disk is used: 80%."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Put the parts of days that are over together, and delete what is kept no longer.

    Of today (UTC) nothing is touched. It may be done while a run writes to the folder.
    """
    from pydantic import ValidationError

    from plantain.operators.sinks.store import Store
    from plantain.pipeline.checkpoint import RUN
    from plantain.pipeline.config import load
    from plantain.pipeline.config.output import KeepConfig
    from plantain.pipeline.config.section import mistakes_of
    from plantain.pipeline.tidying import tidy as work

    output = None if config is None else load(config).output
    if out == "" or (out is None and output is None):
        raise UsageError("name the output folder, or a --config that does")
    folder = out or (output.out if output is not None else "")
    keep = KeepConfig() if output is None else output.keep
    given = {"rows": rows, "rasters": rasters, "pictures": pictures, "disk": disk}
    try:
        keep = KeepConfig(
            **{**keep.model_dump(), **{name: age for name, age in given.items() if age is not None}}
        )
    except ValidationError as error:
        raise UsageError("\n".join(f"--{line}" for line in mistakes_of(error, KeepConfig))) from error
    if keep.disk is not None and "://" in folder and not folder.startswith("file://"):
        raise UsageError(
            f"--disk counts on local disks, and {shown(folder)} is none: name ages (--rows) instead"
        )
    if Store(folder).get(RUN) is None:
        raise UsageError(f"{shown(folder)} holds no results of a run")
    changes = []
    for change in work(folder, keep):
        changes.append({**asdict(change), "day": str(change.day)})
        if not as_json:
            sys.stderr.write(
                f"{change.day}: {'' if change.what == 'merged' else 'deleted '}{change.what}, {change.parts} parts, "
                f"{change.size / 1e6:.1f} -> {change.size_after / 1e6:.1f} MB\n"
            )
    merged = sum(1 for change in changes if change["what"] == "merged")
    deleted = sum(change["size"] - change["size_after"] for change in changes if change["what"] != "merged")
    tell(
        json.dumps({"out": shown(folder), "changes": changes})
        if as_json
        else f"{merged} parts were made of many, {deleted / 1e6:.1f} MB deleted in {shown(folder)}"
    )
