"""The service on Ray: HTTP replicas without weights, and one engine in a named actor that they all ask.

    Ray Serve:  proxy -> Http replicas (`deploy.service.app`)
                             `--RayTransport--> actor `plantain-engine` (`deploy.ray.engine_actor`)
                                                  `-- the stages: actors all over the cluster, or threads

On a Ray of its own, which has one machine and no dashboard, the stages are threads of the engine's actor, so that a
query makes one call between processes and not three, and Serve's proxy is HAProxy (`deploy.ray.haproxy`). Wherever
replica and engine are on one machine, that call goes by a socket (`deploy.transport`).
The engine's actor is started again whenever its process dies, takes up the streams from what its output folder says,
and tells queries that were in flight to come back. With `serve deploy` or KubeRay the same application is
`deploy.ray.service:build`.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import ray
import structlog
from ray import serve
from ray.exceptions import RayActorError, RayError

from plantain.deploy import logs
from plantain.deploy.ray import haproxy
from plantain.deploy.ray.cluster import start_ray
from plantain.deploy.ray.engine_actor import RayTransport, engine_actor, gpus_of
from plantain.deploy.service.app import create_app
from plantain.deploy.service.host import STARTING
from plantain.deploy.service.security import Guard, check_exposure
from plantain.deploy.transport import unpacked
from plantain.operators.errors import UsageError
from plantain.pipeline.commands import TIMEOUT_S, EngineDownError, Readiness, Ready
from plantain.pipeline.config import PipelineConfig, check, plain

log = structlog.get_logger()

APP = "plantain"

DRAIN_TIMEOUT_S = 60.0
# Pictures and answers of up to so many bytes travel within the call; by the object store they take 4 ms more.
INLINE_BYTES = 1 << 20
# On small machines that are busy, starting a process may take long; Serve would kill what it takes for dead. And an
# idle service need not look at itself ten times a second, nor tell a dashboard that is not there. Our application never
# holds its loop up, so that it may share Serve's, which saves each request two ways between threads.
RAY_SERVE = {
    "RAY_SERVE_QUEUE_LENGTH_RESPONSE_DEADLINE_S": "1.0",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "120",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "1.0",
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "5000",
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
}


@serve.ingress()
class Http:
    """One HTTP process.

    Args:
        config: What runs, and what requests may do.
        made_ns: When that was deployed, ns since 1970 UTC.
    """

    def __init__(self, config: PipelineConfig, made_ns: int) -> None:
        logs.configure()
        self._config = config
        self._engine = RayTransport(config, made_ns)

    async def check_health(self) -> None:
        """Serve's look at a replica, every ten seconds: one that has nothing to do still says what is to run."""
        self._engine.greet()

    def __serve_build_asgi_app__(self) -> Guard:
        return create_app(self._config, self._engine)


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
    made: serve.Application = deploy(Http).bind(config, time.time_ns())
    return made


def build(args: dict[str, str]) -> serve.Application:
    """The application for `serve deploy` and KubeRay.

    Args:
        args: `config`, the path of a YAML file. As the proxies of a cluster can be reached by other machines, it must
            hold `serve.token` or `serve.token_file`. `revision` may say anything: Serve looks at these arguments only,
            so that a file with another content is taken up under another revision.

    Raises:
        UsageError: If the configuration is missing or has mistakes.
    """
    if not {"config"} <= set(args) <= {"config", "revision"}:
        raise UsageError(
            "the application takes `config`, the path of a YAML file, and perhaps a `revision` of it"
        )
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
        # Replicas and engine are what the machine is for: not behind everything else on it, as Ray's workers are (15).
        start_ray(address, max_direct_call_object_size=INLINE_BYTES, worker_niceness=0)
        yield


def _placed(config: PipelineConfig) -> PipelineConfig:
    """The configuration with what it leaves open: where the stages work."""
    if config.ray.stages is not None or config.ray.address is not None or gpus_of(config) > 1:
        return config
    return config.model_copy(update={"ray": config.ray.model_copy(update={"stages": "threads"})})


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
            ready: Readiness = unpacked(ray.get(actor.call.remote(Ready(), TIMEOUT_S)))
        except RayActorError as error:
            raise EngineDownError(
                f"the engine cannot be made: {str(error).strip().splitlines()[-1]}"
            ) from error
        if ready.refusal:
            raise UsageError(ready.refusal)
        if not ready.trouble:
            return
        if ready.trouble not in (told, STARTING):
            log.warning("not ready", why=ready.trouble)
            told = ready.trouble
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
            ray.get(actor.close.remote(), timeout=DRAIN_TIMEOUT_S)
    except (RayError, TimeoutError) as error:
        log.warning("end", error=str(error).splitlines()[0])
    finally:
        if actor is not None:
            ray.kill(actor, no_restart=True)
