"""A running HTTP service for tests, and clients for it."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import numpy as np
from PIL import Image

from plantain.deploy.service.app import create_app
from plantain.deploy.service.host import EngineHost
from plantain.deploy.service.local_service import run_here, server_of
from plantain.deploy.transport import Transport
from plantain.pipeline.config import PipelineConfig
from tests.assets.clips import numbered

PATIENCE_S = 60.0


@contextmanager
def served(config: PipelineConfig, engine: Transport) -> Iterator[str]:
    """The application on a free port of loopback; its base address."""
    listener = socket.create_server((config.serve.host, 0))
    app = create_app(config, engine)
    server = server_of(app, app.service.close)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="served")
    thread.start()
    try:
        deadline_s = time.monotonic() + PATIENCE_S
        while not server.started:
            assert time.monotonic() < deadline_s
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.end()
        thread.join(PATIENCE_S)
        listener.close()


@contextmanager
def served_with_engine(config: PipelineConfig) -> Iterator[str]:
    """The application with its engine beside it, once that is ready; its base address."""
    host = EngineHost(config, run_here)
    try:
        with served(config, host) as base:
            eventually(lambda: not host.readiness.trouble, "ready")
            yield base
    finally:
        host.stop()


def client(base: str, **options: object) -> httpx.Client:
    """Calls the service at an address."""
    return httpx.Client(base_url=base, timeout=PATIENCE_S, trust_env=False, **options)  # type: ignore[arg-type]


def jpeg(number: int = 5, width: int = 320, height: int = 180) -> bytes:
    """A picture that carries a number, as a file."""
    return image("JPEG", numbered(number, width, height), quality=95)


def image(kind: str, picture: np.ndarray, **options: object) -> bytes:
    """Pixels as a file of a kind."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, **options)
    return file.getvalue()


def eventually(is_so, what: str):
    """The first true value of `is_so()`."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not (value := is_so()):
        assert time.monotonic() < deadline_s, f"not {what} after {PATIENCE_S:g} s"
        time.sleep(0.05)
    return value
