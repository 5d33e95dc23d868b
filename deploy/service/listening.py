"""Where the service listens."""

from __future__ import annotations

import socket

from plantain.operators.errors import UsageError
from plantain.pipeline.config.serve import ServeConfig


def listener(serve: ServeConfig) -> socket.socket:
    """A socket that listens at the configured address.

    Raises:
        UsageError: If nobody can listen there.
    """
    try:
        family = socket.AF_INET6 if ":" in serve.host else socket.AF_INET
        return socket.create_server((serve.host, serve.port), family=family)
    except OSError as error:
        raise UsageError(
            f"nobody can listen on {serve.host}:{serve.port}: {error.strerror or error}; choose another --port"
        ) from error
