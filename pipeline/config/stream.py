"""One camera or file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from plantain.operators.errors import UsageError
from plantain.operators.paths import in_one_spelling
from plantain.operators.redaction import bare, printable, shown
from plantain.operators.streams import Sampling, StreamSpec
from plantain.pipeline.config.prompts import AskedOf, Cadences, PromptField, split_prompts
from plantain.pipeline.config.section import Section, mistakes_of, unfit

# Stream names become folder names `stream=NAME`; one that starts with a letter is never read as a number or a date.
STREAM_ID = re.compile(r"^[A-Za-z][A-Za-z0-9._-]{0,99}$")


def _stream_id(name: str) -> str:
    if not STREAM_ID.fullmatch(name):
        raise ValueError(f"'{name}' must start with a letter and hold only letters, digits, '.', '_' and '-'")
    return name


StreamId = Annotated[str, AfterValidator(_stream_id)]


def _any_name(url: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """An address that can be taken apart. Names of files need not be UTF-8, which texts are for pydantic."""
    if isinstance(url, str):
        urlsplit(url)
    return url if isinstance(url, str) and printable(url) != url else check(url)


class StreamConfig(Section):
    """One camera or file."""

    url: Annotated[str, WrapValidator(_any_name)] = Field(
        min_length=1,
        repr=False,
        description="Path, rtsp://..., synthetic://... or what `source` understands.",
    )
    id: StreamId | None = Field(
        default=None, description="Its name in every row; from the file's name if left out."
    )
    source: str = Field(
        default="", description="Name of the source or module:Class; chosen by the url if left out."
    )
    prompts: tuple[PromptField, ...] = Field(
        default=(), description="What is asked of it, instead of the common prompts."
    )
    cadences: Cadences = Field(default={})
    asked_of: AskedOf = Field(default={})
    fps: float | None = Field(
        default=None, gt=0, description="Look at no more than this many frames per second."
    )
    every: int = Field(default=1, ge=1, description="Look at every n-th frame.")
    max_frames: int | None = Field(default=None, ge=1, description="Stop after this many frames.")
    hfov_deg: float | None = Field(
        default=None,
        gt=1,
        lt=170,
        description="Horizontal field of view in degrees, which distances follow from; estimated if left out, by "
        "models that can.",
    )
    watch: bool = Field(
        default=False,
        description="The url is a folder that recordings come into: each is a stream, in order, while it is written.",
    )
    options: dict[str, str] = Field(default={}, repr=False, description="Passed to the source.")

    @model_validator(mode="before")
    @classmethod
    def _split(cls, data: Any) -> Any:
        return split_prompts(data)

    @property
    def sampling(self) -> Sampling:
        """Which frames are looked at."""
        return Sampling(self.fps, self.every, self.max_frames)

    def spec(self) -> StreamSpec:
        """As its source takes it; it must have a name by now."""
        assert self.id is not None
        return StreamSpec(self.id, self.url, self.source, self.sampling, dict(self.options), self.hfov_deg)

    def changed(self, changes: Mapping[str, Any]) -> StreamConfig:
        """The same stream with other settings.

        Raises:
            UsageError: If one is unknown or makes no sense.
        """
        settings = {name: getattr(self, name) for name in type(self).model_fields}
        if "prompts" in changes:
            settings["cadences"] = settings["asked_of"] = {}
        try:
            return StreamConfig.model_validate({**settings, **changes})
        except ValidationError as error:
            raise UsageError("; ".join(mistakes_of(error, StreamConfig))) from error


def mark_of(url: str, options: Mapping[str, str]) -> tuple[str, str]:
    """What tells streams apart wherever they are named, without secrets and with no way back to them."""
    return shown(url), digest_of([bare(url), dict(options)])


def location_of(url: str, options: Mapping[str, str]) -> str:
    """Equal for streams of one file, however its path is spelled and from where; with no way back to it."""
    return digest_of([bare(in_one_spelling(url)), dict(options)])


def location_noted(made_of: Sequence[Any]) -> str | None:
    """The same of a stream of which an older version noted only its mark; None where it had options."""
    url, digest = made_of[0], made_of[3:4]
    return location_of(url, {}) if digest == [mark_of(url, {})[1]] else None


def digest_of(value: Any) -> str:
    """Equal for equal values, and no way back to them: options may hold keys and passwords."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()


def stream_of(data: object) -> StreamConfig:
    """A stream in plain data.

    Raises:
        UsageError: With every mistake.
    """
    if lines := [*unfit(data)]:
        raise UsageError("; ".join(lines))
    try:
        return StreamConfig.model_validate(data)
    except ValidationError as error:
        raise UsageError("; ".join(mistakes_of(error, StreamConfig))) from error
