"""The Ray that everything runs on: a cluster that is there, or one of our own."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
import structlog
from ray._private.node import Node

from plantain.deploy.ray import doors
from plantain.deploy.standard import user
from plantain.operators.errors import PlantainError, UsageError
from plantain.operators.redaction import first_line, redact
from plantain.pipeline.config.engine import cluster_at

# A Ray of our own is begun so often where its processes do not come up.
STARTS = 3
# How long a cluster may take to answer the telephone, seconds.
KNOCK_S = 5.0
# The kernel knows 107 bytes of a socket's path, of which a session of Ray's takes
# `/ray/session_2026-11-29_23-11-12_095547_4194304/sockets/plasma_store`.
FOLDER_BYTES = 107 - 69
# Of the object store of a Ray of our own.
STORE_BYTES = 512 << 20

log = structlog.get_logger()

# A Ray of our own has no dashboard, the only place where tasks (4 MB for every 1,000 queries) and its own metrics are
# shown, and one machine, whose resources nobody else asks for. `event_stats` times every step of Ray's loops.
LOCAL_RAY: dict[str, object] = {
    "event_stats": False,
    "task_events_report_interval_ms": 0,
    "enable_metrics_collection": False,
    "raylet_report_resources_period_milliseconds": 1000,
    "raylet_check_gc_period_milliseconds": 1000,
    "gcs_pull_resource_loads_period_milliseconds": 10000,
    "report_worker_backlog_interval_ms": 10000,
    "io_context_monitor_probe_interval_ms": 5000,
    "core_worker_internal_heartbeat_ms": 5000,
    "object_manager_timer_freq_ms": 1000,
    "kill_idle_workers_interval_ms": 2000,
    "memory_monitor_refresh_ms": 1000,
}


def start_ray(address: str | None, **settings: object) -> None:
    """Connects to a cluster, or starts a Ray that costs as little as it can.

    Of the processes that a local Ray brings, the dashboard (and its agents' metrics) are left out; what remains
    costs about 0.3 GB (docs/operations.md, "What Ray costs"), and looks at itself less often than a cluster must: a
    service that is asked nothing takes some 5 % of a core instead of 8.2 (`python -m tests.bench serve`).

    Args:
        address: Of the cluster; None for a Ray of our own.
        settings: Of Ray's configuration, for a Ray of our own.

    Raises:
        UsageError: If no cluster is there, or none that lets us in, or Ray finds no folder for itself.
        PlantainError: If this machine is too busy for a Ray to start.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)  # its hints about authentication are not for our users
    common: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": "ERROR",
        "namespace": f"plantain-{user()}",
    }
    if address is not None:
        _knock(address)
    else:
        doors.make_token()
        # "local": never somebody else's Ray that happens to run on this machine.
        common |= {
            "include_dashboard": False,
            "object_store_memory": STORE_BYTES,
            "configure_logging": False,
            "_temp_dir": f"{short_folder()}/ray",
            "_plasma_directory": _store(),
            "_system_config": LOCAL_RAY | settings,
        }
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        with contextlib.nullcontext() if address is not None else _without_idlers():
            _init(address=address or "local", **common)
    except PlantainError:
        raise
    except Exception as error:
        doing = "start" if address is None else f"let us into the cluster at {redact(address)}"
        raise UsageError(f"Ray does not {doing}: {first_line(error)}") from error
    # Ray has taken SIGTERM for itself, and would leave at once, with a dump of the stack.
    if callable(on_sigterm) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)


def _knock(address: str) -> None:
    """Finds out whether somebody is there and lets us in, which takes Ray a minute and pages of complaints."""
    try:
        place = cluster_at(address)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if place is None:
        doors.ask_known()
        return
    try:
        socket.create_connection(place, KNOCK_S).close()
    except (OSError, OverflowError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(
            f"no Ray cluster answers at {redact(address)} ({why}): start one there (ray start --head), or leave "
            "--address out"
        ) from error
    if not address.startswith("ray://"):
        doors.ask(*place)


def short_folder() -> str:
    """Where sockets have room for their names: where temporary files belong, or near it if that path is too long.

    Raises:
        UsageError: If there is no such folder.
    """
    places = ["/tmp", "/var/tmp", "/dev/shm"]
    with contextlib.suppress(FileNotFoundError):
        places.insert(0, os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    for place in places:
        if len(os.fsencode(place)) <= FOLDER_BYTES and os.access(place, os.W_OK | os.X_OK):
            return place.rstrip("/")
    raise UsageError(
        f"Ray needs a folder for its sockets that can be written to, with a path of at most {FOLDER_BYTES} bytes: set "
        "TMPDIR, or use --executor threads"
    )


def _store() -> str | None:
    """Where objects are kept, if there is no room for them in shared memory; None for there."""
    try:
        free = shutil.disk_usage("/dev/shm").free
    except OSError:  # not on Linux
        return None
    if free >= STORE_BYTES:
        return None
    folder = tempfile.gettempdir()
    log.warning(
        "ray",
        what=f"/dev/shm has {free >> 20} MB free of the {STORE_BYTES >> 20} MB that workers may need to hand frames "
        f"on: they are kept in {folder}, which may be slower",
        remedy="give /dev/shm 1 GB (--shm-size=1g of Docker), or use --executor threads",
    )
    return folder


def _init(**settings: Any) -> None:
    """Begins again where Ray gives its own processes up, after 30 s: it cannot be told to wait longer (2.60)."""
    for _ in range(STARTS):
        before = _rays()
        try:
            ray.init(**settings)
            return
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
            log.warning("ray", what="its processes did not start within 30 s: trying again")
            ray.shutdown()
            for left in _rays() - before:  # of a start that was given up, which Ray forgets
                with contextlib.suppress(ProcessLookupError):
                    os.kill(left, signal.SIGKILL)
    raise PlantainError(f"Ray did not start in {STARTS} attempts of 30 s: this machine is too busy")


def _rays() -> set[int]:
    """Process ids of Ray's own processes that this one has started; none where the system does not tell them."""
    found = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found |= {int(each) for each in task.read_text().split()}
    return {each for each in found if "/ray/" in _command(each)}


def _command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


@contextlib.contextmanager
def _without_idlers() -> Iterator[None]:
    """Ray starts without what a local one does not need, and `ray.init` cannot leave out (2.60).

    The log monitor, which copies the workers' output to a driver that does not want it (`log_to_driver`); the monitor
    that asks for machines when actors wait for resources; and what is left of the dashboard without its pages, which
    only sends usage statistics.
    """

    def nothing(*_arguments: object, **_options: object) -> None:
        return

    node: Any = Node
    names = ("start_log_monitor", "start_monitor", "start_api_server")
    before = {name: getattr(node, name) for name in names}
    for name in names:
        setattr(node, name, nothing)
    try:
        yield
    finally:
        for name, start in before.items():
            setattr(node, name, start)
