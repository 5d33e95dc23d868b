"""Streaming video analytics on generalist models: prompts in, drawings decoded, typed rows out. On Ray.

What users need, by one import; each name is loaded when it is first used, so that `import plantain` costs nothing:

    import plantain

    config = plantain.check({"streams": [{"url": "street.mp4"}], "prompts": ["depth"], "output": {"out": "out"}})
    plantain.run(config)
    cars = plantain.read_objects("out", ["label", "time_s", "distance_m"])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plantain.deploy.client import AsyncClient, Client
    from plantain.deploy.job import run_job as run
    from plantain.operators.analytics.base import Analytic
    from plantain.operators.answers.boxes.value import Boxes
    from plantain.operators.answers.depth.value import DepthMap
    from plantain.operators.answers.image.value import Image
    from plantain.operators.answers.masks.value import Masks
    from plantain.operators.answers.normals.value import NormalMap
    from plantain.operators.answers.text.value import Text
    from plantain.operators.errors import PlantainError
    from plantain.operators.models.base import Answer, Answering, ModelBackend, ModelSpec
    from plantain.operators.prompts import Prompt
    from plantain.operators.sinks.base import Sink
    from plantain.operators.sinks.parquet.reading import read_events, read_frames, read_objects, read_results
    from plantain.operators.sources.base import Source
    from plantain.operators.sources.live.pictures import PictureSource
    from plantain.operators.types import Event, Failure, Frame
    from plantain.pipeline.config import PipelineConfig, check, load
    from plantain.pipeline.control import Control

__all__ = [
    "Analytic", "Answer", "Answering", "AsyncClient", "Boxes", "Client", "Control", "DepthMap", "Event",
    "Failure", "Frame", "Image", "Masks", "ModelBackend", "ModelSpec", "NormalMap", "PictureSource",
    "PipelineConfig", "PlantainError", "Prompt", "Sink", "Source", "Text", "check", "load", "read_events",
    "read_frames", "read_objects", "read_results", "run",
]  # fmt: skip

_WHERE = {
    "Analytic": "operators.analytics.base",
    "Answer": "operators.models.base",
    "Answering": "operators.models.base",
    "AsyncClient": "deploy.client",
    "Boxes": "operators.answers.boxes.value",
    "Client": "deploy.client",
    "Control": "pipeline.control",
    "DepthMap": "operators.answers.depth.value",
    "Event": "operators.types",
    "Failure": "operators.types",
    "Frame": "operators.types",
    "Image": "operators.answers.image.value",
    "Masks": "operators.answers.masks.value",
    "ModelBackend": "operators.models.base",
    "ModelSpec": "operators.models.base",
    "NormalMap": "operators.answers.normals.value",
    "PictureSource": "operators.sources.live.pictures",
    "PipelineConfig": "pipeline.config",
    "PlantainError": "operators.errors",
    "Prompt": "operators.prompts",
    "Sink": "operators.sinks.base",
    "Source": "operators.sources.base",
    "Text": "operators.answers.text.value",
    "check": "pipeline.config",
    "load": "pipeline.config",
    "read_events": "operators.sinks.parquet.reading",
    "read_frames": "operators.sinks.parquet.reading",
    "read_objects": "operators.sinks.parquet.reading",
    "read_results": "operators.sinks.parquet.reading",
    "run": "deploy.job:run_job",
}


def __getattr__(name: str) -> object:
    """A name of the table, from its module."""
    if name not in _WHERE:
        raise AttributeError(f"module 'plantain' has no attribute '{name}'")
    module, _, called = _WHERE[name].partition(":")
    return getattr(importlib.import_module(f"plantain.{module}"), called or name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
