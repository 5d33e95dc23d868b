"""The pipeline: what a newcomer opens first.

    source -> decode -> plan(frame x prompts, per pool)
           -> [pool: batch across streams AND tasks -> model -> answers] x any number
           -> in order per stream -> analyse -> sinks

Reading is tied to a camera and a CPU core; models want full batches and a GPU; what follows a stream needs its results
in order; sinks want large writes: so each is a stage of its own. Inside a stage, plain Python.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from plantain.operators.analyse import Analyse, Make
from plantain.operators.analytics import check_analytic, make_analytic
from plantain.operators.cores import num_cores
from plantain.operators.errors import UsageError
from plantain.operators.infer import Infer, WarmUp
from plantain.operators.models import load_model, spec_of
from plantain.operators.models.base import Answering
from plantain.operators.plan import Plan, Target
from plantain.operators.prompts import Prompt, Task
from plantain.operators.read import Read
from plantain.operators.segments import Durable, Position
from plantain.operators.sinks import make_sink
from plantain.operators.sinks.base import Sink
from plantain.operators.sources import is_live, source_for
from plantain.operators.sources.identity import Identity
from plantain.operators.streams import Canvas, Sampling, Start, View
from plantain.operators.write import Write
from plantain.pipeline.checkpoint import Checkpoints
from plantain.pipeline.config import PipelineConfig, StreamConfig
from plantain.pipeline.config.engine import OverloadConfig
from plantain.pipeline.config.model import ModelConfig
from plantain.pipeline.config.stream import digest_of, location_of, mark_of
from plantain.pipeline.copies import copies_of
from plantain.pipeline.engine.overload import Overload
from plantain.pipeline.graph import Batch, Graph, Kind, Stage
from plantain.pipeline.inputs import ChangedInputError, resumed, told_of_all
from plantain.pipeline.reader import PlannedReader

# Sinks that keep nothing back.
PROMPT_SINKS = ("memory", "overlay", "parquet")
# The longer side of pictures that a sink wants to show; beyond it, drawing them costs more than the model.
PICTURE_LONG_SIDE = 1280
# What a model draws before it counts as there: batches of so many frames, and of these prompts where none are known.
WARM_UP_SIZES = (1, 2, 4, 8)
WARM_UP_PROMPTS = (Prompt.parse("depth"), Prompt.parse("semantic:car"))


def build_graph(
    config: PipelineConfig,
    *,
    make_sinks: Callable[[], Sequence[Sink]] | None = None,
    is_managed: bool = False,
) -> Graph:
    """The stages of a run; loads neither the model nor Ray.

    Args:
        config: What to run.
        make_sinks: Makes the sinks inside the writer; the configuration's if left out.
        is_managed: Streams may be added later, so that a reader is made for each core.

    Raises:
        UsageError: If the configuration names something that does not exist.
    """
    output, view = config.output, view_of(config)
    sinks = make_sinks or (lambda: sinks_of(config))
    streams = config.named()
    for stream in streams:
        source_for(stream.spec())
    for stream in (*streams, *config.watched):
        check_asked(config, stream)
    analytics = analytics_of(config)
    for analytic in config.analytics:
        check_analytic(analytic.name, analytic.options)
    cores = num_cores()
    readers = config.read.workers or max(1, cores if is_managed else min(len(streams), cores))
    targets, run_id = targets_of(config), run_id_of(config)
    per_stream = Batch(max_items=32, max_wait_s=0.1)
    graph = Graph(
        (
            Stage(
                "read",
                Kind.SOURCE,
                lambda: PlannedReader(Read(view, decoder_threads=max(1, cores // readers)), Plan(targets)),
                workers=readers,
            ),
            *(pool_of(config, name, model) for name, model in config.pools.items()),
            Stage("analyse", Kind.STREAM, lambda: Analyse(analytics), batch=per_stream),
            Stage(
                "write",
                Kind.STREAM,
                lambda: Write(sinks(), run_id),
                batch=per_stream,
                workers=output.workers,
                spools=not {*output.sinks} <= {*PROMPT_SINKS},
            ),
        ),
        read_frames=config.read.chunk_frames,
        max_frames_in_flight=config.read.max_frames_in_flight,
        overload=overload_of(config.overload),
        segment_frames=output.segment_frames,
        segment_s=output.segment_s,
        join_s=output.join_s,
    )
    graph.validate()
    return graph


def check_asked(config: PipelineConfig, stream: StreamConfig) -> None:
    """Refuses to ask a model for what it has no answer to, or for metres by a field of view that nobody tells.

    Args:
        config: What is run.
        stream: One of its streams, or a further one.

    Raises:
        UsageError: With what to tell.
    """
    first, asked_of = next(iter(config.pools)), dict(config.pools_of(stream))
    for prompt in stream.prompts or config.prompts:
        model = config.pools[asked_of.get(str(prompt), first)]
        spec = spec_of(model.name, model.options)
        if spec.tasks and prompt.task not in spec.tasks:
            raise UsageError(
                f"stream '{stream.id}': model {model.name} has no answer to '{prompt}': it answers "
                f"{', '.join(spec.tasks)}"
            )
        if prompt.task is Task.DEPTH and spec.needs_lens and stream.hfov_deg is None:
            raise UsageError(
                f"stream '{stream.id}': model {model.name} needs its field of view for '{prompt}': give the stream's "
                "hfov_deg, or the model's option assume_hfov (degrees)"
            )


def pool_of(config: PipelineConfig, name: str, model: ModelConfig) -> Stage:
    """The stage of a model.

    Args:
        config: What to run.
        name: Of the stage.
        model: Who answers there.
    """
    copies = copies_of(config, model)
    batch = model.batch or config.batch
    canvas = canvas_of(model)
    backend = spec_of(model.name, model.options)

    def load(options: Mapping[str, Any] | None) -> Answering:
        return load_model(model.name, model.options if options is None else options)

    first = next(iter(config.pools))
    streams = config.named()
    mine = {
        (prompt.task, prompt.codec): prompt
        for stream in streams
        for prompt in stream.prompts or config.prompts
        if dict(config.pools_of(stream)).get(str(prompt), first) == name
    }
    sizes = tuple(size for size in WARM_UP_SIZES if size <= copies.max_items)
    tried = tuple(mine.values()) or WARM_UP_PROMPTS
    # A file can wait for its first batch.
    is_awaited = not streams or any(is_live(stream.spec()) for stream in streams)
    warm_up = WarmUp(canvas.model_hw, tried, sizes) if backend.warms_up and is_awaited else None
    return Stage(
        name,
        Kind.STREAM if backend.keeps_streams else Kind.PARALLEL,
        lambda: Infer(load(None), load, warm_up, is_paid=backend.is_paid, stage=name),
        batch=Batch(copies.max_items, batch.max_drawings, batch.max_wait_ms / 1e3),
        workers=copies.most,
        least=None if backend.keeps_streams else copies.least,
        cpus=copies.cpus,
        gpus=model.gpus,
        calls_in_flight=copies.calls_in_flight,
        has_model=True,
        overload=None if model.overload is None else overload_of(model.overload),
    )


def analytics_of(config: PipelineConfig) -> list[tuple[str, Make]]:
    """The chain of analytics: who is who and how far away, then what the configuration names."""
    chain: list[tuple[str, dict[str, Any]]] = [("track", {})] if config.track else []
    chain += [("distance", {}), *((analytic.name, analytic.options) for analytic in config.analytics)]
    return [(name, partial(make_analytic, name, options)) for name, options in chain]


def overload_of(section: OverloadConfig) -> Overload:
    """What live streams give up, and when."""
    return Overload(**section.model_dump())


def canvas_of(model: ModelConfig) -> Canvas:
    """What a model sees."""
    if model.canvas is None:
        backend = spec_of(model.name, model.options)
        return Canvas(backend.model_hw, backend.fit)
    return Canvas((model.canvas.height, model.canvas.width), model.canvas.fit)


def view_of(config: PipelineConfig) -> View:
    """What a frame must look like for this run: on the canvas of the first model, and on those of the others."""
    first, *others = dict.fromkeys(map(canvas_of, config.pools.values()))
    picture = PICTURE_LONG_SIDE if "overlay" in config.output.sinks else None
    return View(first.model_hw, first.fit, picture, tuple(others))


def targets_of(config: PipelineConfig) -> tuple[Target, ...]:
    """The pools as the planning step knows them."""
    _, *others = dict.fromkeys(map(canvas_of, config.pools.values()))
    canvases = {name: canvas_of(model) for name, model in config.pools.items()}
    return tuple(
        Target(name, canvas, others.index(canvas) if canvas in others else None)
        for name, canvas in canvases.items()
    )


def run_of(config: PipelineConfig) -> dict[str, Any]:
    """What decides the rows of a run; a run may be resumed by one that has the same."""
    view, output = view_of(config), config.output
    model = next(iter(config.pools.values()))
    others = {name: _model_of(each) for name, each in config.models.items()}
    return {
        "model": model.name,
        "model_options": digest_of(model.options),
        "canvas": [view.model_hw[1], view.model_hw[0], view.fit],
        **({"models": others} if others else {}),
        "segment_frames": output.segment_frames,
        "sinks": [f"kafka:{output.kafka.topic_prefix}" if name == "kafka" else name for name in output.sinks],
        "rasters": output.rasters,
        "track": config.track,
        "analytics": [[analytic.name, digest_of(analytic.options)] for analytic in config.analytics],
        "prompts": [str(prompt) for prompt in config.prompts],
        **({"cadences": str(config.cadences)} if config.cadences else {}),
        **({"asked_of": config.asked_of} if config.asked_of else {}),
        "streams": {str(stream.id): made_of(config, stream) for stream in config.named()},
    }


def _model_of(model: ModelConfig) -> list[Any]:
    """What decides the answers of a model."""
    canvas = canvas_of(model)
    return [model.name, digest_of(model.options), [canvas.model_hw[1], canvas.model_hw[0], canvas.fit]]


def made_of(config: PipelineConfig, stream: StreamConfig) -> list[Any]:
    """What decides the rows of one stream."""
    spec = stream.spec()
    url, digest = mark_of(spec.url, spec.options)
    return [
        url,
        [str(prompt) for prompt in stream.prompts or config.prompts],
        str(spec.sampling),
        digest,
        *([str(stream.cadences)] if stream.cadences else []),
        *([stream.asked_of] if stream.asked_of else []),
    ]


def locations_of(config: PipelineConfig) -> dict[str, str]:
    """Where each stream is, by name, for when its path is spelled otherwise."""
    return {str(stream.id): location_of(stream.url, stream.options) for stream in config.named()}


def run_id_of(config: PipelineConfig) -> str:
    """The run's name in every row: equal for a run and the one that resumes it, with more streams or fewer."""
    return digest_of({key: value for key, value in run_of(config).items() if key != "streams"})


