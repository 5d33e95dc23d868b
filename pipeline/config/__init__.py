"""The YAML file as checked, frozen sections; nothing else in Plantain reads YAML.

Every mistake is reported at once, each with its path and what to do (`load`).
"""

from plantain.pipeline.config.file import check, load, plain
from plantain.pipeline.config.pipeline import PipelineConfig
from plantain.pipeline.config.serve import ServeConfig
from plantain.pipeline.config.stream import StreamConfig, stream_of

__all__ = ["PipelineConfig", "ServeConfig", "StreamConfig", "check", "load", "plain", "stream_of"]
