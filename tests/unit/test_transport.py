"""Commands between processes of one machine, and when a replica says them so."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.exceptions import RayActorError

from plantain.deploy import transport
from plantain.deploy.ray import engine_actor
from plantain.deploy.ray.engine_actor import RayTransport
from plantain.deploy.transport import SocketClient, SocketServer, has_abstract_sockets, packed
from plantain.operators.errors import ModelBusyError, PlantainError, UsageError
from plantain.pipeline.commands import Ask, Command, EngineDownError, Figures, Listen, Ready, Remove
from plantain.pipeline.config import PipelineConfig, check

pytestmark = pytest.mark.skipif(not has_abstract_sockets(), reason="abstract sockets are Linux's")

TIMEOUT_S = 20.0
MADE_NS = 7


class StubbornError(PlantainError):
    """An error that can be packed, and not unpacked."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}, since {why}")


class StubbornUsageError(UsageError):
    """As `StubbornError`; whoever cannot read it can still know that it is a mistake of the user."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}, since {why}")


class StubbornBusyError(ModelBusyError):
    """One that cannot even be packed."""

    def __init__(self) -> None:
        super().__init__("too many at a time")
        self.lock = lambda: None


class Bomb:
    """An answer, or a command's argument, that cannot be unpacked."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("not a number",)


REFUSALS: dict[str, Callable[[], BaseException]] = {
    "usage": lambda: UsageError("not like this"),
    "stubborn": lambda: StubbornError("no", "it is late"),
    "stubborn usage": lambda: StubbornUsageError("no", "it is late"),
    "stubborn busy": StubbornBusyError,
    "given up": asyncio.CancelledError,
    "fault": lambda: TimeoutError("a fault of its own"),
    "secret fault": lambda: OSError("rtsp://me:hunter2@camera/ is not there"),
}


class Doer:
    """What is done at the other end."""

    def __init__(self) -> None:
        self.taken_back: list[float] = []
        self.waits: list[float] = []

    async def do(self, command: Command[Any], timeout_s: float = 30.0) -> Any:
        self.waits.append(timeout_s)
        match command:
            case Ask(frames=frames):
                return frames
            case Listen(wait_s=wait_s):
                try:
                    await asyncio.sleep(wait_s)
                except asyncio.CancelledError:
                    self.taken_back.append(wait_s)
                    raise
                return [wait_s]
            case Remove("slow"):
                return await self.do(Listen(wait_s=31.0))
            case Remove("unpackable"):
                return lambda: None
            case Remove("bomb"):
                return Bomb()
            case Remove(name):
                raise REFUSALS[name]()


def said(payload: object) -> Ask:
    """A command that is answered with what it holds."""
    return Ask(payload, ())  # type: ignore[arg-type]


def talked(talk: Callable[[SocketServer, SocketClient, Doer], Awaitable[None]]) -> None:
    """Runs a talk between a server and a client."""

    async def work() -> None:
        doer = Doer()
        server = SocketServer(doer)
        await server.start()
        client = await SocketClient.open(server.address)
        try:
            await talk(server, client, doer)
        finally:
            await client.close()
            await server.close()

    asyncio.run(asyncio.wait_for(work(), TIMEOUT_S))


def test_a_command_gives_what_it_comes_to_however_large_it_is() -> None:
    async def talk(_: SocketServer, client: SocketClient, doer: Doer) -> None:
        assert await client.do(said((1, {"two": 2})), 7.0) == (1, {"two": 2})
        assert doer.waits == [7.0], "how long the caller waits travels with the command"
        pixels = np.random.default_rng(0).integers(0, 255, (16, 1080, 1920), np.uint8)
        assert np.array_equal(await client.do(said(pixels)), pixels)

    talked(talk)


def test_commands_do_not_wait_for_each_other() -> None:
    async def talk(_: SocketServer, client: SocketClient, __: Doer) -> None:
        slow = asyncio.create_task(client.do(Listen(wait_s=30.0)))
        waits = [0.001 * k for k in range(20)]
        assert await asyncio.gather(*(client.do(Listen(wait_s=each)) for each in waits)) == [
            [each] for each in waits
        ]
        assert not slow.done()
        slow.cancel()

    talked(talk)


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("usage", UsageError, "not like this"),
        ("stubborn", PlantainError, "no, since it is late"),
        ("stubborn usage", UsageError, "no, since it is late"),
        ("stubborn busy", ModelBusyError, "too many at a time"),
        ("given up", EngineDownError, "given up there"),
        ("fault", RuntimeError, "TimeoutError: a fault of its own"),
        ("unpackable", RuntimeError, "pickle"),
        ("bomb", RuntimeError, "the answer cannot be read: ValueError"),
    ],
)
def test_what_goes_wrong_with_one_command_is_told_as_what_it_is_and_the_others_go_on(
    name, kind, text
) -> None:
    async def talk(_: SocketServer, client: SocketClient, doer: Doer) -> None:
        other = asyncio.create_task(client.do(Listen(wait_s=0.3)))
        with pytest.raises(kind, match=text) as caught:
            await client.do(Remove(name))
        assert isinstance(caught.value, PlantainError) == issubclass(kind, PlantainError)
        assert await other == [0.3]
        assert await client.do(said(1)) == 1
        assert client.is_open

    talked(talk)


