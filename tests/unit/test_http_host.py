"""The engine of a service in its own process: streams that last, faults that are survived, views that end."""

from __future__ import annotations

import asyncio
import io
import json
import re
import stat
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from plantain.deploy import metrics
from plantain.deploy.job import run_job
from plantain.deploy.service import host as host_module
from plantain.deploy.service.definitions import NAME
from plantain.deploy.service.host import EngineHost
from plantain.operators.answers.masks.value import Masks
from plantain.operators.errors import SinkError, UsageError
from plantain.operators.prompts import Prompt
from plantain.operators.render.looks import Look
from plantain.operators.sinks.parquet.reading import read_frames
from plantain.operators.sources.sequence import Picture, frame_of
from plantain.operators.types import Header
from plantain.pipeline import runner
from plantain.pipeline import views as views_module
from plantain.pipeline.commands import (
    Add,
    Ask,
    AskStream,
    Change,
    ConflictError,
    EngineDownError,
    Figures,
    Listen,
    Pause,
    Remove,
    Resume,
    Status,
    Streams,
    Watch,
)
from plantain.pipeline.config import PipelineConfig, StreamConfig, check
from plantain.pipeline.control import Control, UnknownStreamError
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.executor import ThreadExecutor
from plantain.pipeline.video import view_of
from tests.assets.clips import make, numbered
from tests.recording import RecordingModel
from tests.serving import eventually

DEPTH, CARS = Prompt.parse("depth"), Prompt.parse("instances:car")


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("clips") / "good.mp4", 50, size=(128, 96))


def config(out: Path, streams: list[dict[str, Any]] | None = None, **serve: object) -> PipelineConfig:
    return check(
        {
            "streams": streams or [],
            "prompts": ["depth"],
            "model": {"name": "fake", "canvas": {"width": 128, "height": 96}},
            "output": {"out": str(out), "segment_frames": 16},
            "batch": {"max_wait_ms": 5},
            "serve": serve,
        },
        may_be_idle=True,
    )


def camera(clip: Path, name: str, *prompts: str) -> StreamConfig:
    return StreamConfig(
        id=name, url=str(clip), prompts=prompts or ("depth",), options={"realtime": "yes", "loop": "yes"}
    )


def run_threads(config: PipelineConfig, control: Control, show: Callable[[Engine], None]) -> object:
    return run_job(config, control=control, executor=ThreadExecutor(), on_progress=show)


@contextmanager
def hosting(config: PipelineConfig, run: Callable[..., object] = run_threads) -> Iterator[EngineHost]:
    host = EngineHost(config, run)
    try:
        eventually(lambda: not host.readiness.trouble, "ready")
        yield host
    finally:
        host.stop()


