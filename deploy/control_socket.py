"""The control of a running job as a Unix socket: what `plantain streams` speaks to.

One JSON object a line in each direction, and any number of them on one connection:

    {"do": "add", "stream": {"url": "rtsp://...", "id": "gate", "prompts": ["depth"]}}
    {"streams": [{"stream_id": "gate", "phase": "waiting", ...}]}          or {"error": "...", "kind": "UsageError"}

`do` is one of list, add, change, pause, resume, remove. The socket belongs to its owner (mode 0600), and nothing that
comes out of it holds a secret.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from plantain.operators.errors import PlantainError, UsageError
from plantain.operators.redaction import redact, shown
from plantain.pipeline.config import stream_of
from plantain.pipeline.control import Control, StreamStatus

NAME = "control.sock"
# Longer than any command waits in the pipeline.
TIMEOUT_S = 60.0
MAX_LINE_BYTES = 1 << 20


def socket_of(out: str) -> Path:
    """Where a job that writes to the folder `out` has its socket.

    Raises:
        UsageError: If that is no local folder.
    """
    if "://" in out and not out.startswith("file://"):
        raise UsageError(f"{shown(out)} is no local folder; say where the socket is with --control")
    return Path(out.removeprefix("file://")) / ".plantain" / NAME


@contextmanager
def control_socket(control: Control, path: Path) -> Iterator[None]:
    """Serves a control at `path` until the end of the block.

    Raises:
        UsageError: If another job answers there, or no socket can be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _short(path) as short:
            if _answers(short):
                raise UsageError(f"another job is controlled through {path}; choose another --control")
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            server = _Server(control, short)
    except OSError as error:
        raise UsageError(f"no socket can be made at {path}: {error.strerror or error}") from error
    thread = threading.Thread(target=server.serve_forever, name="plantain-control", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def request(path: Path, command: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Sends one command to the job behind a socket.

    Returns:
        The status of each stream that it was about.

    Raises:
        UsageError: If no job answers there, or it refuses.
    """
    try:
        with _short(path) as short, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect(short)
            connection.sendall(json.dumps(command).encode() + b"\n")
            with connection.makefile("rb") as lines:
                line = lines.readline()
    except TimeoutError as error:
        raise UsageError(f"the job behind {path} has not answered within {TIMEOUT_S:g} s") from error
    except OSError as error:
        raise UsageError(
            f"no job answers at {path}: is it running, and has it cameras or --control?"
        ) from error
    if not line:
        raise UsageError(f"the job behind {path} has just ended")
    answer = json.loads(line)
    if "error" in answer:
        raise UsageError(answer["error"])
    return list(answer["streams"])


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A thread for each connection."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, control: Control, path: str) -> None:
        self.control = control
        super().__init__(path, _Handler)

    def server_bind(self) -> None:
        """Makes the socket, for its owner only from its first moment on."""
        os.fchmod(self.socket.fileno(), 0o600)
        super().server_bind()


class _Handler(socketserver.StreamRequestHandler):
    """Answers line by line."""

    server: _Server

    def handle(self) -> None:
        """Reads commands until the other side has no more."""
        with contextlib.suppress(OSError):
            while line := self.rfile.readline(MAX_LINE_BYTES):
                self.wfile.write(json.dumps(answer(self.server.control, line)).encode() + b"\n")


def answer(control: Control, line: bytes) -> dict[str, Any]:
    """What comes of one command."""
    try:
        command = json.loads(line)
        if not isinstance(command, dict):
            raise UsageError('a command is an object such as {"do": "list"}')
        return {"streams": [asdict(status) for status in _done(control, command)]}
    except json.JSONDecodeError as error:
        return {"error": f"a command is one line of JSON: {error}", "kind": "UsageError"}
    except PlantainError as error:
        return {"error": redact(str(error)), "kind": type(error).__name__}


def _done(control: Control, command: dict[str, Any]) -> list[StreamStatus]:
    """The streams that a command was about, as they are then."""
    fields = dict(command)
    do = fields.pop("do", None)
    wanted = {
        "list": set(),
        "add": {"stream"},
        "change": {"stream_id", "changes"},
        "pause": {"stream_id"},
        "resume": {"stream_id"},
        "remove": {"stream_id"},
    }
    if do not in wanted or not {*fields} <= wanted[do] | {"drain"} or not wanted[do] <= {*fields}:
        known = "; ".join(
            f"{name} ({', '.join(sorted(with_))})" if with_ else name for name, with_ in wanted.items()
        )
        raise UsageError(f"a command is one of: {known}")
    match do:
        case "list":
            return control.streams()
        case "add":
            return [control.add(stream_of(fields["stream"]))]
        case "change":
            return [control.change(fields["stream_id"], fields["changes"])]
        case "pause":
            return [control.pause(fields["stream_id"])]
        case "resume":
            return [control.resume(fields["stream_id"])]
        case _:
            return [control.remove(fields["stream_id"], drain=bool(fields.get("drain", True)))]


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """`path` in a form that fits into a socket's address, of which 107 bytes are known to the kernel."""
    if len(os.fsencode(path)) < 100:
        yield str(path)
        return
    try:
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        raise UsageError(f"no job answers at {path}: {error.strerror or error}") from error
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _answers(path: str) -> bool:
    """Whether somebody listens there."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
        except OSError:
            return False
    return True
