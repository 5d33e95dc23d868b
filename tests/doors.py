"""Services for tests of who gets in and what requests may name: one behind a token, one that may be given cameras."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from plantain.pipeline.config import PipelineConfig, check
from tests.gateways import StepGateway
from tests.serving import client, served

TOKEN = "correct horse battery staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def config(**serve: object) -> PipelineConfig:
    """A service without streams."""
    model = {"name": "fake", "canvas": {"width": 64, "height": 48}}
    return check({"streams": [], "model": model, "serve": serve}, may_be_idle=True)


@contextmanager
def locked() -> Iterator[str]:
    """A service with a token, and a limit of 50,000 bytes; its address."""
    made = config(token=TOKEN, max_body_bytes=50_000)
    with served(made, StepGateway(made)) as base:
        yield base


@contextmanager
def guarded() -> Iterator[httpx.Client]:
    """A client of a service whose requests may name some cameras, and ask 3 prompts of 40 characters."""
    made = config(
        schemes=["synthetic", "rtsp"], hosts=["*.example.org", "10.1.0.0/16", "127.0.0.1"], max_prompts=3,
        max_text=40,
    )  # fmt: skip
    with served(made, StepGateway(made)) as base, client(base) as http:
        yield http
