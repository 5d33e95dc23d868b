"""A model: which backend answers, in how many copies, what it sees, and how it gives way under load."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from plantain.pipeline.config.engine import BatchConfig, OverloadConfig
from plantain.pipeline.config.section import Section


class CanvasConfig(Section):
    """The picture that the model sees."""

    width: int = Field(ge=16, le=4096, description="Pixels.")
    height: int = Field(ge=16, le=4096, description="Pixels.")
    fit: Literal["letterbox", "stretch"] = Field(
        default="letterbox", description="Keep the aspect ratio (`letterbox`), or fill (`stretch`)."
    )


class ReplicasConfig(Section):
    """How many copies of the model there are; between the bounds by how long frames wait for them."""

    min: int = Field(default=1, ge=1, description="Copies that are always there.")
    max: int = Field(
        default=1,
        ge=1,
        description="Copies that there may be: further ones come when frames wait for them, and go when they are idle.",
    )

    @model_validator(mode="after")
    def _check(self) -> ReplicasConfig:
        if self.max < self.min:
            raise ValueError(f"max is {self.max}, and must not be below min, which is {self.min}")
        return self


def _replicas(written: object) -> object:
    """A number is short for as many, always."""
    if isinstance(written, bool) or not isinstance(written, int):
        return written
    if written < 1:
        raise ValueError(f"{written} is too few: at least 1")
    return {"min": written, "max": written}


class ModelConfig(Section):
    """A pool of copies of one model."""

    name: str = Field(
        default="embedded", description="One of those that `plantain models` lists, or module:Class."
    )
    options: dict[str, Any] = Field(default={}, description="Passed to the backend.")
    replicas: Annotated[ReplicasConfig | None, BeforeValidator(_replicas)] = Field(
        default=None,
        description="Copies of the model, which draw at the same time: a number, or min and max. Left out, one; of the "
        "embedded model on the CPU, where the stages are threads, one for each core, up to 8, that share the weights.",
    )
    cpus: float | None = Field(
        default=None,
        gt=0,
        description="CPU cores that one copy may use, or the copies for each core together; all if left out.",
    )
    gpus: float = Field(default=0.0, ge=0, description="GPUs that one copy needs.")
    canvas: CanvasConfig | None = Field(
        default=None, description="What the model sees; its own favourite if left out."
    )
    batch: BatchConfig | None = Field(
        default=None,
        description="When waiting frames become a batch for it; as `batch` at the top if left out.",
    )
    overload: OverloadConfig | None = Field(
        default=None, description="What live streams give up for it; as `overload` at the top if left out."
    )
