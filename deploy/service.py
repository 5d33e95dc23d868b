"""The service on Ray: HTTP replicas without weights, and one engine in a named actor that they all ask.

    Ray Serve:  proxy -> Http replicas (`deploy.app`) --RayGateway--> actor `plantain-engine` (`deploy.host`)
                                                                         `-- the stages: actors all over the cluster
                                                                             (`RayExecutor`), or threads

On a Ray of its own, which has one machine and no dashboard, the stages are threads of the engine's actor, so that a
query makes one call between processes and not three, and Serve's proxy is HAProxy (`deploy.haproxy`).
The engine's actor is started again whenever its process dies, takes up the streams from what its output folder says,
and tells queries that were in flight to come back. With `serve deploy` or KubeRay the same application is
`deploy.service:build`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import ray
import structlog
from ray import serve
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError, TaskCancelledError

from deploy import haproxy, logs
from deploy.app import create_app
from deploy.gateway import Note, Shot, Want, Watched
from deploy.host import STARTING, EngineHost
from deploy.job import run_job
from deploy.problems import EngineDownError
from deploy.ray_executor import RayExecutor, start_ray
from deploy.ray_metrics import RayFigures
from deploy.security import Guard, check_exposure
from operators.errors import PlantainError, UsageError
from operators.prompts import Prompt
from operators.types import Frame, Result
from pipeline.config import PipelineConfig, StreamConfig, check, plain
from pipeline.control import Control
from pipeline.engine import Engine
from pipeline.executor import Executor, ThreadExecutor

log = structlog.get_logger()

APP = "plantain"
ENGINE = "plantain-engine"
NAMESPACE = "plantain"

# Calls of the actor that wait for something to happen wait a little longer than it was asked to.
GRACE_S = 10.0
# A health check of an actor that is just starting must not hold up the answer "not ready".
ASK_READY_S = 2.0
DRAIN_TIMEOUT_S = 60.0
# Pictures and answers of up to so many bytes travel within the call; by the object store they take 4 ms more.
INLINE_BYTES = 1 << 20
# On small machines that are busy, starting a process may take long; Serve would kill what it takes for dead. And an
# idle service need not look at itself ten times a second, nor tell a dashboard that is not there.
RAY_SERVE = {
    "RAY_SERVE_QUEUE_LENGTH_RESPONSE_DEADLINE_S": "1.0",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "120",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "1.0",
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "5000",
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
}

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
        executor = ThreadExecutor()
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
        if (
            config.ray.stages == "threads"
        ):  # Ray says 1; torch reads it when it is first imported, which comes now
            os.environ["OMP_NUM_THREADS"] = str(max(1, round(config.model.cpus or os.cpu_count() or 1)))
        self._config = config
        self._host = EngineHost(config, run_on_ray)
        self._changing = asyncio.Lock()

    async def pid(self) -> int:
        """This process, for whoever wants to watch or kill it."""
        return os.getpid()

    async def configure(self, config: PipelineConfig) -> None:
        """Goes on with another configuration, if it is another: the streams drain and are taken up again."""
        async with self._changing:
            if config == self._config:
                return
            await self._host.close()
            self._config = config
            self._host = EngineHost(config, run_on_ray)

    async def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Does what the gateway of that name does."""
        if name not in CALLS:
            raise UsageError(f"the engine cannot {name}")
        return await getattr(self._host, name)(*arguments, **options)


class RayGateway:
    """The engine behind an actor; see `Gateway`.

    Args:
        config: What runs; the actor is made if there is none.
    """

    def __init__(self, config: PipelineConfig) -> None:
        self._timeout_s = config.serve.timeout_s + GRACE_S
        self._actor = engine_actor(config)
        self._actor.configure.remote(config)

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
        """One call of the actor; taken back if whoever waits for it is cancelled."""
        reference = self._actor.call.remote(name, *arguments, **options)
        try:
            return await asyncio.wait_for(_answer_of(reference), timeout_s or self._timeout_s)
        except (asyncio.CancelledError, TimeoutError) as error:
            ray.cancel(reference, force=False, recursive=False)
            if isinstance(error, TimeoutError):
                raise EngineDownError(f"{STARTING}, or busy: try again shortly") from error
            raise
        except RayTaskError as error:
            if isinstance(error.cause, PlantainError):
                raise error.cause from error
            raise
        except (RayActorError, TaskCancelledError, GetTimeoutError, RayError) as error:
            raise EngineDownError("the engine's process is gone and is being started again") from error


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
            num_gpus=_gpus(config) if config.ray.stages == "threads" else 0,
            max_concurrency=1000,
        )
        .remote(config)
    )


@serve.ingress()
class Http:
    """One HTTP process.

    Args:
        config: What runs, and what requests may do.
    """

    def __init__(self, config: PipelineConfig) -> None:
        logs.configure()
        self._config = config
        self._gateway = RayGateway(config)

    def __serve_build_asgi_app__(self) -> Guard:
        return create_app(self._config, self._gateway)


def application(config: PipelineConfig) -> serve.Application:
    """The Serve application of a configuration.

    Raises:
        UsageError: If other machines could reach it without a token.
    """
    check_exposure(config.serve)
    room = config.serve.max_requests + config.serve.max_viewers
    deploy = serve.deployment(
        name="http",
        num_replicas=config.serve.replicas,
        # Our own limits answer first, and say when to come back; health checks still find room.
        max_ongoing_requests=2 * room,
        max_queued_requests=room,
        graceful_shutdown_timeout_s=5,
        ray_actor_options={"num_cpus": 0},
    )
    made: serve.Application = deploy(Http).bind(config)
    return made


