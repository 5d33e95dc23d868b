"""Calls between processes of one machine, and when the gateway makes them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.exceptions import RayActorError

from plantain.deploy import local_calls
from plantain.deploy.local_calls import CallClient, CallServer, has_local_calls
from plantain.deploy.ray import engine_actor
from plantain.deploy.ray.engine_actor import RayGateway
from plantain.deploy.service.problems import EngineDownError
from plantain.operators.errors import UsageError
from plantain.pipeline.config import PipelineConfig, check

pytestmark = pytest.mark.skipif(not has_local_calls(), reason="abstract sockets are Linux's")

TIMEOUT_S = 20.0
MADE_NS = 7


class Doer:
    """What is done at the other end."""

    def __init__(self) -> None:
        self.taken_back: list[Any] = []

    async def __call__(self, name: str, *arguments: Any, **options: Any) -> Any:
        match name:
            case "say":
                return arguments, options
            case "wait":
                try:
                    await asyncio.sleep(arguments[0])
                except asyncio.CancelledError:
                    self.taken_back.append(arguments[0])
                    raise
                return arguments[0]
            case "refuse":
                raise UsageError("not like this")
            case "give up":
                raise asyncio.CancelledError
            case "fail":
                raise TimeoutError("a fault of its own")
            case "keep":
                return lambda: None  # nothing that could be sent


def talked(talk: Callable[[CallServer, CallClient, Doer], Awaitable[None]]) -> None:
    """Runs a talk between a server and a client."""

    async def work() -> None:
        doer = Doer()
        server = CallServer(doer)
        await server.start()
        client = await CallClient.open(server.address)
        try:
            await talk(server, client, doer)
        finally:
            await client.close()
            server.close()

    asyncio.run(asyncio.wait_for(work(), TIMEOUT_S))


def test_a_call_gives_what_it_comes_to_however_large_it_is() -> None:
    async def talk(_: CallServer, client: CallClient, __: Doer) -> None:
        assert await client.call("say", 1, two=2) == ((1,), {"two": 2})
        pixels = np.random.default_rng(0).integers(0, 255, (16, 1080, 1920), np.uint8)
        (back,), _options = await client.call("say", pixels)
        assert np.array_equal(back, pixels)

    talked(talk)


def test_calls_do_not_wait_for_each_other() -> None:
    async def talk(_: CallServer, client: CallClient, __: Doer) -> None:
        slow = asyncio.create_task(client.call("wait", 30.0))
        assert await asyncio.gather(*(client.call("wait", 0.001 * k) for k in range(20))) == [
            0.001 * k for k in range(20)
        ]
        assert not slow.done()
        slow.cancel()

    talked(talk)


def test_errors_come_back_as_what_they_are() -> None:
    async def talk(_: CallServer, client: CallClient, __: Doer) -> None:
        with pytest.raises(UsageError, match="not like this"):
            await client.call("refuse")
        with pytest.raises(RuntimeError, match=r"keep: .*pickle"):
            await client.call("keep")
        with pytest.raises(RuntimeError, match="fail: TimeoutError: a fault of its own"):
            await client.call("fail")
        with pytest.raises(ConnectionError, match="given up there"):
            await client.call("give up")
        assert await client.call("say") == ((), {})

    talked(talk)


def test_a_call_whose_caller_is_cancelled_is_taken_back() -> None:
    async def talk(_: CallServer, client: CallClient, doer: Doer) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.call("wait", 30.0), 0.2)
        await client.call("say")  # behind the word that takes it back
        assert doer.taken_back == [30.0]

    talked(talk)


def test_calls_end_with_the_connection_that_they_came_by() -> None:
    async def talk(server: CallServer, client: CallClient, doer: Doer) -> None:
        calls = [asyncio.create_task(client.call("wait", 30.0 + k)) for k in range(3)]
        await client.call("say")
        await client.close()
        for call in calls:
            with pytest.raises(ConnectionError):
                await call
        with pytest.raises(ConnectionError):
            await client.call("say")
        other = await CallClient.open(server.address)
        await other.call("say")
        assert doer.taken_back == [30.0, 31.0, 32.0]
        await other.close()

    talked(talk)


SERVING = """
import asyncio
from plantain.deploy.local_calls import CallServer

