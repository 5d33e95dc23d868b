"""How commands reach a run: a control in this process, or a socket to one in another process of this machine.

    SocketClient.do -- (number, command, timeout) --> SocketServer --> Here.do --> Control
    SocketClient.do <-- (number, answer or error) --- SocketServer
    SocketClient    -- (number,) --> SocketServer                           takes a command back

`deploy.ray.engine_actor.RayTransport` is the third way. Any number of commands are under way on one connection. One by
socket takes 0.1 to 0.3 ms, a call of a Ray actor 1.5 to 3 (two cores, payloads of 0 to 260 kB, Ray 2.60, 2026-11-22).

Messages are pickled, so both sides talk to processes of their own user only, which the kernel tells. The socket of a
job has a place in the file system (mode 0600); one between processes of a service has none (Linux's abstract names),
so that nothing stays behind a process that was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pickle
import secrets
import socket
import struct
import sys
from collections.abc import Awaitable
from functools import partial
from typing import Any, Protocol, Self, TypeVar, cast

from plantain.operators import errors
from plantain.operators.errors import PlantainError, UsageError
from plantain.operators.redaction import redact
from plantain.pipeline.commands import TIMEOUT_S, Command, EngineDownError, no_answer
from plantain.pipeline.control import Control

# No message is longer; what says so is none of ours.
MAX_BYTES = 1 << 32

A = TypeVar("A")

_HEAD = struct.Struct(">QQ")  # the number of a command, and the bytes that follow; none to take it back
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


class Transport(Protocol):
    """A way to a run."""

    async def do(self, command: Command[A], timeout_s: float = TIMEOUT_S) -> A:
        """What a command is answered; cancelled, it takes the command back.

        Args:
            command: What is said.
            timeout_s: How long to wait, on top of what the command itself may wait for.

        Raises:
            EngineDownError: If the run is starting, busy, ending or gone.
            PlantainError: What the command raises.
        """
        ...


class Here:
    """The way to a control in this process."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def do(self, command: Command[A], timeout_s: float = TIMEOUT_S) -> A:
        """See `Transport`."""
        try:
            async with asyncio.timeout(command.patience_s(timeout_s)):
                return await asyncio.wrap_future(self._control.submit(command, timeout_s))
        except TimeoutError as error:
            raise no_answer(command.patience_s(timeout_s)) from error


# -- answers as bytes --------------------------------------------------------------------------------------------