def test_faults_hold_no_secret() -> None:
    async def talk(_: SocketServer, client: SocketClient, __: Doer) -> None:
        with pytest.raises(RuntimeError, match="camera") as caught:
            await client.do(Remove("secret fault"))
        assert "hunter2" not in str(caught.value)

    talked(talk)


def test_a_command_that_cannot_be_read_is_refused_and_the_connection_stays() -> None:
    async def talk(_: SocketServer, client: SocketClient, __: Doer) -> None:
        other = asyncio.create_task(client.do(Listen(wait_s=0.3)))
        with pytest.raises(UsageError, match="not known here"):
            await client.do(said(Bomb()))
        with pytest.raises((AttributeError, pickle.PicklingError)):
            await client.do(said(lambda: None))
        assert await other == [0.3]

    talked(talk)


def test_what_is_none_of_ours_ends_its_connection_and_no_other() -> None:
    async def talk(server: SocketServer, client: SocketClient, __: Doer) -> None:
        for nonsense in (b'{"do": "list"}' + b" " * 100, b"\xff" * 16, b"\0" * 16, b"x"):
            with socket.socket(socket.AF_UNIX) as line:
                line.connect(server.address)
                line.sendall(nonsense)
                line.shutdown(socket.SHUT_WR)
                line.settimeout(5.0)
                assert await asyncio.to_thread(line.recv, 1) == b""
        assert await client.do(said(1)) == 1

    talked(talk)


def test_a_command_whose_caller_is_cancelled_is_taken_back() -> None:
    async def talk(_: SocketServer, client: SocketClient, doer: Doer) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.do(Listen(wait_s=30.0)), 0.2)
        await client.do(said(1))  # behind the word that takes it back
        assert doer.taken_back == [30.0]
        with pytest.raises(EngineDownError, match=r"not answered within 0\.2 s"):
            await client.do(Remove("slow", wait_s=0.1), 0.1)
        await client.do(said(1))
        assert doer.taken_back == [30.0, 31.0]

    talked(talk)


def test_commands_end_with_the_connection_that_they_came_by() -> None:
    async def talk(server: SocketServer, client: SocketClient, doer: Doer) -> None:
        calls = [asyncio.create_task(client.do(Listen(wait_s=30.0 + k))) for k in range(3)]
        await client.do(said(1))
        await client.close()
        for call in calls:
            with pytest.raises(ConnectionError):
                await call
        with pytest.raises(ConnectionError):
            await client.do(said(1))
        other = await SocketClient.open(server.address)
        await other.do(said(1))
        assert doer.taken_back == [30.0, 31.0, 32.0]
        await other.close()

    talked(talk)


SERVING = """
import asyncio
from plantain.deploy.transport import SocketServer

class Waiting:
    async def do(self, command, timeout_s):
        await asyncio.sleep(timeout_s)

async def work():
    server = SocketServer(Waiting())
    await server.start()
    print(repr(server.address), flush=True)
    await asyncio.sleep(60)

asyncio.run(work())
"""


def test_a_command_to_a_process_that_is_killed_fails_at_once_and_leaves_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", SERVING], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None

    async def work() -> None:
        address = eval(process.stdout.readline())
        client = await SocketClient.open(address)
        call = asyncio.create_task(client.do(Ready(), 30.0))
        await asyncio.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(call, 5.0)
        assert not client.is_open
        process.wait()
        with pytest.raises(ConnectionError):
            await SocketClient.open(address)

    try:
        asyncio.run(asyncio.wait_for(work(), TIMEOUT_S))
    finally:
        process.kill()
        process.stdout.close()