async def wait(name, seconds):
    await asyncio.sleep(seconds)

async def work():
    server = CallServer(wait)
    await server.start()
    print(repr(server.address), flush=True)
    await asyncio.sleep(60)

asyncio.run(work())
"""


def test_a_call_of_a_process_that_is_killed_fails_at_once_and_leaves_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", SERVING], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None

    async def work() -> None:
        address = eval(process.stdout.readline())
        client = await CallClient.open(address)
        call = asyncio.create_task(client.call("wait", 30.0))
        await asyncio.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(call, 5.0)
        assert not client.is_open
        process.wait()
        with pytest.raises(ConnectionError):
            await CallClient.open(address)

    try:
        asyncio.run(asyncio.wait_for(work(), TIMEOUT_S))
    finally:
        process.kill()
        process.stdout.close()


@pytest.mark.parametrize("side", ["client", "server"])
def test_nobody_talks_to_another_users_process(monkeypatch, side: str) -> None:
    async def work() -> None:
        server = CallServer(Doer())
        await server.start()
        own = os.geteuid()
        if side == "client":
            monkeypatch.setattr(local_calls.os, "geteuid", lambda: own + 1)
            with pytest.raises(ConnectionRefusedError, match="another user"):
                await CallClient.open(server.address)
        else:
            client = await CallClient.open(server.address)
            monkeypatch.setattr(local_calls.os, "geteuid", lambda: own + 1)
            with pytest.raises(ConnectionError):
                await client.call("say")
        server.close()
        await asyncio.sleep(0.05)  # for its connection to close

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


class Handle:
    """An engine's actor, as its handle shows it; on a machine of its own, or beside us."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.said: list[str] = []
        self.server = CallServer(self._near)
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

    async def _near(self, name: str, *_: Any) -> str:
        return f"near {name}"

    async def _far(self, name: str, *_: Any) -> str:
        return f"far {name}"


@pytest.fixture
def gateway(monkeypatch) -> Callable[[Handle], RayGateway]:
    def make(handle: Handle) -> RayGateway:
        monkeypatch.setattr(engine_actor, "engine_actor", lambda _: handle)
        here = SimpleNamespace(get_node_id=lambda: "here")
        monkeypatch.setattr(engine_actor.ray, "get_runtime_context", lambda: here)
        return RayGateway(check({"streams": [], "model": {"name": "fake"}}, may_be_idle=True), MADE_NS)

    return make


async def ended(asked: RayGateway, handle: Handle) -> None:
    """Closes what they have opened."""
    if asked._calls is not None:
        await asked._calls.close()
    handle.server.close()
    await asyncio.sleep(0.05)


@pytest.mark.parametrize(("node", "answer"), [("here", "near figures"), ("elsewhere", "far figures")])
def test_an_engine_is_asked_by_the_socket_only_on_its_own_machine(gateway, node: str, answer: str) -> None:
    async def work() -> None:
        handle = Handle(node)
        asked = gateway(handle)
        assert await asyncio.gather(*(asked.figures() for _ in range(5))) == [answer] * 5
        assert handle.met == [MADE_NS, MADE_NS], "when it was made, and when it was first asked"
        asked.greet()
        assert len(handle.met) == (2 if node == "here" else 3), "only a connection shows that it still lives"
        await ended(asked, handle)

    asyncio.run(asyncio.wait_for(work(), TIMEOUT_S))


def test_an_engine_that_died_is_found_again_wherever_it_is(gateway) -> None:
    async def work() -> None:
        handle = Handle("here")
        asked = gateway(handle)
        assert await asked.figures() == "near figures"
        await asked._calls.close()
        handle.server.close()
        handle.server = CallServer(handle._near)
        assert await asked.figures() == "near figures"
        await asked._calls.close()
        handle.node = "elsewhere"
        assert await asked.figures() == "far figures"

        async def dead(*_: Any) -> str:
            raise RayActorError

        handle.call.remote = dead
        with pytest.raises(EngineDownError, match="is being started again"):
            await asked.figures()
        handle.node = "here"
        assert await asked.figures() == "near figures"
        assert handle.met == [MADE_NS] * 5, "and whenever it was looked for: it has to hear what is to run"
        await ended(asked, handle)

    asyncio.run(asyncio.wait_for(work(), TIMEOUT_S))
