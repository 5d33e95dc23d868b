"""Ports for servers that tests start, kill and start again at the same place."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

# Below the range that Linux gives to clients and to port 0 (32768 to 60999): while a server is down, nobody else's
# connection can come to sit on its port.
_FIRST, _LAST = 20_000, 32_000
_ATTEMPTS = 1000


def free_ports(count: int) -> list[int]:
    """TCP ports of loopback that nobody listens on."""
    with ExitStack() as stack:
        found: list[int] = []
        for port in random.SystemRandom().sample(range(_FIRST, _LAST), _ATTEMPTS):
            if len(found) == count:
                return found
            probe = stack.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    raise RuntimeError(f"no {count} free ports between {_FIRST} and {_LAST}")


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    return free_ports(1)[0]