@pytest.mark.parametrize("side", ["client", "server"])
def test_nobody_talks_to_another_users_process(monkeypatch, side: str) -> None:
    async def work() -> None:
        server = SocketServer(Doer())
        await server.start()
        own = os.geteuid()
        if side == "client":
            monkeypatch.setattr(transport.os, "geteuid", lambda: own + 1)
            with pytest.raises(ConnectionRefusedError, match="another user"):
                await SocketClient.open(server.address)
        else:
            client = await SocketClient.open(server.address)
            monkeypatch.setattr(transport.os, "geteuid", lambda: own + 1)
            with pytest.raises(ConnectionError):
                await client.do(said(1))
            await client.close()
        await server.close()

    asyncio.run(asyncio.wait_for(work(), TIMEOUT_S))


class Method:
    """A method of an actor's handle."""

    def __init__(self, do: Callable[..., Awaitable[Any]]) -> None:
        self.remote = do


class Reference:
    """What a call comes to, for whoever wants to know."""

    def __init__(self, answer: Callable[[], Awaitable[Any]]) -> None:
        self._answer = answer

    def __await__(self) -> Iterator[Any]:
        return self._answer().__await__()


class Answers:
    """An engine that says where it is."""

    def __init__(self, where: str) -> None:
        self._where = where

    async def do(self, command: Command[Any], timeout_s: float = 30.0) -> Any:
        if isinstance(command, Remove):
            raise StubbornUsageError(self._where, "it must be")
        return self._where


class Handle:
    """An engine's actor, as its handle shows it; on a machine of its own, or beside us."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.said: list[str] = []
        self.server = SocketServer(Answers("near"))
        self.meet, self.call = Method(self._meet), Method(self._far)
        self.met: list[int] = []

    def _meet(self, config: PipelineConfig, made_ns: int) -> Reference:
        assert config.model.name == "fake"
        self.met.append(made_ns)
        return Reference(self._where)

    async def _where(self) -> tuple[str, str]:
        if not self.server.address:
            await self.server.start()
        return self.node, self.server.address

    def _far(self, command: Command[Any], timeout_s: float) -> Reference:
        return Reference(lambda: packed(Answers("far").do(command, timeout_s)))


@pytest.fixture
def reach(monkeypatch) -> Callable[[Handle], RayTransport]:
    def make(handle: Handle) -> RayTransport:
        monkeypatch.setattr(engine_actor, "engine_actor", lambda _: handle)
        here = SimpleNamespace(get_node_id=lambda: "here")
        monkeypatch.setattr(engine_actor.ray, "get_runtime_context", lambda: here)
        return RayTransport(check({"streams": [], "model": {"name": "fake"}}, may_be_idle=True), MADE_NS)

    return make


async def ended(asked: RayTransport, handle: Handle) -> None:
    """Closes what they have opened."""
    if asked._socket is not None:
        await asked._socket.close()
    await handle.server.close()


@pytest.mark.parametrize(("node", "answer"), [("here", "near"), ("elsewhere", "far")])
def test_an_engine_is_asked_by_the_socket_only_on_its_own_machine(reach, node: str, answer: str) -> None:
    async def work() -> None:
        handle = Handle(node)
        asked = reach(handle)
        assert await asyncio.gather(*(asked.do(Figures()) for _ in range(5))) == [answer] * 5
        assert handle.met == [MADE_NS, MADE_NS], "when it was made, and when it was first asked"
        with pytest.raises(UsageError, match="since it must be"):
            await asked.do(Remove("x"))
        asked.greet()
        assert len(handle.met) == (2 if node == "here" else 3), "only a connection shows that it still lives"
        await ended(asked, handle)

    asyncio.run(asyncio.wait_for(work(), TIMEOUT_S))


def test_an_engine_that_died_is_found_again_wherever_it_is(reach) -> None:
    async def work() -> None:
        handle = Handle("here")
        asked = reach(handle)
        assert await asked.do(Figures()) == "near"
        await asked._socket.close()
        await handle.server.close()
        handle.server = SocketServer(Answers("near"))
        assert await asked.do(Figures()) == "near"
        await asked._socket.close()
        handle.node = "elsewhere"
        assert await asked.do(Figures()) == "far"

        async def dead(*_: Any) -> str:
            raise RayActorError

        handle.call.remote = dead
        with pytest.raises(EngineDownError, match="is being started again"):
            await asked.do(Figures())
        handle.node = "here"
        assert await asked.do(Figures()) == "near"
        assert handle.met == [MADE_NS] * 5, "and whenever it was looked for: it has to hear what is to run"
        await ended(asked, handle)

    asyncio.run(asyncio.wait_for(work(), TIMEOUT_S))