def build(args: dict[str, str]) -> serve.Application:
    """The application for `serve deploy` and KubeRay.

    Args:
        args: `config`, the path of a YAML file. As the proxies of a cluster can be reached by other machines, it must
            hold `serve.token` or `serve.token_file`.

    Raises:
        UsageError: If the configuration is missing or has mistakes.
    """
    if set(args) != {"config"}:
        raise UsageError("the application takes one argument: config, the path of a YAML file")
    settings = plain(Path(args["config"]))
    settings["executor"] = "ray"
    if isinstance(section := settings.setdefault("serve", {}), dict):
        section["host"] = "0.0.0.0"
    return application(check({"streams": [], **settings}, args["config"], may_be_idle=True))


def serve_on_ray(config: PipelineConfig, on_ready: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM.

    Args:
        config: What runs; a port of 0 takes one that is free.
        on_ready: Told the address once queries are answered.

    Raises:
        PlantainError: If it cannot start.
    """
    check_exposure(config.serve)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ray_for_serve(config.ray.address, config.serve.host):
        _serve(_placed(config), on_ready, stop)


@contextmanager
def ray_for_serve(address: str | None, host: str) -> Iterator[None]:
    """Connects to a cluster, or starts a Ray in which Serve costs as little as it can.

    Args:
        address: Of the cluster; None for a Ray of our own.
        host: Where Serve will listen.
    """
    settings = dict(RAY_SERVE)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # how it starts is of no use to who waits for it
    with ExitStack() as holds:
        if address is None and haproxy.is_usable(host):
            settings |= holds.enter_context(haproxy.settings())
        for name, value in settings.items():
            os.environ.setdefault(name, value)
        holds.callback(ray.shutdown)
        start_ray(address, max_direct_call_object_size=INLINE_BYTES)
        yield


def _placed(config: PipelineConfig) -> PipelineConfig:
    """The configuration with what it leaves open: where the stages work."""
    if config.ray.stages is not None or config.ray.address is not None or _gpus(config) > 1:
        return config
    return config.model_copy(update={"ray": config.ray.model_copy(update={"stages": "threads"})})


def _gpus(config: PipelineConfig) -> float:
    """What all copies of the model need."""
    return config.model.gpus * config.model.replicas.max


def _serve(config: PipelineConfig, on_ready: Callable[[str], None], stop: threading.Event) -> None:
    """Serves in the Ray that is connected, until it is stopped."""
    actor, is_shared = None, False
    try:
        if (found := _listening()) is not None:
            is_shared = True
            config = config.model_copy(update={"serve": config.serve.model_copy(update=found)})
        made = application(config)
        actor = engine_actor(config)  # it loads the model while Serve starts
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": config.serve.host, "port": config.serve.port},
            logging_config={"log_level": "ERROR", "enable_access_log": False},
        )
        serve.run(
            made,
            name=APP,
            route_prefix="/",
            logging_config={"log_level": "ERROR", "enable_access_log": False},
        )
        _wait_until_ready(actor, stop)
        if not stop.is_set():
            on_ready(f"http://{config.serve.host}:{config.serve.port}")
        stop.wait()
    except RayError as error:
        raise EngineDownError(
            f"Ray Serve cannot be started: {str(error).strip().splitlines()[-1]}"
        ) from error
    finally:
        _end(actor, ends_serve=not is_shared and config.ray.address is not None)


def _listening() -> dict[str, Any] | None:
    """Host and port of the Ray Serve that runs in the cluster already, and keeps them; None if there is none."""
    from ray.serve.context import _get_global_client  # nothing public tells (2.60)

    client = _get_global_client(raise_if_no_controller_running=False)
    return None if client is None else {"host": client.http_config.host, "port": client.http_config.port}


def _wait_until_ready(actor: Any, stop: threading.Event) -> None:
    told = ""
    while not stop.is_set():
        try:
            why, refusal = ray.get([actor.call.remote("why_not_ready"), actor.call.remote("refusal")])
        except RayActorError as error:
            raise EngineDownError(
                f"the engine cannot be made: {str(error).strip().splitlines()[-1]}"
            ) from error
        if refusal:
            raise UsageError(refusal)
        if not why:
            return
        if why not in (told, STARTING):
            log.warning("not ready", why=why)
            told = why
        time.sleep(0.1)


def _end(actor: Any, *, ends_serve: bool) -> None:
    """Drains the engine and removes what was started here.

    Args:
        actor: The engine's.
        ends_serve: Ray Serve was started here, in a cluster that goes on. It ends if nobody else uses it by now; that
            of a Ray of our own ends with Ray.
    """
    try:
        if _listening() is not None:
            serve.delete(APP)
            if ends_serve and not serve.status().applications:
                serve.shutdown()  # type: ignore[no-untyped-call]  # Ray's
        if actor is not None:
            ray.get(actor.call.remote("close"), timeout=DRAIN_TIMEOUT_S)
    except (RayError, TimeoutError) as error:
        log.warning("end", error=str(error).splitlines()[0])
    finally:
        if actor is not None:
            ray.kill(actor, no_restart=True)
