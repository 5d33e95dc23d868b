"""A configured run from beginning to end: the few lines that the command line, the demo and Python users share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from plantain.deploy import standard
from plantain.deploy.folder_lock import locked
from plantain.deploy.tracing import traced
from plantain.operators.errors import SinkError, UsageError
from plantain.operators.sinks.store import Store
from plantain.operators.sources import is_live
from plantain.pipeline.checkpoint import Checkpoints
from plantain.pipeline.config import PipelineConfig
from plantain.pipeline.control import Control
from plantain.pipeline.deletions import Deletions
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.executor import Executor, InlineExecutor, ThreadExecutor
from plantain.pipeline.intake import taking_up
from plantain.pipeline.runner import Outcome, run
from plantain.pipeline.tidying import tidying_beside
from plantain.pipeline.video import build_graph, locations_of, pinned, run_of, sinks_of, starts_of


def run_job(
    config: PipelineConfig,
    *,
    resume: bool = True,
    on_progress: Callable[[Engine], None] | None = None,
    control: Control | None = None,
    executor: Executor | None = None,
    socket: Path | None = None,
) -> Outcome:
    """Runs a configuration; killed at any moment and called again, it goes on where it was.

    Args:
        config: What to run.
        resume: False to replace what an earlier run stored.
        on_progress: Called now and then with the engine.
        control: Through which streams are managed meanwhile; the job then goes on until it is stopped.
        executor: Where workers live, instead of what the configuration names.
        socket: Where others reach the control from outside.

    Raises:
        UsageError: If the configuration cannot work, or the output folder holds something else, or another job writes
            to it.
        PlantainError: If a worker cannot be made.
    """
    standard.ensure_temporary(config.output.out)
    config = named_as_before(config)
    if config.watched and control is None:
        control = Control(config)
    if config.executor != "ray":
        standard.ensure_descriptors(sum(is_live(stream.spec()) for stream in config.named()))
    graph = traced(build_graph(config, is_managed=control is not None))
    with ExitStack() as holds:
        try:
            holds.enter_context(locked(config.output.out))
            checkpoints = _begin(config, control, resume=resume)
            deletions = Deletions(Store(config.output.out))
        except SinkError as error:
            raise UsageError(str(error)) from error
        if control is not None and socket is not None:
            from plantain.deploy.job_socket import listening

            holds.enter_context(listening(control, socket))
        if config.watched and control is not None:
            holds.enter_context(
                taking_up(config.watched, control, checkpoints, replaces=config.output.replace)
            )
        if config.output.tidy and {"parquet", "overlay"} & {*config.output.sinks}:
            holds.enter_context(tidying_beside(config.output, checkpoints, deletions))
        return run(
            graph,
            executor or make_executor(config),
            starts_of(config, checkpoints),
            checkpoints=checkpoints,
            control=control,
            on_progress=on_progress,
            stop_timeout_s=config.stop_timeout_s,
            deletions=deletions,
        )


def named_as_before(config: PipelineConfig) -> PipelineConfig:
    """The configuration with its streams under the names that they have in its output folder, if it holds results.

    Raises:
        UsageError: If a folder of videos holds none, or the output folder cannot be read.
    """
    try:
        return pinned(config, Checkpoints(Store(config.output.out)))
    except SinkError as error:
        raise UsageError(str(error)) from error


def _begin(config: PipelineConfig, control: Control | None, *, resume: bool) -> Checkpoints:
    """The checkpoints of the output folder, which is found to fit."""
    checkpoints = Checkpoints(Store(config.output.out))
    if not resume:
        _forget({*checkpoints.streams()} - {str(stream.id) for stream in config.named()}, config)
    made_of, locations = run_of(config), locations_of(config)
    may_differ = False
    if control is not None and control.is_lasting:
        made_of["streams"], locations = {}, {}  # they come, go and change while it runs
        # Other weights or prompts are no reason to leave cameras unwatched: each begins a new epoch anyway.
        files = [str(stream.id) for stream in config.named() if not is_live(stream.spec())]
        may_differ = all(checkpoints.load(name) is None for name in files)
    checkpoints.begin(made_of, resume=resume, may_differ=may_differ, locations=locations)
    return checkpoints


def _forget(stream_ids: set[str], config: PipelineConfig) -> None:
    """Removes what an earlier run stored of streams that this one does not have."""
    if not stream_ids:
        return
    for sink in sinks_of(config):
        for stream_id in sorted(stream_ids):
            sink.begin(stream_id, is_resumed=False)
        sink.close()


def make_executor(config: PipelineConfig, niceness: int = 0) -> Executor:
    """The executor that the configuration names; Ray is imported only for `ray`.

    Args:
        config: What is to run.
        niceness: Of its threads, if it has any.
    """
    match config.executor:
        case "inline":
            return InlineExecutor()
        case "threads":
            return ThreadExecutor(niceness)
        case "ray":
            from plantain.deploy.ray.executor import RayExecutor

            return RayExecutor(config.ray.address)
