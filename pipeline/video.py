"""The pipeline: what a newcomer opens first.

    source -> decode -> plan(frame x prompts) -> [batch across streams AND tasks] -> model -> RGB decode
           -> reorder per stream -> track -> analyse -> sinks

Four stages, so four process boundaries: reading is tied to a camera and a CPU core; the model wants full batches
and a GPU; tracking needs one stream's results in order; sinks want large writes. Inside a stage, plain Python.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from plantain.operators.analytics.distance import Analyse
from plantain.operators.analytics.track import Track
from plantain.operators.cores import num_cores
from plantain.operators.errors import redact
from plantain.operators.infer import Infer, WarmUp
from plantain.operators.models import load_model, spec_of
from plantain.operators.models.base import Answering
from plantain.operators.plan import Plan
from plantain.operators.prompts import Prompt
from plantain.operators.read import Read
from plantain.operators.sinks import make_sink
from plantain.operators.sinks.base import Sink
from plantain.operators.sources import is_live, source_for
from plantain.operators.streams import Sampling, Start, View
from plantain.operators.types import Durable, Position
from plantain.operators.write import Write
from plantain.pipeline.checkpoint import Checkpoints
from plantain.pipeline.config import PipelineConfig, StreamConfig
from plantain.pipeline.copies import copies_of
from plantain.pipeline.graph import Batch, Chain, Graph, Kind, Stage
from plantain.pipeline.overload import Overload

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
    model, output = config.model, config.output
    view = view_of(config)
    sinks = make_sinks or (lambda: sinks_of(config))
    specs = config.specs()
    for spec, _ in specs:
        source_for(spec)
    cores = num_cores()
    readers = config.read.workers or max(1, cores if is_managed else min(len(specs), cores))

    def load(options: Mapping[str, Any] | None) -> Answering:
        return load_model(model.name, model.options if options is None else options)

    run_id = run_id_of(config)
    backend = spec_of(model.name)
    kinds = {(prompt.task, prompt.codec): prompt for _, prompts in specs for prompt in prompts}
    copies = copies_of(config)
    sizes = tuple(size for size in WARM_UP_SIZES if size <= copies.max_items)
    tried = tuple(kinds.values()) or WARM_UP_PROMPTS
    warm_up = WarmUp(view.model_hw, tried, sizes) if backend.warms_up else None
    per_stream = Batch(max_items=32, max_wait_s=0.1)
    graph = Graph(
        (
            Stage(
                "read",
                Kind.SOURCE,
                lambda: Chain(Read(view, decoder_threads=max(1, cores // readers)), Plan()),
                workers=readers,
            ),
            Stage(
                "infer",
                Kind.PARALLEL,
                lambda: Infer(load(None), load, warm_up, is_paid=backend.is_paid),
                batch=Batch(copies.max_items, config.batch.max_drawings, config.batch.max_wait_ms / 1e3),
                workers=copies.most,
                least=copies.least,
                cpus=copies.cpus,
                gpus=model.gpus,
                calls_in_flight=copies.calls_in_flight,
            ),
            Stage(
                "analyse",
                Kind.STREAM,
                lambda: Chain(Track(output.segment_frames, is_on=config.track), Analyse()),
                batch=per_stream,
            ),
            Stage(
                "write",
                Kind.STREAM,
                lambda: Write(sinks(), output.segment_frames, run_id),
                batch=per_stream,
                workers=output.workers,
            ),
        ),
        read_frames=config.read.chunk_frames,
        max_frames_in_flight=config.read.max_frames_in_flight,
        overload=overload_of(config),
    )
    graph.validate()
    return graph


def overload_of(config: PipelineConfig) -> Overload:
    """What live streams give up, and when."""
    return Overload(**config.overload.model_dump())


def view_of(config: PipelineConfig) -> View:
    """What a frame must look like for this run."""
    canvas = config.model.canvas
    picture = PICTURE_LONG_SIDE if "overlay" in config.output.sinks else None
    if canvas is None:
        return View(spec_of(config.model.name).model_hw, picture_long_side=picture)
    return View((canvas.height, canvas.width), canvas.fit, picture)


def run_of(config: PipelineConfig) -> dict[str, Any]:
    """What decides the rows of a run; a run may be resumed by one that has the same."""
    view, output = view_of(config), config.output
    return {
        "model": config.model.name,
        "model_options": _digest(config.model.options),
        "canvas": [view.model_hw[1], view.model_hw[0], view.fit],
        "segment_frames": output.segment_frames,
        "sinks": [f"kafka:{output.kafka.topic_prefix}" if name == "kafka" else name for name in output.sinks],
        "rasters": output.rasters,
        "track": config.track,
        "prompts": [str(prompt) for prompt in config.prompts],
        **({"cadences": str(config.cadences)} if config.cadences else {}),
        "streams": {str(stream.id): made_of(config, stream) for stream in config.named()},
    }


def made_of(config: PipelineConfig, stream: StreamConfig) -> list[Any]:
    """What decides the rows of one stream."""
    spec = stream.spec()
    return [
        redact(spec.url),
        [str(prompt) for prompt in stream.prompts or config.prompts],
        str(spec.sampling),
        _digest(spec.options),
        *([str(stream.cadences)] if stream.cadences else []),
    ]


def run_id_of(config: PipelineConfig) -> str:
    """The run's name in every row: equal for a run and the one that resumes it, with more streams or fewer."""
    return _digest({key: value for key, value in run_of(config).items() if key != "streams"})


def _digest(value: Any) -> str:
    """Equal for equal values, and no way back to them: options may hold keys and passwords."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()


def starts_of(config: PipelineConfig, checkpoints: Checkpoints | None) -> list[Start]:
    """The streams, each where it is durable."""
    return [start_of(config, stream, checkpoints) for stream in config.named()]


def start_of(config: PipelineConfig, stream: StreamConfig, checkpoints: Checkpoints | None) -> Start:
    """A stream with a name, where it is durable.

    Raises:
        UsageError: If no source reads it.
    """
    spec = stream.spec()
    live = is_live(spec)
    prompts = stream.prompts or config.prompts
    own = {**({} if stream.prompts else config.cadences), **stream.cadences}
    cadences = tuple(
        (text, Sampling(own[text].fps, own[text].every)) for text in map(str, prompts) if text in own
    )
    start = replace(Start.fresh(spec, prompts, is_live=live), cadences=cadences)
    durable = checkpoints.load(spec.stream_id) if checkpoints is not None else None
    if durable is None:
        return start
    if live:  # a camera has no past to go back to: it begins a new epoch
        durable = Durable(spec.stream_id, durable.epoch + 1, Position())
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
            metadata = {"plantain.model": config.model.name, "plantain.run": json.dumps(run_of(config))}
            return {"url": output.out, "metadata": metadata, "rasters": output.rasters}
        case "overlay":
            return {"root": output.out}
        case "kafka":
            return {"url": output.out, "run_id": run_id_of(config), **output.kafka.options()}
        case _:
            return {"url": output.out, "run_id": run_id_of(config)}