def do(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def question(config: PipelineConfig, number: int = 9):
    return frame_of(
        Picture.whole(Image.fromarray(numbered(number))),
        view_of(config),
        Header("query", 0, 0),
        Fraction(1),
        time.perf_counter(),
    )


def test_a_service_without_streams_answers_questions(tmp_path) -> None:
    made = config(tmp_path)
    with hosting(made) as host:
        (result,) = do(host.do(Ask([question(made)], [CARS, DEPTH])))
        masks = result.predictions[0].value
        assert isinstance(masks, Masks)
        assert masks.names
        assert all(distance is not None for distance in masks.distances_m), (
            "masks have distances, as in streams"
        )
        assert len(masks.distances_m) == len(masks.names)
        assert do(host.do(Streams())) == []


def test_the_newest_frame_of_a_camera_is_asked_and_seen(tmp_path, clip) -> None:
    with hosting(config(tmp_path)) as host:
        do(host.do(Add(camera(clip, "north"))))
        eventually(lambda: do(host.do(Status("north"))).results > 3, "watched")
        (result,) = do(host.do(AskStream("north", [CARS])))
        assert result.header.stream_id == "north"
        with pytest.raises(UnknownStreamError):
            do(host.do(AskStream("south", [CARS])))


def test_what_requests_made_of_the_streams_lasts(tmp_path, clip) -> None:
    configured = {"id": "fixed", "url": str(clip), "options": {"realtime": "yes", "loop": "yes"}}
    made = config(tmp_path, [configured, {**configured, "id": "unwanted"}])
    with hosting(made) as host:
        do(host.do(Add(camera(clip, "north"), key="k digest")))
        do(host.do(Add(camera(clip, "asleep"), paused=True)))
        do(host.do(Change("fixed", {"prompts": (CARS,), "fps": 3.0})))
        do(host.do(Pause("north")))
        do(host.do(Resume("north")))
        do(host.do(Remove("unwanted")))
    with hosting(made) as host:
        eventually(lambda: do(host.do(Status("asleep"))).phase == "paused", "paused")
        streams = {status.stream_id: status for status in do(host.do(Streams()))}
        assert set(streams) == {"fixed", "north", "asleep"}
        assert streams["fixed"].prompts == (str(CARS),)
        assert streams["fixed"].asked_fps == 3.0
        eventually(lambda: do(host.do(Status("north"))).results > 0, "watched again")
        assert do(host.do(Add(camera(clip, "north"), key="k digest"))).is_new is False
        with pytest.raises(ConflictError):
            do(host.do(Add(camera(clip, "other"), key="k other")))
    file = tmp_path / NAME
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_damaged_file_of_definitions_is_named(tmp_path) -> None:
    file = tmp_path / NAME
    file.parent.mkdir(parents=True)
    for text in (
        "{",
        "[]",
        json.dumps({"added": {"a": {}}, "changed": {}, "removed": [], "paused": [], "keys": {}}),
    ):
        file.write_text(text)
        with pytest.raises(UsageError, match="damaged"):
            EngineHost(config(tmp_path), run_threads)


def test_names_keys_and_numbers_of_streams_are_limited(tmp_path, clip) -> None:
    with hosting(config(tmp_path, max_streams=2)) as host:
        do(host.do(Add(camera(clip, "a"), paused=True)))
        with pytest.raises(ConflictError, match="a stream 'a' already"):
            do(host.do(Add(camera(clip, "a"), paused=True)))
        do(host.do(Add(camera(clip, "b"), paused=True)))
        with pytest.raises(ConflictError, match="the most that are allowed"):
            do(host.do(Add(camera(clip, "c"), paused=True)))
        do(host.do(Remove("a")))
        do(host.do(Add(camera(clip, "c"), paused=True)))


def test_an_engine_that_fails_is_started_again_with_its_streams(tmp_path, clip, monkeypatch) -> None:
    monkeypatch.setattr(host_module, "FIRST_PAUSE_S", 0.1)
    runs: list[ThreadExecutor] = []

    class Fragile(ThreadExecutor):
        is_broken = False

        def wait(self, timeout_s: float):
            if self.is_broken:
                raise RuntimeError("the machine room is on fire")
            return super().wait(timeout_s)

    def run(config: PipelineConfig, control: Control, show: Callable[[Engine], None]) -> object:
        runs.append(Fragile())
        return run_job(config, control=control, executor=runs[-1])

    made = config(tmp_path)
    with hosting(made, run) as host:
        do(host.do(Add(camera(clip, "north"))))
        eventually(lambda: do(host.do(Status("north"))).results > 0, "watched")
        runs[0].is_broken = True
        eventually(lambda: len(runs) == 2, "started again")
        eventually(lambda: not host.readiness.trouble, "ready")
        eventually(lambda: do(host.do(Status("north"))).results > 0, "watched again")
        assert do(host.do(Ask([question(made)], [DEPTH])))


def test_a_query_in_flight_when_the_engine_fails_is_told_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(host_module, "FIRST_PAUSE_S", 0.1)
    made = config(tmp_path)
    made = made.model_copy(update={"model": made.model.model_copy(update={"options": {"cost_ms": 600.0}})})
    executors: list[ThreadExecutor] = []

    class Fragile(ThreadExecutor):
        is_broken = False

        def wait(self, timeout_s: float):
            if self.is_broken:
                raise RuntimeError("gone")
            return super().wait(timeout_s)

    def run(config: PipelineConfig, control: Control, show: Callable[[Engine], None]) -> object:
        executors.append(Fragile())
        return run_job(config, control=control, executor=executors[-1])

    async def ask(host: EngineHost) -> None:
        task = asyncio.ensure_future(host.do(Ask([question(made)], [DEPTH])))
        await asyncio.sleep(0.2)
        executors[0].is_broken = True
        with pytest.raises(EngineDownError):
            await asyncio.wait_for(task, 20)

    with hosting(made, run) as host:
        do(ask(host))


def test_a_query_that_is_cancelled_leaves_nothing_behind(tmp_path) -> None:
    made = config(tmp_path)
    made = made.model_copy(update={"model": made.model.model_copy(update={"options": {"cost_ms": 200.0}})})

    async def cancel(host: EngineHost) -> None:
        tasks = [asyncio.ensure_future(host.do(Ask([question(made)], [DEPTH]))) for _ in range(5)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() for task in tasks)
        assert await host.do(Ask([question(made)], [DEPTH]))

    with hosting(made) as host:
        do(cancel(host))


def test_events_are_numbered_and_waited_for(tmp_path, clip) -> None:
    with hosting(config(tmp_path)) as host:
        assert do(host.do(Listen(0, wait_s=0.0))) == []

        async def wait() -> list[Any]:
            waiting = asyncio.ensure_future(host.do(Listen(0, wait_s=30.0)))
            await asyncio.sleep(0.1)
            await host.do(Add(camera(clip, "north")))
            return await waiting

        first = do(wait())
        eventually(
            lambda: {"added", "live"} <= {note.event.state for note in do(host.do(Listen(0, wait_s=0)))},
            "told",
        )
        everything = do(host.do(Listen(0, wait_s=0)))
        numbers = [note.number for note in everything]
        assert numbers == sorted(set(numbers))
        assert do(host.do(Listen(first[-1].number, wait_s=0))) == everything[len(first) :]


def test_a_view_gives_pictures_while_somebody_asks_and_is_then_closed(tmp_path, clip, monkeypatch) -> None:
    monkeypatch.setattr(views_module, "LEASE_S", 0.8)
    want = Look("north", "depth", 20.0, 320)

    async def look(host: EngineHost) -> None:
        seen: dict[Look, int] = {}
        numbers = []
        deadline_s = time.monotonic() + 60
        while len(numbers) < 4:
            assert time.monotonic() < deadline_s
            for shot in await host.do(Watch([want], dict(seen), wait_s=2.0)):
                assert shot.jpeg[:2] == b"\xff\xd8"
                seen[shot.look] = shot.number
                numbers.append(shot.number)
        assert numbers == sorted(set(numbers))
        assert host._control._views._views
        while host._control._views._views:
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.1)

    with hosting(config(tmp_path)) as host:
        do(host.do(Add(camera(clip, "north"))))
        do(look(host))


