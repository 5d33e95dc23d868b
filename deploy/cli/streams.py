"""`plantain streams`: the streams of a running job, while the others go on."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from plantain.deploy.cli.options import JobOut, JobSocket, Json, told
from plantain.operators.errors import UsageError

if TYPE_CHECKING:
    from plantain.pipeline.status import StreamStatus

streams = typer.Typer(
    help="See and change the streams of a running job, while the others go on.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="The stream's name.")]
Tasks = Annotated[
    list[str] | None, typer.Option("--task", help="What to ask of each frame; repeat for several.")
]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="For the source; repeat for several."),
]
Fps = Annotated[float | None, typer.Option(help="Look at no more than this many frames per second.")]
Every = Annotated[int | None, typer.Option(help="Look at every n-th frame.")]


@streams.command("list")
def list_streams(control: JobSocket = None, out: JobOut = None, as_json: Json = False) -> None:
    """Show every stream: what is asked of it, how it is, and where its frames went."""
    from plantain.pipeline.commands import Streams

    _show(told(control, out, Streams()), as_json=as_json)


@streams.command()
def add(
    url: Annotated[str, typer.Argument(help="rtsp://..., a file, or what 'plantain run' takes.")],
    name: Annotated[str | None, typer.Option("--id", help="Its name in every row.")] = None,
    task: Tasks = None,
    fps: Fps = None,
    every: Every = None,
    option: Options = None,
    control: JobSocket = None,
    out: JobOut = None,
    as_json: Json = False,
) -> None:
    """Watch one more stream; without --task it is asked what the job asks of all."""
    from plantain.pipeline.commands import Add
    from plantain.pipeline.config import stream_of

    stream = stream_of({"url": url, "id": name} | _settings(task, fps, every, option))
    _show([told(control, out, Add(stream)).status], as_json=as_json)


@streams.command()
def change(
    name: Name,
    task: Tasks = None,
    fps: Fps = None,
    every: Every = None,
    option: Options = None,
    control: JobSocket = None,
    out: JobOut = None,
    as_json: Json = False,
) -> None:
    """Ask something else of a stream, or look at it more or less often."""
    from plantain.pipeline.commands import Change

    changes = _settings(task, fps, every, option)
    if not changes:
        raise UsageError("name what to change: --task, --fps, --every or --option")
    _show([told(control, out, Change(name, changes))], as_json=as_json)


@streams.command()
def pause(name: Name, control: JobSocket = None, out: JobOut = None, as_json: Json = False) -> None:
    """Let a stream rest: its source is closed, what is in flight is stored."""
    from plantain.pipeline.commands import Pause

    _show([told(control, out, Pause(name))], as_json=as_json)


@streams.command()
def resume(name: Name, control: JobSocket = None, out: JobOut = None, as_json: Json = False) -> None:
    """Let a paused stream go on, and one that failed try again."""
    from plantain.pipeline.commands import Resume

    _show([told(control, out, Resume(name))], as_json=as_json)


@streams.command()
def remove(
    name: Name,
    now: Annotated[bool, typer.Option("--now", help="Drop what is in flight.")] = False,
    control: JobSocket = None,
    out: JobOut = None,
    as_json: Json = False,
) -> None:
    """End a stream and forget it; what is stored stays. Shows its last figures."""
    from plantain.pipeline.commands import Remove

    _show([told(control, out, Remove(name, drain=not now))], as_json=as_json)


def _settings(
    task: list[str] | None, fps: float | None, every: int | None, option: list[str] | None
) -> dict[str, Any]:
    """What was given, as StreamConfig names it."""
    settings: dict[str, Any] = {}
    if task:
        settings["prompts"] = task
    if fps is not None:
        settings["fps"] = fps
    if every is not None:
        settings["every"] = every
    if option:
        wrong = [each for each in option if "=" not in each]
        if wrong:
            raise UsageError(f"--option is NAME=VALUE, not '{wrong[0]}'")
        settings["options"] = dict(each.split("=", 1) for each in option)
    return settings


def _show(found: list[StreamStatus], *, as_json: bool) -> None:
    """A table for people, a list for machines."""
    if as_json:
        sys.stdout.write(json.dumps([asdict(status) for status in found]) + "\n")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("stream", "state", *_FIGURES):
        table.add_column(column, justify="right" if column in _FIGURES else "left", overflow="fold")
    for status in found:
        latency = status.latency_ms
        table.add_row(
            status.stream_id,
            status.state,
            f"{status.fps:.1f}",
            "-" if latency is None else f"{latency:.0f} ms",
            str(status.decoded),
            str(status.results),
            str(sum(status.lost.values())),
            str(sum(status.failed.values())),
        )
    console = Console(highlight=False, markup=False)
    console.print(table)
    for status in found:
        console.print(f"{status.stream_id}: asked {', '.join(status.prompts)}", soft_wrap=True)
        for what, books in (("lost or failed", status.lost | status.failed), ("not wanted", status.skipped)):
            reasons = [f"{count} {why}" for why, count in sorted(books.items())]
            if reasons:
                console.print(f"{status.stream_id}: {what}: {', '.join(reasons)}", soft_wrap=True)
        if status.behind:
            console.print(f"{status.stream_id}: {status.behind}", soft_wrap=True)
        if status.error:
            console.print(f"{status.stream_id}: {status.error}", soft_wrap=True)
    for deleted in sorted({status.deleted for status in found if status.deleted}):
        console.print(f"deleted, since it is kept no longer: {deleted}", soft_wrap=True)


_FIGURES = ("fps", "latency", "decoded", "results", "lost", "failed")
