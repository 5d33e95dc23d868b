"""An engine for tests of the HTTP side: the pipeline's own steps, one query after another, and still streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image

from plantain.operators.analyse import AnalyseQueries
from plantain.operators.analytics.distance import Distance
from plantain.operators.infer import Infer
from plantain.operators.models import load_model
from plantain.operators.plan import Plan
from plantain.operators.prompts import Prompt
from plantain.operators.redaction import redact
from plantain.operators.render.looks import Picture as Shown
from plantain.operators.sources.sequence import Picture, frame_of
from plantain.operators.streams import Start, StreamSpec
from plantain.operators.types import Frame, Header, Result
from plantain.pipeline import commands
from plantain.pipeline.commands import Command, ConflictError, EngineDownError, Note
from plantain.pipeline.config import PipelineConfig, StreamConfig
from plantain.pipeline.control import UnknownStreamError
from plantain.pipeline.status import StreamStatus
from plantain.pipeline.video import view_of
from tests.assets.clips import numbered
from tests.serving import jpeg


@dataclass
class StepGateway:
    """Answers as the pipeline does, without one.

    Attributes:
        config: Names the model.
        delay_s: Each query takes so long.
        is_down: As an engine whose process is gone.
        asked: Prompts of each query that was answered.
        cancelled: Queries that were taken back.
        events: What is told.
        removing: Streams that take long to drain.
        pictures: What the newest frame of each stream shows: the number of `numbered`, -1 for
            darkness.
    """

    config: PipelineConfig
    delay_s: float = 0.0
    is_down: bool = False
    asked: list[tuple[Prompt, ...]] = field(default_factory=list)
    cancelled: int = 0
    events: list[Note] = field(default_factory=list)
    removing: set[str] = field(default_factory=set)
    pictures: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._infer = Infer(load_model(self.config.model.name, self.config.model.options))
        self._streams: dict[str, tuple[StreamConfig, bool, str | None]] = {}
        self._gone: dict[str, StreamStatus] = {}

    async def do(self, command: Command[Any], timeout_s: float = commands.TIMEOUT_S) -> Any:
        match command:
            case commands.Ready():
                return commands.Readiness("the engine is starting" if self.is_down else "")
            case commands.Figures():
                return "# no figures\n"
            case commands.Listen(after=after, wait_s=wait_s):
                return await self._notes(after, wait_s)
        self._check()
        match command:
            case commands.Streams():
                return [self._status(name) for name in self._streams]
            case commands.Status(name):
                return self._status(name)
            case commands.Add(stream, paused, key):
                return self._add(stream, paused, key)
            case commands.Change(name, changes):
                self._status(name)
                config, paused, key = self._streams[name]
                self._streams[name] = (config.model_copy(update=dict(changes)), paused, key)
                return self._status(name)
            case commands.Pause(stream_id=name) | commands.Resume(stream_id=name):
                self._status(name)
                config, _, key = self._streams[name]
                self._streams[name] = (config, isinstance(command, commands.Pause), key)
                return self._status(name)
            case commands.Remove(stream_id=name):
                if name in self.removing:
                    return replace(self._status(name), phase="removing")
                if name in self._streams:
                    self._gone[name] = self._status(name)
                    del self._streams[name]
                return self._gone[name] if name in self._gone else self._status(name)
            case commands.Ask(frames, prompts):
                return await self.ask(frames, prompts)
            case commands.AskStream(name, prompts):
                return [await self.ask_stream(name, prompts)]
            case commands.Watch():
                return await self.shots(command)
        raise AssertionError(command)

    def _add(self, stream: StreamConfig, paused: bool, key: str | None) -> commands.Added:
        name = str(stream.id)
        if name in self._streams:
            if key is not None and self._streams[name][2] == key:
                return commands.Added(self._status(name), is_new=False)
            raise ConflictError(f"a stream is called {name} already: choose another id")
        self._streams[name] = (stream, paused, key)
        return commands.Added(self._status(name))

    async def ask(self, frames: Sequence[Frame], prompts: Sequence[Prompt]) -> list[Result]:
        self._check()
        try:
            await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self._check()
        results = await asyncio.to_thread(self._answer, frames, tuple(prompts))
        self.asked.append(tuple(prompts))
        return results

    async def ask_stream(self, stream_id: str, prompts: Sequence[Prompt]) -> Result:
        self._status(stream_id)
        number = self.pictures.get(stream_id, 1)
        picture = Image.fromarray(numbered(number) if number >= 0 else np.zeros((180, 320, 3), np.uint8))
        view = replace(view_of(self.config), picture_long_side=640)
        frame = frame_of(
            Picture.whole(picture), view, Header(stream_id, 0, 0), Fraction(1, 25), time.perf_counter()
        )
        (result,) = await self.ask([frame], prompts)
        return result

    async def _notes(self, after: int, wait_s: float) -> list[Note]:
        deadline_s = time.monotonic() + wait_s
        while True:
            found = [note for note in self.events if note.number > after]
            if found or time.monotonic() >= deadline_s:
                return found
            await asyncio.sleep(0.02)

    async def shots(self, watch: commands.Watch) -> list[Shown]:
        await asyncio.sleep(0.02)
        number = time.monotonic_ns()
        known = [look for look in watch.looks if look.stream_id in self._streams]
        return [Shown(look, 1.0, 20.0, number + k, jpeg()) for k, look in enumerate(known)]

    def _check(self) -> None:
        if self.is_down:
            raise EngineDownError("the engine is starting again: try again shortly")

    def _answer(self, frames: Sequence[Frame], prompts: tuple[Prompt, ...]) -> list[Result]:
        plan = Plan()
        for name in {frame.header.stream_id for frame in frames}:
            plan.open(Start.fresh(StreamSpec(name, ""), prompts))
        return AnalyseQueries([Distance])(self._infer(plan(frames)))

    def _status(self, name: str) -> StreamStatus:
        if name not in self._streams:
            raise UnknownStreamError(f"there is no stream called {name}")
        config, paused, _ = self._streams[name]
        return StreamStatus(
            stream_id=name, url=redact(config.url), prompts=tuple(map(str, config.prompts)),
            phase="paused" if paused else "reading", health="live", error="", is_live=True, fps=5.0,
            latency_ms=80.0, rung=0, width=320, height=180, decoded=10, results=8, in_flight=1,
            lost={"stale": 1}, skipped={"not sampled": 2}, failed={}, reconnects=0, asked_fps=config.fps,
            newest_frame_s=0.1,
            state="paused" if paused else "live", why="", since_ns=None,
        )  # fmt: skip
