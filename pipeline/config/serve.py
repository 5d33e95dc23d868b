"""The service."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from plantain.operators.sources.live.hosts import checked_host
from plantain.pipeline.config.secret import secret_of
from plantain.pipeline.config.section import Section


class ServeConfig(Section):
    """The service: who may reach it, what its requests may name, and how much of it they may take."""

    host: str = Field(default="127.0.0.1", min_length=1, description="Address that it listens on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port; 0 for any that is free.")
    names: tuple[str, ...] = Field(
        default=(),
        description="Further host names under which clients may reach it, such as those of a proxy.",
    )
    token: SecretStr | None = Field(
        default=None,
        description="Asked of every client; needed where `serve.host` is not of this machine only.",
    )
    token_file: str | None = Field(default=None, description="File that holds the token instead.")
    schemes: tuple[Literal["synthetic", "rtsp", "rtsps"], ...] = Field(
        default=("synthetic",), description="Kinds of stream that a request may add."
    )
    hosts: tuple[Annotated[str, AfterValidator(checked_host)], ...] = Field(
        default=(),
        description="Cameras that a request may name: host names (*.example.org), addresses, networks (10.0.0.0/8).",
    )
    replicas: int = Field(default=1, ge=1, description="Processes that answer HTTP; they hold no weights.")
    max_body_bytes: int = Field(default=32 << 20, ge=1024, description="Of one request.")
    max_pixels: int = Field(default=40_000_000, ge=256, description="Of one picture, before it is decoded.")
    max_clip_frames: int = Field(default=64, ge=1, description="Of one clip that are looked at.")
    max_prompts: int = Field(default=8, ge=1, description="Of one request or stream.")
    max_text: int = Field(default=500, ge=16, description="Characters of one prompt.")
    max_requests: int = Field(
        default=64,
        ge=1,
        description="That one process works on at a time; further ones are asked to come back.",
    )
    max_viewers: int = Field(
        default=32, ge=1, description="Live views and watches that one process keeps open."
    )
    max_streams: int = Field(default=64, ge=1, description="That requests may bring the service to.")
    timeout_s: float = Field(default=30.0, gt=0, description="A query that takes longer is given up.")

    def secret(self) -> str | None:
        """The token, in the clear.

        Raises:
            UsageError: If its file cannot be read.
        """
        return secret_of(self.token, self.token_file, "serve.token_file")
