"""The Python client: sync and async give the same, come back when they are asked to, and name what was refused."""

from __future__ import annotations

import asyncio
import inspect
import io
import threading
import time
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from PIL import Image

from plantain.deploy.client import AsyncClient, Client, ServiceError
from plantain.pipeline.config import check
from tests.gateways import StepGateway
from tests.serving import jpeg, served

CONFIG = check(
    {
        "streams": [],
        "model": {"name": "fake", "canvas": {"width": 128, "height": 96}},
        "serve": {"token": "t" * 20},
    },
    may_be_idle=True,
)
STREET = "synthetic://street?seed=1"


@pytest.fixture(scope="module")
def gateway() -> StepGateway:
    return StepGateway(CONFIG)


@pytest.fixture(scope="module")
def base(gateway) -> Iterator[str]:
    with served(CONFIG, gateway) as base:
        yield base


@pytest.fixture
def plantain(base) -> Iterator[Client]:
    with Client(base, "t" * 20, patience_s=20) as plantain:
        yield plantain
        for stream in plantain.streams():
            plantain.remove_stream(stream.id)


def test_pictures_and_clips_are_asked(plantain, tmp_path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(jpeg())
    for picture in (jpeg(), file):
        (frame,) = plantain.predict(["instances:car", "depth"], image=picture).frames
        assert frame.answers[0].objects[0].rle.size == (180, 320)
    assert Image.open(io.BytesIO(plantain.draw("depth", "image/png", image=jpeg()))).size == (320, 180)
    depth = plantain.draw("depth", "application/x-npy", image=jpeg(), resolution="model")
    assert np.load(io.BytesIO(depth)).shape == (72, 128)
    with pytest.raises(ValueError, match="one of"):
        plantain.predict(["depth"], image=jpeg(), clip=b"")
    with pytest.raises(ServiceError, match="only generate:"):
        plantain.predict(["depth"])


def test_streams_are_managed(plantain) -> None:
    names = [f"cam{k:03d}" for k in range(120)]
    for name in names:
        plantain.add_stream(name, STREET, ["depth"], fps=2)
    assert [stream.id for stream in plantain.streams()] == names
    assert plantain.change_stream("cam000", prompts=["normals"], paused=True).paused
    assert plantain.stream("cam000").prompts == ["normals"]
    assert plantain.query("cam000", ["depth"]).frames[0].stream_id == "cam000"
    assert plantain.events() == []
    assert any(model.is_serving for model in plantain.models().items)


def test_a_watch_gives_matches(plantain, gateway) -> None:
    plantain.add_stream("north", STREET, ["depth"])
    gateway.pictures["north"] = 255
    matches = plantain.watch("north", ["instances:car"], every_s=0.1)
    assert next(matches).is_there
    gateway.pictures["north"] = -1
    assert not next(matches).is_there
    gateway.pictures["north"] = 255
    assert [match.is_there for match in plantain.watch("north", ["instances:car"], once=True)] == [True]


def test_what_is_refused_is_named(plantain, base) -> None:
    with pytest.raises(ServiceError, match="dept") as refused:
        plantain.predict(["dept"], image=jpeg())
    assert refused.value.status == 422
    with pytest.raises(ServiceError) as missing:
        next(plantain.watch("north", ["depth"]))
    assert missing.value.status == 404
    with Client(base, "wrong") as stranger, pytest.raises(ServiceError) as locked:
        stranger.streams()
    assert locked.value.status == 401


def test_it_comes_back_when_it_is_asked_to(plantain, gateway, monkeypatch) -> None:
    monkeypatch.setattr(gateway, "is_down", True)
    threading.Timer(1.0, lambda: setattr(gateway, "is_down", False)).start()
    begun = time.monotonic()
    assert plantain.predict(["depth"], image=jpeg()).frames
    assert time.monotonic() - begun >= 1.0


def test_it_does_not_come_back_for_ever(base, gateway, monkeypatch) -> None:
    monkeypatch.setattr(gateway, "is_down", True)
    with Client(base, "t" * 20, patience_s=0.5) as plantain, pytest.raises(ServiceError) as refused:
        plantain.wait_until_ready()
    assert refused.value.status == 503


def test_a_request_whose_answer_was_lost_is_not_sent_again() -> None:
    sent = []

    def lose(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        raise httpx.ReadError("the line is cut")

    transport = httpx.MockTransport(lose)
    with (
        Client("http://nowhere", transport=transport) as plantain,
        pytest.raises(ServiceError, match="reached"),
    ):
        plantain.add_stream("a", STREET, ["depth"])
    assert len(sent) == 1


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, str]:
        return {
            name: str(inspect.signature(method)).replace("AsyncIterator", "Iterator")
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    assert methods(Client) == methods(AsyncClient)


def test_the_async_client_does_the_same(base, gateway) -> None:
    async def work() -> None:
        async with AsyncClient(base, "t" * 20) as plantain:
            await plantain.wait_until_ready()
            many = [plantain.predict(["depth"], image=jpeg(k)) for k in range(8)]
            assert all(answers.frames for answers in await asyncio.gather(*many))
            await plantain.add_stream("south", STREET, ["depth"])
            gateway.pictures["south"] = 255
            async for match in plantain.watch("south", ["instances:car"], once=True):
                assert match.is_there
            assert [stream.id for stream in await plantain.streams()] == ["south"]
            assert (await plantain.query("south", ["depth"])).frames
            assert (await plantain.change_stream("south", paused=True)).paused
            assert (await plantain.stream("south")).paused
            assert (await plantain.draw("depth", "image/png", image=jpeg()))[:4] == b"\x89PNG"
            assert await plantain.events() == []
            assert (await plantain.models()).items
            assert (await plantain.remove_stream("south")).id == "south"
            with pytest.raises(ServiceError):
                await plantain.stream("south")

    asyncio.run(work())
