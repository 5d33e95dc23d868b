"""What a run would find wrong with a configuration, found before anything is opened or loaded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from plantain.operators.analytics import check_analytic
from plantain.operators.errors import UsageError
from plantain.operators.models import check_model
from plantain.operators.sinks import check_sink
from plantain.operators.sources import check_source
from plantain.operators.streams import StreamSpec
from plantain.pipeline.config import PipelineConfig, StreamConfig
from plantain.pipeline.video import build_graph


def check_run(config: PipelineConfig) -> None:
    """Looks at every name and option of sinks, sources, models and analytics.

    Raises:
        UsageError: With every mistake, one a line.
    """
    checks: list[Callable[[], None]] = [partial(check_sink, name) for name in config.output.sinks]
    checks += [partial(check_source, spec) for spec, _ in config.specs()]
    checks += [partial(check_source, _of_a_recording(stream)) for stream in config.watched]
    checks += [partial(check_model, model.name, model.options) for model in config.pools.values()]
    checks += [partial(check_analytic, each.name, each.options) for each in config.analytics]
    checks.append(partial(_build, config))
    mistakes = []
    for each in checks:
        try:
            each()
        except UsageError as error:
            mistakes.append(str(error))
    if mistakes:
        raise UsageError("\n".join(dict.fromkeys(mistakes)))


def _of_a_recording(stream: StreamConfig) -> StreamSpec:
    """What the recordings of a watched folder will be."""
    return stream.model_copy(update={"url": f"{stream.url}/recording.mp4"}).spec()


def _build(config: PipelineConfig) -> None:
    build_graph(config)
