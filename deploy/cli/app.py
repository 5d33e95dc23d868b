"""The command `plantain`.

Exit codes: 0 done; 1 some streams failed, each named with its reason; 2 bad usage or configuration; 130 interrupted
after a clean drain.
"""

from __future__ import annotations

import json
import signal
import sys
from contextlib import ExitStack, redirect_stdout, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from plantain.deploy import standard
from plantain.deploy.cli.annotate import annotate
from plantain.deploy.cli.demo import demo
from plantain.deploy.cli.evaluate import evaluate
from plantain.deploy.cli.models import models
from plantain.deploy.cli.options import (
    ConfigFile,
    ExecutorName,
    Json,
    ModelOptions,
    OtherModel,
    Out,
    Replace,
    options_of,
    put,
)
from plantain.deploy.cli.report import report
from plantain.deploy.cli.serve import serve
from plantain.deploy.cli.streams import streams
from plantain.deploy.cli.tidy import tidy
from plantain.deploy.cli.train import train
from plantain.deploy.standard import tell
from plantain.operators.errors import PlantainError, UsageError
from plantain.operators.redaction import shown

if TYPE_CHECKING:
    from plantain.pipeline.config import PipelineConfig
    from plantain.pipeline.engine.engine import Engine
    from plantain.pipeline.runner import Outcome

app = typer.Typer(
    name="plantain",
    help="Streaming video analytics on generalist models: prompts in, answers decoded, typed rows out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(highlight=False)


def _say_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        sys.stdout.write(f"plantain {version('plantain-video')}\n")
        raise typer.Exit


@app.callback()
def _common(
    is_version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version and exit."),
    ] = False,
) -> None:
    """Streaming video analytics on generalist models: prompts in, answers decoded, typed rows out."""
    del is_version


