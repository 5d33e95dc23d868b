"""Where results go."""

from __future__ import annotations

from pydantic import Field, model_validator

from plantain.pipeline.config.kafka import KafkaConfig
from plantain.pipeline.config.section import Section


class OutputConfig(Section):
    """Where results go."""

    out: str = Field(
        default="out", description="Folder or object-store URL (s3://, gs://, abfs://) of the Parquet tables."
    )
    sinks: tuple[str, ...] = Field(
        default=("parquet",), description="`parquet`, `kafka`, `memory`, `overlay`, or module:Class."
    )
    segment_frames: int = Field(
        default=512,
        ge=1,
        description="Frames of a file, or at most so many results of a camera, that become visible together.",
    )
    segment_s: float = Field(
        default=10.0,
        gt=0,
        description="A camera's results become visible, and are kept, after so long at the latest.",
    )
    join_s: float = Field(
        default=1.0,
        ge=0,
        description="A camera's answers from several models that belong together (masks of one, their distance by the "
        "depth of another) wait no longer than this for each other, seconds.",
    )
    replace: bool = Field(
        default=False,
        description="A stream whose file is another one than when it was done is done anew, and not refused.",
    )
    rasters: bool = Field(default=True, description="Store the dense maps.")
    workers: int = Field(default=1, ge=1, description="Writers; a stream belongs to one.")
    kafka: KafkaConfig = Field(default=KafkaConfig(), description="The sink `kafka`.")

    @model_validator(mode="after")
    def _check(self) -> OutputConfig:
        if (
            "kafka" in self.sinks
            and self.kafka.rasters == "refer"
            and not ("parquet" in self.sinks and self.rasters)
        ):
            raise ValueError("kafka.rasters 'refer' needs the sink parquet, with rasters")
        return self
