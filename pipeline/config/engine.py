"""How the engine reads, batches and gives way under load, and where its workers live."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from plantain.operators.redaction import redact
from plantain.pipeline.config.section import Section

_CLUSTER = re.compile(r"(?:ray://)?\[?([^\[\]/?\s]+?)\]?:(\d{1,5})(?:\?.*)?")


def cluster_at(address: str) -> tuple[str, int] | None:
    """Host and port of a Ray cluster; None for `auto`, the one that this machine knows.

    Raises:
        ValueError: If it is no such address.
    """
    if address == "auto":
        return None
    place = _CLUSTER.fullmatch(address)
    if place is None or not 0 < int(place[2]) < 1 << 16:
        raise ValueError(
            f"'{redact(address)}' is no address of a Ray cluster: give HOST:PORT, ray://HOST:PORT or auto"
        )
    return place[1], int(place[2])


def _cluster(address: str) -> str:
    cluster_at(address)
    return address


class ReadConfig(Section):
    """Decoding."""

    workers: int | None = Field(
        default=None, ge=1, description="Readers; one per CPU core, at most one per stream, if left out."
    )
    chunk_frames: int = Field(default=8, ge=1, description="Frames that a reader delivers at a time.")
    max_frames_in_flight: int = Field(
        default=256, ge=8, description="Frames between decoder and sink; bounds memory."
    )

    @model_validator(mode="after")
    def _fits(self) -> ReadConfig:
        if self.chunk_frames > self.max_frames_in_flight:
            raise ValueError(f"chunk_frames is at most max_frames_in_flight, {self.max_frames_in_flight}")
        return self


class BatchConfig(Section):
    """When waiting frames become a batch."""

    max_items: int | None = Field(
        default=None,
        ge=1,
        description="Frames in a batch; left out, 8, or 4 where each core has a copy of the embedded model.",
    )
    max_drawings: int = Field(default=64, ge=1, description="Drawings (frames x prompts) in a batch.")
    max_wait_ms: float = Field(
        default=50.0, ge=0, description="A frame waits no longer than this for company, milliseconds."
    )


class OverloadConfig(Section):
    """What live streams give up when frames come faster than they are answered, and when they get it back."""

    ladder: tuple[Literal["frames", "size", "tasks"], ...] = Field(
        default=("frames", "size", "tasks"),
        description="In this order: half the `frames`, half the width and height (`size`), half the prompts "
        "(`tasks`; the last ones go).",
    )
    max_age_s: float = Field(
        default=2.0,
        gt=0,
        description="Overload is when a result comes so long after its frame, or a tenth of the frames is lost.",
    )
    window_s: float = Field(default=3.0, gt=0, description="Looked at so often; one step a time.")
    recover_s: float = Field(
        default=15.0, gt=0, description="Calm for so long, a stream takes one step back."
    )


class RayConfig(Section):
    """The cluster."""

    address: Annotated[str, AfterValidator(_cluster)] | None = Field(
        default=None, description="Of a running cluster; a local Ray is started if left out."
    )
    stages: Literal["actors", "threads"] | None = Field(
        default=None,
        description="Where a service's stages work: in actors all over the cluster, or in threads of the engine's "
        "actor, which is faster on one machine; threads if left out, Ray is started for the service alone and the "
        "model needs no more than one GPU.",
    )