def pinned(config: PipelineConfig, checkpoints: Checkpoints) -> PipelineConfig:
    """The configuration with its streams under the names that they had in this output folder before.

    Names of files depend on what else there is; what has a name keeps it, whatever comes beside it.

    Raises:
        UsageError: See `PipelineConfig.named`.
    """
    known = {(made[0], made[3]): name for name, made in checkpoints.names().items()}
    located = {location: name for name, location in sorted(checkpoints.locations().items(), reverse=True)}
    return config.pinned(known, located)


def starts_of(config: PipelineConfig, checkpoints: Checkpoints | None) -> list[Start]:
    """The streams, each where it is durable.

    One whose file is another one than before is refused alone where others have something to do.

    Args:
        config: What is run.
        checkpoints: What is durable; None if nothing is.

    Raises:
        UsageError: If no source reads one, or there is nothing to do but what is refused.
    """
    starts: list[Start] = []
    refused: list[str] = []
    streams = config.named()
    told = {} if checkpoints is None else told_of_all(stream.spec() for stream in streams)
    for stream in streams:
        try:
            starts.append(start_of(config, stream, checkpoints, told))
        except ChangedInputError as error:
            refused.append(str(error))
            starts.append(replace(start_of(config, stream, None), refusal=str(error)))
    if refused and all(start.refusal or start.durable.is_complete for start in starts):
        raise UsageError("\n".join(refused))
    return starts


