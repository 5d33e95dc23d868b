"""The service in one process: HTTP and engine side by side, for a laptop without Ray."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn

from plantain.deploy.job import make_executor, run_job
from plantain.deploy.service.app import create_app
from plantain.deploy.service.host import NICENESS, EngineHost
from plantain.deploy.service.listening import listener
from plantain.operators.errors import UsageError
from plantain.pipeline.config import PipelineConfig
from plantain.pipeline.control import Control
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.journal import Journal

DRAIN_TIMEOUT_S = 10


class Server(uvicorn.Server):
    """Ends the views that stay open when it is told to end, which would otherwise hold it up.

    Args:
        config: Of uvicorn.
        on_exit: Called in the server's loop when it is told to end.
    """

    def __init__(self, config: uvicorn.Config, on_exit: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_exit = on_exit
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to listen."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def end(self) -> None:
        """Ends it, from any thread."""
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._on_exit)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end it, which is how a service ends; unlike uvicorn's own, raises no signal again."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal has come; a second one does not wait for open requests."""
        super().handle_exit(sig, frame)
        self.end()


def server_of(app: Callable[..., object], on_exit: Callable[[], None]) -> Server:
    """A server for an application, which says nothing on the terminal."""
    settings = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=DRAIN_TIMEOUT_S,
        ws_max_size=1 << 20,
    )
    return Server(settings, on_exit)


def run_here(config: PipelineConfig, control: Control, show: Callable[[Engine], None]) -> object:
    """Runs the pipeline where its configuration says."""
    journal = Journal(config.output.out)

    def on_progress(engine: Engine) -> None:
        show(engine)
        journal.update(engine)

    executor = make_executor(config, NICENESS)
    return run_job(config, control=control, executor=executor, on_progress=on_progress)


def serve_here(config: PipelineConfig, on_ready: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM.

    Args:
        config: What runs; a port of 0 takes one that is free.
        on_ready: Told the address once queries are answered.

    Raises:
        UsageError: If nobody can listen there, other machines could reach it without a token, or the configuration or
            the output folder does not let it begin.
        PlantainError: If the output folder cannot be used.
    """
    with listener(config.serve) as listening:
        host = EngineHost(config, run_here)
        stopped = threading.Event()
        try:
            app = create_app(config, host)
            server = server_of(app, app.service.close)

            def tell() -> None:
                while not stopped.wait(0.05):
                    if host.readiness.refusal:
                        server.end()
                    if server.started and not host.readiness.trouble:
                        on_ready(f"http://{config.serve.host}:{listening.getsockname()[1]}")
                        return

            teller = threading.Thread(target=tell, name="plantain-ready", daemon=True)
            teller.start()
            server.run([listening])
            stopped.set()
            teller.join()
            if refusal := host.readiness.refusal:
                raise UsageError(refusal)
        finally:
            stopped.set()
            host.stop()