async def packed(work: Awaitable[object]) -> bytes:
    """What comes of `work`: its answer or its error, for `unpacked`."""
    try:
        return pickle.dumps((await work, None), pickle.HIGHEST_PROTOCOL)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # taken back, or the connection is gone
            raise
        return _packed_error(EngineDownError("the command was given up there"))
    except PlantainError as error:
        return _packed_error(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
        return pickle.dumps((None, (redact(f"{type(error).__name__}: {error}"), [])))


def _packed_error(error: PlantainError) -> bytes:
    """An error as it is and, for whoever cannot read that, as the nearest of `operators.errors`."""
    text = redact(str(error))
    tries = []
    for kind in type(error).__mro__:
        with contextlib.suppress(Exception):
            if kind is type(error):
                tries.append(pickle.dumps(error))
            elif kind.__module__ == errors.__name__:
                tries.append(pickle.dumps(kind(text)))
    return pickle.dumps((None, (text, tries)))


def unpacked(data: bytes) -> Any:
    """An answer.

    Raises:
        PlantainError: What the command raised there.
        RuntimeError: If it raised anything else, or the answer cannot be read here.
    """
    try:
        answer, error = pickle.loads(data)
    except Exception as unreadable:  # noqa: BLE001 - its class may do anything when it is made again
        raise RuntimeError(f"the answer cannot be read: {type(unreadable).__name__}: {unreadable}") from None
    if error is None:
        return answer
    text, tries = error
    for each in tries:
        with contextlib.suppress(Exception):
            found = pickle.loads(each)
            if isinstance(found, PlantainError):
                break
    else:
        raise RuntimeError(text)
    raise found


# -- the socket --------------------------------------------------------------------------------------------------


def has_abstract_sockets() -> bool:
    """Whether sockets on this system can do without a place in the file system."""
    return sys.platform == "linux"


class SocketServer:
    """Takes commands, in the event loop that it was started in.

    Args:
        transport: Where they are passed on to.

    Attributes:
        address: Where it listens.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.address = ""

    async def start(self, address: str = "") -> None:
        """Begins to listen.

        Args:
            address: A path; without one the socket has no place in the file system.

        Raises:
            OSError: If there can be no such socket.
        """
        own = socket.socket(socket.AF_UNIX)  # uvloop knows no abstract names
        os.fchmod(own.fileno(), 0o600)  # for its owner only from its first moment on
        try:
            own.bind(address or f"\0plantain-{secrets.token_hex(16)}")
        except OSError:
            own.close()
            raise
        self.address = address or own.getsockname().decode()
        self._server = await asyncio.start_unix_server(self._serve, sock=own)

    async def close(self) -> None:
        """Listens no more, and ends what is under way."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until its other side closes it or dies; its commands end with it."""
        tasks: dict[int, asyncio.Task[None]] = {}
        connection = cast("asyncio.Task[None]", asyncio.current_task())
        self._connections.add(connection)
        try:
            while _is_of_same_user(writer):
                number, data = await _receive(reader)
                if data:
                    task = tasks[number] = asyncio.create_task(self._answer(writer, number, data))
                    task.add_done_callback(partial(_forget, tasks, number))
                elif number in tasks:
                    tasks[number].cancel()
        except (EOFError, OSError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(connection)
            under_way = list(tasks.values())
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, number: int, data: bytes) -> None:
        answer = await packed(self._do(data))
        with contextlib.suppress(OSError):
            await _send(writer, number, answer)

    async def _do(self, data: bytes) -> object:
        try:
            command, timeout_s = pickle.loads(data)
        except Exception as error:
            raise UsageError(f"this command is not known here ({error}): is it another version?") from error
        return await self._transport.do(command, timeout_s)


class SocketClient:
    """The way to a server of this machine; `open` makes one. To be used in one event loop.

    Attributes:
        is_open: False once the other side is gone; what is under way then fails.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self.is_open = True
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def open(cls, address: str) -> Self:
        """Connects to a server.

        Raises:
            OSError: If there is none.
            ConnectionError: If it is another user's.
        """
        own = socket.socket(socket.AF_UNIX)
        try:
            own.connect(address)
        except OSError:
            own.close()
            raise
        reader, writer = await asyncio.open_unix_connection(sock=own)
        if not _is_of_same_user(writer):
            writer.close()
            await writer.wait_closed()
            raise ConnectionRefusedError("another user listens there")
        return cls(reader, writer)

    async def do(self, command: Command[A], timeout_s: float = TIMEOUT_S) -> A:
        """See `Transport`.

        Raises:
            ConnectionError: If the other side dies before it has answered.
        """
        if not self.is_open:
            raise ConnectionResetError("the other side is gone")
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(command.patience_s(timeout_s)):
                message = pickle.dumps((command, timeout_s), pickle.HIGHEST_PROTOCOL)
                await _send(self._writer, number, message)
                return cast("A", unpacked(await answer))
        except asyncio.CancelledError:
            self._take_back(number)
            raise
        except TimeoutError as error:
            self._take_back(number)
            raise no_answer(command.patience_s(timeout_s)) from error
        finally:
            del self._waiting[number]

    async def close(self) -> None:
        """Ends the connection; what is under way is taken back."""
        self._writer.close()
        await self._listening

    def _take_back(self, number: int) -> None:
        if self.is_open:
            self._writer.write(_HEAD.pack(number, 0))

    async def _listen(self) -> None:
        try:
            while True:
                number, data = await _receive(self._reader)
                answer = self._waiting.get(number)
                if answer is not None and not answer.done():  # not taken back
                    answer.set_result(data)
        except (EOFError, OSError):
            pass
        finally:
            self.is_open = False
            self._writer.close()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(ConnectionResetError("the other side is gone"))


def _forget(tasks: dict[int, asyncio.Task[None]], number: int, _: asyncio.Task[None]) -> None:
    del tasks[number]


async def _receive(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The next message.

    Raises:
        EOFError: If the other side is gone, or is none of ours.
    """
    number, length = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    if length > MAX_BYTES:
        raise EOFError
    return number, await reader.readexactly(length)


async def _send(writer: asyncio.StreamWriter, number: int, data: bytes) -> None:
    """Sends a message, and waits where the other side is behind."""
    writer.writelines((_HEAD.pack(number, len(data)), data))
    await writer.drain()


def _is_of_same_user(writer: asyncio.StreamWriter) -> bool:
    """Whether the process at the other end belongs to our user; where nobody tells, the socket's mode sees to it."""
    if sys.platform != "linux":
        return True
    connection: socket.socket = writer.get_extra_info("socket")
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(told)[1] == os.geteuid())