def start_of(
    config: PipelineConfig,
    stream: StreamConfig,
    checkpoints: Checkpoints | None,
    told: Mapping[str, Identity | None] | None = None,
) -> Start:
    """A stream with a name, where it is durable.

    Args:
        config: What is run.
        stream: The stream.
        checkpoints: What is durable; None if nothing is.
        told: See `resumed`.

    Raises:
        UsageError: If no source reads it.
        ChangedInputError: If its file is another one, and it is not to be done anew.
    """
    check_asked(config, stream)
    spec = stream.spec()
    live = is_live(spec)
    prompts = stream.prompts or config.prompts
    own = {**({} if stream.prompts else config.cadences), **stream.cadences}
    cadences = tuple(
        (text, Sampling(own[text].fps, own[text].every)) for text in map(str, prompts) if text in own
    )
    fresh = Start.fresh(spec, prompts, is_live=live)
    start = replace(fresh, cadences=cadences, pools=config.pools_of(stream))
    durable = None
    if checkpoints is not None:
        durable = resumed(spec, checkpoints, replace_changed=config.output.replace, told=told)
    if durable is None:
        return start
    if live:  # a camera has no past to go back to: it begins a new epoch, with what the analytics knew
        epoch, seen_ns = durable.epoch + 1, durable.seen_ns
        durable = Durable(spec.stream_id, epoch, Position(), durable.state, seen_ns=seen_ns)
    return replace(start, durable=durable)


def sinks_of(config: PipelineConfig) -> list[Sink]:
    """The configuration's sinks."""
    return [make_sink(name, _sink_options(name, config)) for name in config.output.sinks]


def _sink_options(name: str, config: PipelineConfig) -> dict[str, Any]:
    """What each sink is made from."""
    output = config.output
    match name:
        case "memory":
            return {}
        case "parquet":
            metadata = {
                "plantain.model": next(iter(config.pools.values())).name,
                "plantain.run": json.dumps(run_of(config)),
            }
            shares = not ("kafka" in output.sinks and output.kafka.rasters == "refer")
            return {"url": output.out, "metadata": metadata, "rasters": output.rasters, "shares": shares}
        case "overlay":
            return {"root": output.out}
        case "kafka":
            events = bool(config.analytics)
            return {
                "url": output.out,
                "run_id": run_id_of(config),
                "events": events,
                **output.spool_options(),
                **output.kafka.options(),
            }
        case _:
            return {"url": output.out, "run_id": run_id_of(config)}
