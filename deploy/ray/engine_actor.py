"""The engine in a named actor, and the transport by which HTTP replicas reach it."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable
from typing import Any, TypeVar, cast

import ray
import structlog
from ray.exceptions import RayError, RayTaskError

from plantain.deploy import logs
from plantain.deploy.job import run_job
from plantain.deploy.ray.executor import RayExecutor
from plantain.deploy.ray.metrics import RayFigures
from plantain.deploy.service.host import NICENESS, STARTING, EngineHost
from plantain.deploy.transport import SocketClient, SocketServer, has_abstract_sockets, packed, unpacked
from plantain.operators.cores import num_cores
from plantain.operators.errors import PlantainError
from plantain.operators.redaction import redact
from plantain.pipeline.commands import TIMEOUT_S, Command, EngineDownError
from plantain.pipeline.config import PipelineConfig
from plantain.pipeline.control import Control
from plantain.pipeline.copies import copies_of
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.executor import Executor, ThreadExecutor
from plantain.pipeline.journal import Journal

log = structlog.get_logger()

ENGINE = "plantain-engine"
NAMESPACE = "plantain"

A = TypeVar("A")


def run_on_ray(config: PipelineConfig, control: Control, show: Callable[[Engine], None]) -> object:
    """Runs the pipeline in this cluster: its stages in actors, or in threads of this process."""
    figures, journal = RayFigures(), Journal(config.output.out)

    def show_all(engine: Engine) -> None:
        show(engine)
        figures.update(engine)
        journal.update(engine)

    executor: Executor
    if config.ray.stages == "threads":
        executor = ThreadExecutor(NICENESS)
    else:
        # Actors of an engine that has just died may hold their names for a moment longer.
        executor = RayExecutor(config.ray.address, name=f"plantain-{secrets.token_hex(2)}")
    return run_job(config, control=control, executor=executor, on_progress=show_all)


class EngineActor:
    """The engine's process: an `EngineHost`, by call.

    Args:
        config: What runs.
    """

    def __init__(self, config: PipelineConfig) -> None:
        logs.configure()
        if config.ray.stages == "threads":
            # Ray says 1; torch reads it when it is first imported, which is yet to come.
            os.environ["OMP_NUM_THREADS"] = str(
                max(1, round(next(iter(config.pools.values())).cpus or num_cores()))
            )
        self._config = config
        self._made_ns = 0
        self._host = EngineHost(config, run_on_ray)
        self._changing = asyncio.Lock()
        self._socket = SocketServer(self)
        self._opening = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def meet(self, config: PipelineConfig, made_ns: int) -> tuple[str, str]:
        """Hears what a replica wants to run, and begins to `configure` it.

        Whenever this process is started again it runs what the first replica wanted, until it meets those of today.

        Returns:
            The node that this process is on, and where it takes calls from its own machine; empty for nowhere.
        """
        task = asyncio.create_task(self.configure(config, made_ns))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        async with self._opening:
            if not self._socket.address and has_abstract_sockets():
                await self._socket.start()
        return ray.get_runtime_context().get_node_id(), self._socket.address

    async def pid(self) -> int:
        """This process, for whoever wants to watch or kill it."""
        return os.getpid()

    async def configure(self, config: PipelineConfig, made_ns: int) -> None:
        """Goes on with a configuration, unless a younger one is known: the streams drain and are taken up again.

        One that cannot be is logged, and the last one goes on.

        Args:
            config: What is to run.
            made_ns: When that was deployed, ns since 1970 UTC.
        """
        async with self._changing:
            if made_ns < self._made_ns:
                return
            self._made_ns = made_ns
            if config == self._config:
                return
            await asyncio.to_thread(self._host.stop)
            try:
                self._host = EngineHost(config, run_on_ray)
            except PlantainError as error:
                log.error("not reconfigured", error=redact(str(error)))
                self._host = EngineHost(self._config, run_on_ray)
            else:
                self._config = config

    async def do(self, command: Command[A], timeout_s: float = TIMEOUT_S) -> A:
        """See `Transport`."""
        return await self._host.do(command, timeout_s)

    async def call(self, command: Command[A], timeout_s: float) -> bytes:
        """As `do`; for `unpacked`."""
        return await packed(self.do(command, timeout_s))

    async def close(self) -> None:
        """Drains the pipeline and waits for it."""
        await asyncio.to_thread(self._host.stop)


class RayTransport:
    """The way to an engine behind an actor: by its socket on the same machine, from elsewhere by calls of the actor.

    Args:
        config: What runs; the actor is made if there is none.
        made_ns: When it was deployed, ns since 1970 UTC: in a rolling update there are replicas of two configurations.
    """

    def __init__(self, config: PipelineConfig, made_ns: int) -> None:
        self._actor = engine_actor(config)
        self._wanted = config, made_ns
        self._connecting = asyncio.Lock()
        self._is_near: bool | None = None  # None until it has been asked
        self._socket: SocketClient | None = None
        self.greet()

    def greet(self) -> None:
        """Tells the engine what is to run, unless it knows: it may have been started again while nobody asked."""
        if self._socket is None or not self._socket.is_open:
            self._actor.meet.remote(*self._wanted)

    async def do(self, command: Command[A], timeout_s: float = TIMEOUT_S) -> A:
        """See `Transport`."""
        patience_s = command.patience_s(timeout_s)
        try:
            async with asyncio.timeout(patience_s):
                if (near := await self._near()) is not None:
                    return await near.do(command, timeout_s)
                return await self._call(command, timeout_s)
        except TimeoutError as error:
            raise EngineDownError(f"{STARTING}, or busy: try again shortly") from error
        except RayTaskError:
            raise
        except (ConnectionError, RayError) as error:
            self._is_near = None
            raise EngineDownError("the engine's process is gone and is being started again") from error

    async def _near(self) -> SocketClient | None:
        """The connection to an engine on this machine; None if it is on another."""
        if self._socket is not None and self._socket.is_open:
            return self._socket
        async with self._connecting:
            if self._is_near is None or (self._socket is not None and not self._socket.is_open):
                node, address = await self._actor.meet.remote(*self._wanted)
                self._is_near = bool(address) and node == ray.get_runtime_context().get_node_id()
                self._socket = await SocketClient.open(address) if self._is_near else None
            return self._socket

    async def _call(self, command: Command[A], timeout_s: float) -> A:
        reference = self._actor.call.remote(command, timeout_s)
        try:
            return cast("A", unpacked(await reference))
        except asyncio.CancelledError:
            ray.cancel(reference, force=False, recursive=False)
            raise


def engine_actor(config: PipelineConfig) -> Any:
    """The handle of the engine's actor, which is made if there is none."""
    return (
        ray.remote(EngineActor)
        .options(
            name=ENGINE,
            namespace=NAMESPACE,
            get_if_exists=True,
            lifetime="detached",
            max_restarts=-1,
            max_task_retries=0,  # what was in flight is told so, and asks again if it wants to
            num_cpus=0,
            num_gpus=gpus_of(config) if config.ray.stages == "threads" else 0,
            max_concurrency=1000,
        )
        .remote(config)
    )


def gpus_of(config: PipelineConfig) -> float:
    """What all copies of all models need."""
    return sum(model.gpus * copies_of(config, model).most for model in config.pools.values())
