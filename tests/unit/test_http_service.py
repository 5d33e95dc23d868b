"""The parts of the Ray service that need no Ray: what it is built from, how a configuration is replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from plantain.deploy.job import run_job
from plantain.deploy.ray import engine_actor
from plantain.deploy.ray.engine_actor import EngineActor
from plantain.deploy.ray.service import build
from plantain.operators.errors import UsageError
from plantain.pipeline.commands import Add, Ready, Streams
from plantain.pipeline.config import PipelineConfig, StreamConfig, check
from plantain.pipeline.control import Control
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.executor import ThreadExecutor

TOKEN = "correct horse battery staple"


def run_threads(config: PipelineConfig, control: Control, show: Callable[[Engine], None]) -> object:
    return run_job(config, control=control, executor=ThreadExecutor(), on_progress=show)


def write(tmp_path: Path, **serve: object) -> dict[str, str]:
    path = tmp_path / "serve.yaml"
    settings = {"model": {"name": "fake"}, "output": {"out": str(tmp_path / "out")}, "serve": serve}
    path.write_text(yaml.safe_dump(settings))
    return {"config": str(path)}


def test_on_a_cluster_it_is_not_built_without_a_token(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"serve\.token"):
        build(write(tmp_path))
    assert build(write(tmp_path, token=TOKEN, replicas=3))


def test_a_file_with_another_content_is_another_revision(tmp_path) -> None:
    assert build({**write(tmp_path, token=TOKEN), "revision": "2"})


@pytest.mark.parametrize("args", [{}, {"config": "a", "more": "b"}, {"conf": "a"}, {"revision": "1"}])
def test_it_is_built_from_a_file_only(args: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="config"):
        build(args)


def test_another_configuration_takes_over_and_the_streams_go_on(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(engine_actor, "run_on_ray", run_threads)
    settings = {
        "streams": [], "model": {"name": "fake", "canvas": {"width": 64, "height": 48}},
        "output": {"out": str(tmp_path)},
    }  # fmt: skip
    first = check(settings, may_be_idle=True)
    second = check({**settings, "batch": {"max_wait_ms": 1}}, may_be_idle=True)
    (tmp_path / "file").touch()
    impossible = check({**settings, "output": {"out": str(tmp_path / "file")}}, may_be_idle=True)
    street = StreamConfig(
        id="street", url="synthetic://street?width=64&height=48&frames=9999", prompts=("depth",), fps=1
    )

    async def until_ready(actor: EngineActor) -> None:
        while (await actor.do(Ready())).trouble:  # noqa: ASYNC110 - the engine's thread knows no event of ours
            await asyncio.sleep(0.05)

    async def work(actor: EngineActor) -> None:
        await until_ready(actor)
        await actor.do(Add(street, paused=True))
        await actor.configure(first, 1)
        assert not (await actor.do(Ready())).trouble, "the same configuration changes nothing"
        await actor.configure(second, 3)
        await until_ready(actor)
        (status,) = await actor.do(Streams())
        assert (status.stream_id, status.phase, status.asked_fps) == ("street", "paused", 1)
        await actor.configure(first, 2)
        assert not (await actor.do(Ready())).trouble, "a replica of an older deployment changes nothing"
        await actor.configure(impossible, 4)
        await until_ready(actor)
        assert [each.stream_id for each in await actor.do(Streams())] == ["street"]

    async def work_and_close() -> None:
        actor = EngineActor(first)
        try:
            await work(actor)
        finally:
            await actor.close()

    asyncio.run(asyncio.wait_for(work_and_close(), 120))