def test_a_view_of_nothing_waits_for_something(tmp_path, clip, monkeypatch) -> None:
    monkeypatch.setattr(views_module, "AGAIN_S", 0.1)
    want = Look("north")

    async def look(host: EngineHost) -> None:
        assert await host.do(Watch([want], wait_s=0.3)) == []
        await host.do(Add(camera(clip, "north")))
        deadline_s = time.monotonic() + 60
        while not await host.do(Watch([want], wait_s=1.0)):
            assert time.monotonic() < deadline_s

    with hosting(config(tmp_path)) as host:
        do(look(host))


def test_pictures_of_a_view_are_not_gray(tmp_path, clip) -> None:
    async def look(host: EngineHost) -> bytes:
        await host.do(Add(camera(clip, "north", "instances:car")))
        deadline_s = time.monotonic() + 60
        for _ in range(100):
            for shot in await host.do(Watch([Look("north", "", 10.0, 320)], wait_s=2.0)):
                picture = np.asarray(Image.open(io.BytesIO(shot.jpeg)))
                if picture.std() > 20:
                    return shot.jpeg
            await asyncio.sleep(0.1)
            assert time.monotonic() < deadline_s
        raise AssertionError("all pictures were plain")

    with hosting(config(tmp_path)) as host:
        assert do(look(host))


