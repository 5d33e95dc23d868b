"""Where results go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from plantain.operators.redaction import shown
from plantain.pipeline.config.amounts import Age, Share, Size, age_of, share_of, size_of
from plantain.pipeline.config.kafka import KafkaConfig
from plantain.pipeline.config.section import Section

# Object stores and file systems that pyarrow opens.
_STORES = ("file", "s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs", "hf", "mock")


def _on_a_disk(folder: str) -> str:
    scheme, is_url, path = folder.partition("://")
    if is_url and scheme != "file":
        raise ValueError(f"name a folder on a local disk, not {shown(folder)}")
    return path if is_url else folder


class SpoolConfig(Section):
    """Where results wait on disk for brokers that are away."""

    folder: Annotated[str, AfterValidator(_on_a_disk)] | None = Field(
        default=None,
        description="On a local disk; `OUT/.plantain/spool` if left out. Without one, as where `out` is an object "
        "store, brokers that are away hold up the writer.",
    )
    size: Size = Field(
        default="2GB",
        description="What waits there at most, for each writer, compressed; `0B` for no spool. When it is full, files "
        "wait, and what more comes of cameras is lost to Kafka alone, which is said and counted.",
    )


class KeepConfig(Section):
    """What is kept how long since it was written: minutes, hours or days; what is left out, for ever.

    The oldest goes first, never the day that is being written (UTC), and each deletion is said.
    """

    rows: Age | None = Field(default=None, description="Rows of all tables, so long (`90m`, `12h`, `400d`).")
    rasters: Age | None = Field(default=None, description="Dense maps in rows that stay, so long.")
    pictures: Age | None = Field(
        default=None, description="Annotated videos and pictures of events, so long."
    )
    disk: Share | None = Field(
        default=None,
        description="Share of the disk that may be used, by whomever, such as `80%`: beyond, the oldest days go. Of "
        "local disks.",
    )

    def spans(self) -> dict[str, float | None]:
        """As `Keep` has them."""
        ages = {"rows_s": self.rows, "rasters_s": self.rasters, "pictures_s": self.pictures}
        share = None if self.disk is None else share_of(self.disk)
        return {**{name: None if age is None else age_of(age) for name, age in ages.items()}, "disk": share}


class OutputConfig(Section):
    """Where results go."""

    out: str = Field(
        default="out",
        min_length=1,
        description="Folder or object-store URL (s3://, gs://, abfs://) of the Parquet tables.",
    )
    sinks: tuple[str, ...] = Field(
        default=("parquet",),
        min_length=1,
        description="`parquet`, `kafka`, `memory`, `overlay`, or module:Class.",
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
    tidy: bool = Field(
        default=True,
        description="Put the many small parts of a day together when it is over, and delete what `keep` names, beside "
        "the run.",
    )
    keep: KeepConfig = Field(
        default=KeepConfig(), description="What is kept how long; everything if left out."
    )
    spool: SpoolConfig = Field(
        default=SpoolConfig(), description="Where results wait on disk for brokers that are away."
    )
    kafka: KafkaConfig = Field(default=KafkaConfig(), description="The sink `kafka`.")

    def spool_options(self) -> dict[str, Any]:
        """The spool as a sink takes it."""
        folder = self.spool.folder
        if folder is None and self._is_local:
            folder = str(Path(self.out.removeprefix("file://")) / ".plantain" / "spool")
        size = size_of(self.spool.size)
        return {"spool": folder if size else None, "spool_bytes": size}

    @property
    def _is_local(self) -> bool:
        return "://" not in self.out or self.out.startswith("file://")

    @model_validator(mode="after")
    def _check(self) -> OutputConfig:
        scheme, is_url, _ = self.out.partition("://")
        if is_url and scheme not in _STORES:
            raise ValueError(
                f"out: nothing is stored at {shown(self.out)}: name a folder, or s3://, gs:// or abfs://"
            )
        if self.keep.disk is not None and not self._is_local:
            raise ValueError(
                f"keep.disk counts on local disks, and {shown(self.out)} is none: name ages (keep.rows) instead"
            )
        if "overlay" in self.sinks and not self._is_local:
            raise ValueError(
                f"overlay videos need a local folder, not {shown(self.out)}: leave the sink overlay out, or name "
                "another out"
            )
        if (
            "kafka" in self.sinks
            and self.kafka.rasters == "refer"
            and not ("parquet" in self.sinks and self.rasters)
        ):
            raise ValueError("kafka.rasters 'refer' needs the sink parquet, with rasters")
        if len({*self.sinks}) < len(self.sinks):
            raise ValueError("sinks: one is named twice")
        return self