@app.command()
def run(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders, globs, URLs, synthetic://street?seed=1&frames=100."),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="What to ask of each frame, such as depth or semantic:car,road; repeat for several."
        ),
    ] = None,
    config: ConfigFile = None,
    output: Out = None,
    model: OtherModel = None,
    model_option: ModelOptions = None,
    executor: Annotated[ExecutorName | None, typer.Option(help="Where workers live.")] = None,
    address: Annotated[
        str | None, typer.Option(help="Of a running Ray cluster; implies --executor ray.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Look at no more than this many frames per second.")
    ] = None,
    max_frames: Annotated[int | None, typer.Option(help="Stop each stream after this many frames.")] = None,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Also write an annotated video of each stream.")
    ] = False,
    no_resume: Annotated[
        bool, typer.Option("--no-resume", help="Replace what an earlier run stored.")
    ] = False,
    replace: Replace = False,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="PORT", help="Give figures to Prometheus here; HOST:PORT for other machines."),
    ] = None,
    control: Annotated[
        Path | None,
        typer.Option(
            help="Socket for 'plantain streams'; the job then goes on until it is stopped. "
            "Jobs with cameras have one in their output folder."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    r"""Run tasks over video and store the answers as Parquet.

    Tasks are semantic:car,person,road, instances:car, refer:the red car, depth, normals, detect:car,person,
    ask:how many cars are waiting? and prompt\[codec=depth]:any words.
    """
    from plantain.pipeline.config import check, plain

    settings = plain(config) if config is not None else {}
    if sources:
        settings["streams"] = [{"url": source} for source in sources]
    if task:
        settings["prompts"] = list(task)
    put(settings, "output", out=output, replace=replace or None)
    put(settings, "model", name=model)
    if of_model := options_of(model_option):
        put(settings, "model", options=(settings.get("model") or {}).get("options", {}))
        put(settings["model"], "options", **of_model)
    if executor is not None or address is not None:
        settings["executor"] = str(executor or ExecutorName.RAY)
    put(settings, "ray", address=address)
    if control is not None:
        settings.setdefault("streams", [])
    elif not settings.get("streams"):
        raise UsageError("name at least one file, folder or URL, or a --config that does")
    for k in range(len(settings["streams"]) if isinstance(settings["streams"], list) else 0):
        put(settings["streams"], k, fps=fps, max_frames=max_frames)
    checked = check(settings, str(config or "command line"), may_be_idle=control is not None)
    if overlay and "overlay" not in checked.output.sinks:
        put(settings, "output", sinks=[*checked.output.sinks, "overlay"])
        checked = check(settings, may_be_idle=control is not None)
    _run_and_exit(checked, resume=not no_resume, metrics=metrics, socket=control, as_json=as_json)


@app.command()
def validate(config: Annotated[Path, typer.Argument(help="YAML file.")]) -> None:
    """Check a configuration: every mistake at once, each with its path."""
    from plantain.pipeline.checking import check_run
    from plantain.pipeline.config import load

    checked = load(config)
    check_run(checked)
    out.print(f"{config} is fine: {len(checked.specs())} streams", soft_wrap=True)


@app.command()
def describe(config: Annotated[Path, typer.Argument(help="YAML file.")]) -> None:
    """Show what a configuration would run: streams, prompts and stages."""
    from plantain.pipeline.config import load
    from plantain.pipeline.video import build_graph, canvas_of

    checked = load(config)
    graph = build_graph(checked)
    for name, model in checked.pools.items():
        canvas = canvas_of(model)
        what = f"{model.name} on a canvas of {canvas.model_hw[1]} x {canvas.model_hw[0]} ({canvas.fit})"
        out.print(f"model {what}" if len(checked.pools) == 1 else f"{name}: model {what}", markup=False)
    for stream in checked.named():
        asked_of = dict(checked.pools_of(stream))
        out.print(f"\n{stream.id}: {shown(stream.url)}", soft_wrap=True, markup=False)
        for prompt in stream.prompts or checked.prompts:
            of = f"  (asked of {asked_of[str(prompt)]})" if str(prompt) in asked_of else ""
            out.print(f"    {prompt}{of}", soft_wrap=True, markup=False)
    out.print(f"\n{graph.describe()}", soft_wrap=True, markup=False)
    out.print(f"results to {shown(checked.output.out)} ({', '.join(checked.output.sinks)})", soft_wrap=True)


app.command()(annotate)
app.command()(demo)
app.command()(report)
app.command()(serve)
app.command("eval")(evaluate)
app.command()(tidy)
app.command()(train)
app.add_typer(models, name="models")
app.add_typer(streams, name="streams")


def _run_and_exit(
    config: PipelineConfig, *, resume: bool, metrics: str | None, socket: Path | None, as_json: bool
) -> None:
    """Runs, says how it went, and leaves with the right exit code."""
    from plantain.deploy.cli.progress import followed

    what = ", ".join(model.name for model in config.pools.values())
    with followed(f"model {what}", config.output.out) as show, ExitStack() as stack:
        from plantain.deploy.job import named_as_before, run_job
        from plantain.deploy.job_socket import socket_of
        from plantain.deploy.metrics import watching
        from plantain.operators.sources import is_live
        from plantain.pipeline.checking import check_run
        from plantain.pipeline.control import Control

        config = named_as_before(config)
        check_run(config)
        has_cameras = any(is_live(spec) for spec, _ in config.specs())
        control = None
        if socket is not None:
            control = Control(config)
        elif (has_cameras or config.watched) and "://" not in config.output.out:
            control = Control(config, is_lasting=bool(config.watched))
            socket = socket_of(config.output.out)
        publish = stack.enter_context(watching(config, metrics, control))

        def on_progress(engine: Engine) -> None:
            show(engine)
            publish(engine)

        with redirect_stdout(sys.stderr):  # where Ray, too, tells what it sees: stdout is for the result
            outcome = run_job(config, resume=resume, on_progress=on_progress, control=control, socket=socket)
    tell(_told(config, outcome, as_json=as_json))
    raise typer.Exit(outcome.exit_code)


def _told(config: PipelineConfig, outcome: Outcome, *, as_json: bool) -> str:
    """What a run came to, in a line for people or as JSON."""
    from plantain.deploy.cli.progress import summary

    if as_json:
        report: dict[str, Any] = {
            "out": shown(config.output.out),
            "wall_s": round(outcome.wall_s, 3),
            "streams": [summary(stream) for stream in outcome.streams],
        }
        if outcome.num_removed:
            report["removed"] = {"streams": outcome.num_removed} | asdict(outcome.removed)
        return json.dumps(report)
    failed = outcome.failed
    kept = sum(stream.account.results for stream in failed)
    frames = outcome.removed.results + sum(stream.account.results for stream in outcome.streams) - kept
    count = outcome.num_removed + len(outcome.streams) - len(failed)
    took = f"in {outcome.wall_s:.1f} s"
    if count:
        told = [f"{_counted(frames, 'frame')} of {_counted(count, 'stream')} answered {took}"]
    else:
        told = [f"no stream was read to its end {took}" if kept else f"no frame was answered {took}"]
    if failed:
        told.append(f"{_counted(len(failed), 'stream')} failed")
        told[-1] += f", after {_counted(kept, 'frame')}" if kept else ""
    return "; ".join([*told, *([f"results in {shown(config.output.out)}"] if count or kept else [])])


def _counted(count: int, what: str) -> str:
    """A number of things, in words."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def main() -> None:
    """Entry point of the console script."""
    # A shell without job control lets background processes ignore SIGINT, but who sends it to ours means it: a run
    # and a service drain at it however they were started, and until they do it ends the process.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    standard.secure()
    if sys.argv[1:2] != ["models"]:  # a list that logs nothing, and takes half the time without
        from plantain.deploy import logs

        logs.configure()
    # Classes of the user's are found where the command is typed, behind everything that is installed.
    with suppress(OSError):  # a folder that is no longer there
        sys.path.append(str(Path.cwd()))
    try:
        app()
    except PlantainError as error:  # before the first frame: nothing has been done that could be kept
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    except OSError as error:  # a folder that cannot be written to, a disk that is full
        sys.stderr.write(f"{shown(str(error.filename or sys.argv[1]))}: {error.strerror or error}\n")
        sys.exit(2)