def test_figures_are_those_of_the_engine(tmp_path, clip) -> None:
    with hosting(config(tmp_path)) as host:
        do(host.do(Add(camera(clip, "north"))))
        eventually(lambda: 'stream="north"' in do(host.do(Figures())), "in the figures")


def test_figures_of_an_idle_engine_are_those_of_now(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(runner, "IDLE_WAIT_S", 60.0)
    monkeypatch.setattr(metrics, "FRESH_WITHIN_S", 20.0)
    made = config(tmp_path)

    told: list[float] = []

    def ask() -> float:
        do(host.do(Ask([question(made)], [DEPTH])))
        text = do(host.do(Figures()))
        found = re.search(r'^plantain_batch_items_count{stage="infer"} (\S+)$', text, re.MULTILINE)
        told.append(float(found[1]) if found else 0.0)
        return told[-1]

    with hosting(made) as host:
        eventually(ask, "in the figures")
        assert ask() == len(told)


def test_a_question_enters_the_same_batches_as_the_frames_of_cameras(tmp_path, clip) -> None:
    made = config(tmp_path)
    model = made.model.model_copy(
        update={"name": "tests.recording:RecordingModel", "options": {"cost_ms": 30.0}}
    )
    made = made.model_copy(update={"model": model})

    async def ask(host: EngineHost) -> None:
        for name in ("north", "south", "east"):
            await host.do(Add(camera(clip, name)))
        deadline_s = time.monotonic() + 60
        while not any("depth" in batch and str(CARS) in batch for batch in RecordingModel.batches):
            assert time.monotonic() < deadline_s, RecordingModel.batches[-20:]
            await asyncio.gather(*(host.do(Ask([question(made)], [CARS])) for _ in range(2)))

    RecordingModel.batches.clear()
    with hosting(made) as host:
        do(ask(host))


def test_a_mistake_that_time_does_not_heal_is_no_fault_to_start_again_from(tmp_path) -> None:
    made = config(tmp_path)
    made = made.model_copy(update={"model": made.model.model_copy(update={"options": {"fail_on": "x"}})})
    host = EngineHost(made, run_threads)
    try:
        refusal = eventually(lambda: host.readiness.refusal, "refused")
        assert "fail_on" in refusal
        assert host.readiness.trouble == refusal
    finally:
        host.stop()


def test_other_prompts_and_segments_are_taken_up_by_the_cameras_with_a_new_epoch(tmp_path, clip) -> None:
    watched = {"id": "gate", "url": str(clip), "options": {"realtime": "yes", "loop": "yes"}}
    first = config(tmp_path, [watched])
    output = first.output.model_copy(update={"segment_frames": 8})
    second = first.model_copy(update={"prompts": (CARS,), "output": output})
    for made in (first, second):
        with hosting(made) as host:
            eventually(lambda host=host: do(host.do(Status("gate"))).results > 20, "watching")
    rows = read_frames(str(tmp_path), ["epoch", "prompt", "run_id"])
    found = set(zip(rows["epoch"], rows["prompt"], strict=True))
    assert found == {(0, "depth"), (1, "instances:car")}
    assert len(set(rows["run_id"])) == 2


def test_a_file_that_was_asked_something_else_keeps_the_service_from_going_on(tmp_path, clip) -> None:
    first = config(tmp_path, [{"id": "film", "url": str(clip)}])
    with hosting(first) as host:
        eventually(lambda: do(host.do(Status("film"))).phase == "done", "done")
    second = first.model_copy(update={"prompts": (CARS,)})
    host = EngineHost(second, run_threads)
    try:
        eventually(lambda: host.readiness.refusal, "refused")
        assert "other settings (prompts)" in host.readiness.refusal
    finally:
        host.stop()


def test_an_output_folder_that_cannot_be_made_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(SinkError, match="it is not a folder; choose another --out"):
        EngineHost(config(tmp_path / "file"), run_threads)
