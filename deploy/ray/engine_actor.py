"""The engine in a named actor, and the gateway through which HTTP replicas ask it."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
import structlog
from ray.exceptions import RayError, RayTaskError

from plantain.deploy import logs
from plantain.deploy.job import run_job
from plantain.deploy.local_calls import CallClient, CallServer, has_local_calls
from plantain.deploy.ray.executor import RayExecutor
from plantain.deploy.ray.metrics import RayFigures
from plantain.deploy.service.gateway import Note, Shot, Want, Watched
from plantain.deploy.service.host import NICENESS, STARTING, EngineHost
from plantain.deploy.service.problems import EngineDownError
from plantain.operators.cores import num_cores
from plantain.operators.errors import PlantainError, UsageError
from plantain.operators.prompts import Prompt
from plantain.operators.redaction import redact
from plantain.operators.types import Frame, Result
from plantain.pipeline.config import PipelineConfig, StreamConfig
from plantain.pipeline.control import Control
from plantain.pipeline.copies import copies_of
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.executor import Executor, ThreadExecutor

log = structlog.get_logger()

ENGINE = "plantain-engine"
NAMESPACE = "plantain"

# Calls of the actor that wait for something to happen wait a little longer than it was asked to.
GRACE_S = 10.0
# A health check of an actor that is just starting must not hold up the answer "not ready".
ASK_READY_S = 2.0

CALLS = frozenset(
    (
        "why_not_ready", "figures", "streams", "stream", "add", "change", "remove", "ask", "ask_stream", "notes",
        "shots", "refusal", "close",
    )
)  # fmt: skip


def run_on_ray(config: PipelineConfig, control: Control, show: Callable[[Engine], None]) -> object:
    """Runs the pipeline in this cluster: its stages in actors, or in threads of this process."""
    figures = RayFigures()

    def show_all(engine: Engine) -> None:
        show(engine)
        figures.update(engine)

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
        self._calls = CallServer(self.call)
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
            if not self._calls.address and has_local_calls():
                await self._calls.start()
        return ray.get_runtime_context().get_node_id(), self._calls.address

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
            await self._host.close()
            try:
                self._host = EngineHost(config, run_on_ray)
            except PlantainError as error:
                log.error("not reconfigured", error=redact(str(error)))
                self._host = EngineHost(self._config, run_on_ray)
            else:
                self._config = config

    async def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Does what the gateway of that name does."""
        if name not in CALLS:
            raise UsageError(f"the engine cannot {name}")
        return await getattr(self._host, name)(*arguments, **options)


class RayGateway:
    """The engine behind an actor; see `Gateway`.

    An engine on the same machine is asked by a socket, one elsewhere by calls of its actor.

    Args:
        config: What runs; the actor is made if there is none.
        made_ns: When it was deployed, ns since 1970 UTC: in a rolling update there are replicas of two configurations.
    """

    def __init__(self, config: PipelineConfig, made_ns: int) -> None:
        self._timeout_s = config.serve.timeout_s + GRACE_S
        self._actor = engine_actor(config)
        self._wanted = config, made_ns
        self._connecting = asyncio.Lock()
        self._is_near: bool | None = None  # None until it has been asked
        self._calls: CallClient | None = None
        self.greet()

    def greet(self) -> None:
        """Tells the engine what is to run, unless it knows: it may have been started again while nobody asked."""
        if self._calls is None or not self._calls.is_open:
            self._actor.meet.remote(*self._wanted)

    async def why_not_ready(self) -> str:
        """Empty when queries are answered; otherwise why not yet."""
        try:
            why: str = await self._call("why_not_ready", timeout_s=ASK_READY_S)
        except EngineDownError as error:
            return str(error)
        return why

    async def figures(self) -> str:
        """For Prometheus."""
        text: str = await self._call("figures")
        return text

    async def streams(self) -> list[Watched]:
        """All streams."""
        streams: list[Watched] = await self._call("streams")
        return streams

    async def stream(self, stream_id: str) -> Watched:
        """One stream."""
        return await self._watched("stream", stream_id)

    async def add(self, stream: StreamConfig, *, paused: bool, key: str | None) -> Watched:
        """Adds a stream."""
        return await self._watched("add", stream, paused=paused, key=key)

    async def change(
        self, stream_id: str, changes: Mapping[str, Any], *, paused: bool | None = None
    ) -> Watched:
        """Changes a stream."""
        return await self._watched("change", stream_id, dict(changes), paused=paused)

    async def remove(self, stream_id: str) -> Watched:
        """Removes a stream."""
        return await self._watched("remove", stream_id)

    async def ask(self, frames: Sequence[Frame], prompts: Sequence[Prompt]) -> list[Result]:
        """Answers about frames."""
        results: list[Result] = await self._call("ask", list(frames), tuple(prompts))
        return results

    async def ask_stream(self, stream_id: str, prompts: Sequence[Prompt]) -> Result:
        """Answers about the newest frame of a stream."""
        result: Result = await self._call("ask_stream", stream_id, tuple(prompts))
        return result

    async def notes(self, after: int, wait_s: float) -> list[Note]:
        """What happened."""
        notes: list[Note] = await self._call("notes", after, wait_s, timeout_s=wait_s + GRACE_S)
        return notes

    async def shots(self, wants: Sequence[Want], seen: Mapping[Want, int], wait_s: float) -> list[Shot]:
        """Newest pictures."""
        shots: list[Shot] = await self._call(
            "shots", tuple(wants), dict(seen), wait_s, timeout_s=wait_s + GRACE_S
        )
        return shots

    async def _watched(self, name: str, *arguments: Any, **options: Any) -> Watched:
        watched: Watched = await self._call(name, *arguments, **options)
        return watched

    async def _call(self, name: str, *arguments: Any, timeout_s: float | None = None, **options: Any) -> Any:
        """One call of the engine; taken back if whoever waits for it is cancelled."""
        try:
            async with asyncio.timeout(timeout_s or self._timeout_s):
                if (calls := await self._near()) is not None:
                    return await calls.call(name, *arguments, **options)
                return await self._call_actor(name, *arguments, **options)
        except TimeoutError as error:
            raise EngineDownError(f"{STARTING}, or busy: try again shortly") from error
        except RayTaskError:
            raise
        except (ConnectionError, RayError) as error:
            self._is_near = None
            raise EngineDownError("the engine's process is gone and is being started again") from error

    async def _near(self) -> CallClient | None:
        """The connection to an engine on this machine; None if it is on another."""
        if self._calls is not None and self._calls.is_open:
            return self._calls
        async with self._connecting:
            if self._is_near is None or (self._calls is not None and not self._calls.is_open):
                node, address = await self._actor.meet.remote(*self._wanted)
                self._is_near = bool(address) and node == ray.get_runtime_context().get_node_id()
                self._calls = await CallClient.open(address) if self._is_near else None
            return self._calls

    async def _call_actor(self, name: str, *arguments: Any, **options: Any) -> Any:
        reference = self._actor.call.remote(name, *arguments, **options)
        try:
            return await _answer_of(reference)
        except asyncio.CancelledError:
            ray.cancel(reference, force=False, recursive=False)
            raise
        except RayTaskError as error:
            if isinstance(error.cause, PlantainError):
                raise error.cause from error
            raise


async def _answer_of(reference: Any) -> Any:
    return await reference


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
