"""`plantain demo`."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from plantain.deploy.cli.options import ExecutorName, Json, Model
from plantain.deploy.cli.scores import table_of

if TYPE_CHECKING:
    from plantain.deploy.cli.progress import Display
    from plantain.deploy.lab.demo import Demo
    from plantain.pipeline.engine.engine import Engine


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for the clip, tables, annotated video and report.")
    ] = Path("demo"),
    executor: Annotated[ExecutorName, typer.Option(help="Where workers live.")] = ExecutorName.RAY,
    frames: Annotated[
        int, typer.Option(min=1, max=1000, help="Length of the clip, 25 frames a second.")
    ] = 60,
    model: Model = "embedded",
    as_json: Json = False,
) -> None:
    """Render a street, run all tasks on it, score the answers, and write a report."""
    from plantain.deploy.lab.demo import run_demo

    with _Screen(frames) as screen:
        done = run_demo(
            out,
            model=model,
            executor=str(executor),
            num_frames=frames,
            on_rendered=screen.rendered,
            on_progress=screen.progressed,
        )
    if as_json:
        sys.stdout.write(json.dumps(_plain(out, done)) + "\n")
    else:
        _show(out, done)
    raise typer.Exit(done.outcome.exit_code)


class _Screen:
    """Shows first how far rendering is, then the run."""

    def __init__(self, num_frames: int) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._num_frames = num_frames
        self._stack = ExitStack()
        self._display: Display | None = None
        self._rendering: Progress | None = None

    def __enter__(self) -> _Screen:
        self._console.print(f"rendering a street of {self._num_frames} frames that no model was trained on")
        if self._console.is_terminal:
            self._rendering = Progress(console=self._console, transient=True)
            self._rendering.add_task("rendering", total=self._num_frames)
            self._rendering.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._rendering is not None:
            self._rendering.stop()
        self._stack.close()

    def rendered(self, count: int) -> None:
        """Told by the demo how many pictures there are."""
        if self._rendering is not None:
            self._rendering.update(self._rendering.task_ids[0], completed=count)
            if count == self._num_frames:
                self._rendering.stop()
                self._rendering = None

    def progressed(self, engine: Engine) -> None:
        """Told by the runner where the engine is."""
        from plantain.deploy.cli.progress import Display

        if self._display is None:
            self._display = self._stack.enter_context(Display())
        self._display.update(engine)


def _plain(out: Path, done: Demo) -> dict[str, object]:
    """The demo for machines."""
    from plantain.deploy.cli.progress import summary

    return {
        "out": str(out),
        "report": None if done.report is None else str(done.report),
        "wall_s": round(done.outcome.wall_s, 3),
        "streams": [summary(stream) for stream in done.outcome.streams],
        "scored_frames": done.num_scored,
        "scores": {score.key: score.value for score in done.scores},
    }


def _show(out: Path, done: Demo) -> None:
    console = Console(highlight=False)
    if done.scores:
        console.print(
            f"[bold]accuracy, from the stored rows of {done.num_scored} frames[/bold]", soft_wrap=True
        )
        console.print(table_of(done.scores, console.width))
    answered = sum(stream.account.results for stream in done.outcome.streams)
    console.print(f"{answered} frames answered in {done.outcome.wall_s:.1f} s; in {out}:", soft_wrap=True)
    found = {
        "report.html": "what was found, in pictures; open it in a browser",
        "overlay/street.mp4": "the annotated video",
        "frames/": "one row for each frame and task, Parquet",
        "objects/": "one row for each mask, Parquet",
        "street.mp4": "the clip",
    }
    for name, what in found.items():
        if (out / name).exists():
            console.print(f"    {name:<20}{what}", soft_wrap=True)
