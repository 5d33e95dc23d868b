"""The socket of a running job: what `plantain streams` speaks to."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from plantain.deploy.transport import Here, SocketClient, SocketServer
from plantain.operators.errors import UsageError
from plantain.operators.redaction import redact
from plantain.pipeline.commands import Command
from plantain.pipeline.control import Control

NAME = "control.sock"

A = TypeVar("A")


def socket_of(out: str) -> Path:
    """Where a job that writes to the folder `out` has its socket.

    Raises:
        UsageError: If that is no local folder.
    """
    if "://" in out and not out.startswith("file://"):
        raise UsageError(f"{redact(out)} is no local folder; say where the socket is with --control")
    return Path(out.removeprefix("file://")) / ".plantain" / NAME


@contextmanager
def listening(control: Control, path: Path) -> Iterator[None]:
    """Takes commands for a control at `path` until the end of the block.

    Raises:
        UsageError: If another job answers there, or no socket can be made.
    """
    loop, server = asyncio.new_event_loop(), SocketServer(Here(control))
    thread = threading.Thread(target=loop.run_forever, name="plantain-control", daemon=True)
    thread.start()
    try:
        _begin(server, path, loop)
        yield
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        if server.address:
            path.unlink(missing_ok=True)


def _begin(server: SocketServer, path: Path, loop: asyncio.AbstractEventLoop) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _short(path) as short:
            if _answers(short):
                raise UsageError(f"another job is controlled through {path}; choose another --control")
            path.unlink(missing_ok=True)
            asyncio.run_coroutine_threadsafe(server.start(short), loop).result()
    except OSError as error:
        raise UsageError(f"no socket can be made at {path}: {error.strerror or error}") from error


def tell(path: Path, command: Command[A]) -> A:
    """What the job behind a socket answers to a command.

    Raises:
        UsageError: If no job answers there.
        PlantainError: What the command raises.
    """
    return asyncio.run(_tell(path, command))


async def _tell(path: Path, command: Command[A]) -> A:
    try:
        with _short(path) as short:
            client = await SocketClient.open(short)
    except OSError as error:
        raise UsageError(
            f"no job answers at {path}: is it running, as your user, and has it cameras or --control?"
        ) from error
    try:
        return await client.do(command)
    except ConnectionError as error:
        raise UsageError(f"the job behind {path} has just ended") from error
    finally:
        await client.close()


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """`path` in a form that fits into a socket's address, of which 107 bytes are known to the kernel."""
    if len(os.fsencode(path)) < 100:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
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
