"""The engine in this process, with all that a service needs around it: definitions that last, events, live views.

A thread runs the pipeline; if it ends by a fault, it is started again, and the streams go on as they were wanted.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog

from plantain.deploy.metrics import Exporter
from plantain.deploy.service.definitions import DefinitionStore
from plantain.deploy.service.gateway import Note, Shot, Want, Watched
from plantain.deploy.service.notes import Notes
from plantain.deploy.service.problems import ConflictError, EngineDownError
from plantain.deploy.service.views import Views
from plantain.operators.analyse import AnalyseQueries
from plantain.operators.errors import (
    CodecError,
    ModelError,
    PlantainError,
    SinkError,
    SourceError,
    UsageError,
)
from plantain.operators.prompts import Prompt
from plantain.operators.redaction import redact
from plantain.operators.types import Frame, HealthEvent, Result
from plantain.pipeline.config import PipelineConfig, StreamConfig
from plantain.pipeline.control import Control, UnknownStreamError
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.video import analytics_of

log = structlog.get_logger()

T = TypeVar("T")

Runner = Callable[[PipelineConfig, Control, Callable[[Engine], None]], object]

# Pauses between a fault of the engine and its next start, seconds.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
# Commands wait for the engine's next turn; this many may wait at a time.
MAX_CALLS = 16
STARTING = "the engine is starting"
# How far decoders and model stand back behind who asks, and who answers. Beside six cameras that saturate two cores the
# 99th percentile of queries is 205 instead of 224 ms, on Ray 229 instead of 243, and the cameras lose no frame by it.
NICENESS = 5


class EngineHost:
    """Runs the pipeline and answers for it: the `Gateway` of its own process.

    Args:
        config: What runs.
        run: Runs a configuration until its control stops it, and shows the engine now and then.
    """

    def __init__(self, config: PipelineConfig, run: Runner) -> None:
        self._config = config
        self._figures = Exporter(config, self._show)
        self._run = run
        self._store = DefinitionStore(config)
        self._wanted = self._store.load()
        self._changing = threading.Lock()
        self._calls = ThreadPoolExecutor(MAX_CALLS, thread_name_prefix="plantain-call")
        self._notes = Notes()
        self._views = Views(self._open_view)
        # Queries end behind the model; their masks want distances, too.
        self._measure = AnalyseQueries(make for _, make in analytics_of(config))
        self._stopping = threading.Event()
        self._control = Control(config)
        self._is_ready = self._was_ready = False
        self._trouble = STARTING
        self._refusal = ""
        self._thread = threading.Thread(target=self._keep_running, name="plantain-engine", daemon=True)
        self._thread.start()

    # -- life ----------------------------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Whether queries are answered."""
        return self._is_ready

    async def why_not_ready(self) -> str:
        """Empty when queries are answered; otherwise why not yet."""
        return "" if self._is_ready else self._trouble

    async def figures(self) -> str:
        """For Prometheus, in its text format."""
        return (await asyncio.to_thread(self._figures.text)).decode()

    async def refusal(self) -> str:
        """Why it never can begin: a mistake in the configuration or the output folder; empty if there is none."""
        return self._refusal

    async def close(self) -> None:
        """Drains the pipeline and waits for it."""
        await asyncio.to_thread(self.stop)

    def stop(self) -> None:
        """As `close`, from a thread."""
        self._stopping.set()
        self._views.close()
        self._control.stop()
        self._thread.join()
        self._calls.shutdown(wait=True)

    def _keep_running(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            begun_s = time.monotonic()
            self._run_once()
            if self._stopping.is_set() or self._refusal:
                break
            if time.monotonic() - begun_s > LONGEST_PAUSE_S:
                pause_s = FIRST_PAUSE_S
            self._stopping.wait(pause_s)
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    def _run_once(self) -> None:
        """The pipeline from its start to its end, whatever that is."""
        with self._changing:
            config = self._config.model_copy(update={"streams": tuple(self._wanted.streams.values())})
            control = self._control = Control(config)
        if self._stopping.is_set():
            return
        watcher = threading.Thread(target=self._begin, args=(control,), name="plantain-begin", daemon=True)
        watcher.start()
        trouble, refusal = "the engine has stopped", ""
        try:
            self._run(config, control, self._figures.update)
        except Exception as error:  # noqa: BLE001 - whatever it was, the service goes on and says so
            trouble = f"the engine failed and is started again: {redact(str(error))}"
            if isinstance(error, UsageError) and not self._was_ready:  # time does not heal it
                trouble = refusal = redact(str(error))
            log.error("engine failed", error=redact(f"{type(error).__name__}: {error}"))
        control.detach()
        self._views.forget()
        watcher.join()  # it may have a word of its own, which says less
        self._is_ready = False
        self._trouble, self._refusal = trouble, refusal or self._refusal

    def _begin(self, control: Control) -> None:
        """As soon as the engine turns: listens to it, and pauses what is to be paused."""
        try:
            control.listen(self._heard)
            for stream_id in sorted(self._wanted.paused):
                control.pause(stream_id)
            self._is_ready = self._was_ready = True
        except PlantainError as error:
            self._trouble = redact(str(error))

    def _heard(self, event: HealthEvent) -> None:
        self._notes.add(event.stream_id, event.epoch, event.state, event.sentence, event.at_ns)

    # -- streams -------------------------------------------------------------------------------------------

    async def streams(self) -> list[Watched]:
        """All streams, by name."""

        def work(control: Control) -> list[Watched]:
            known = self._wanted.streams
            return [
                Watched(status, known[status.stream_id])
                for status in sorted(control.streams(), key=lambda status: status.stream_id)
                if status.stream_id in known
            ]

        return await self._call(work)

    async def stream(self, stream_id: str) -> Watched:
        """One stream."""
        return await self._call(
            lambda control: Watched(control.status(stream_id), self._config_of(stream_id))
        )

    async def add(self, stream: StreamConfig, *, paused: bool, key: str | None) -> Watched:
        """Adds a stream, and keeps that it was added."""
        name = str(stream.id)

        def work(control: Control) -> Watched:
            wanted = self._wanted
            if name in wanted.streams:
                if key is not None and wanted.keys.get(name) == key:
                    return Watched(control.status(name), wanted.streams[name], is_new=False)
                raise ConflictError(f"a stream is called {name} already: choose another id")
            if key is not None and any(_same_key(key, other) for other in wanted.keys.values()):
                raise ConflictError("this Idempotency-Key stands for another request: use a new one")
            if len(wanted.streams) >= self._config.serve.max_streams:
                raise ConflictError(
                    f"there are {len(wanted.streams)} streams, the most that serve.max_streams allows: remove one"
                )
            status = control.add(stream)
            wanted.streams[name] = stream
            if key is not None:
                wanted.keys[name] = key
            if paused:
                wanted.paused.add(name)
                status = control.pause(name)
            self._store.save(wanted)
            return Watched(status, stream)

        return await self._call(work, changes=True)

    async def change(
        self, stream_id: str, changes: Mapping[str, Any], *, paused: bool | None = None
    ) -> Watched:
        """Changes a stream, and keeps that it was changed."""

        def work(control: Control) -> Watched:
            config = self._config_of(stream_id)
            status = control.change(stream_id, changes) if changes else control.status(stream_id)
            self._wanted.streams[stream_id] = config.changed(changes)
            if paused is not None and paused != (stream_id in self._wanted.paused):
                status = control.pause(stream_id) if paused else control.resume(stream_id)
                (self._wanted.paused.add if paused else self._wanted.paused.discard)(stream_id)
            self._store.save(self._wanted)
            return Watched(status, self._wanted.streams[stream_id])

        return await self._call(work, changes=True)

    async def remove(self, stream_id: str) -> Watched:
        """Removes a stream, and keeps that it was removed."""

        def work(control: Control) -> Watched:
            config = self._config_of(stream_id)
            status = control.remove(stream_id)
            self._wanted.remove(stream_id)
            self._store.save(self._wanted)
            return Watched(status, config)

        return await self._call(work, changes=True)

    def _config_of(self, stream_id: str) -> StreamConfig:
        if stream_id not in self._wanted.streams:
            raise UnknownStreamError(f"there is no stream called '{stream_id}'")
        return self._wanted.streams[stream_id]

    # -- questions -----------------------------------------------------------------------------------------

    async def ask(self, frames: Sequence[Frame], prompts: Sequence[Prompt]) -> list[Result]:
        """Answers about frames; cancelled, it takes them back."""
        control = self._ready_control()
        with self._translated():
            results = await asyncio.wrap_future(control.ask(frames, prompts))
        return await self._measured(results)

    async def ask_stream(self, stream_id: str, prompts: Sequence[Prompt]) -> Result:
        """Answers about the newest frame of a stream."""
        control = self._ready_control()
        with self._translated():
            result = await asyncio.wrap_future(control.ask_stream(stream_id, prompts))
        (measured,) = await self._measured([result])
        return measured

    async def _measured(self, results: list[Result]) -> list[Result]:
        """Results whose masks have distances; only where that takes long, in a thread."""
        if len(results) == 1 and len(results[0].predictions) == 1:
            return self._measure(results)
        return await asyncio.to_thread(self._measure, results)

    # -- looking on ----------------------------------------------------------------------------------------

    async def notes(self, after: int, wait_s: float) -> list[Note]:
        """What happened after a note; waits for something."""
        return await self._notes.after(after, wait_s)

    async def shots(self, wants: Sequence[Want], seen: Mapping[Want, int], wait_s: float) -> list[Shot]:
        """The newest pictures of views; waits for one."""
        self._ready_control()
        return await self._views.shots(wants, seen, wait_s)

    async def _open_view(self, want: Want, on_picture: Callable[[Any], None]) -> Callable[[], None] | None:
        """Begins to look; None where there is nothing to be seen just now."""

        def work(control: Control) -> Callable[[], None] | None:
            try:
                return control.view(
                    want.stream_id, want.prompt, on_picture, fps=want.fps, long_side=want.long_side
                )
            except UsageError:
                return None

        return await self._call(work)

    # -- how it is done ------------------------------------------------------------------------------------

    def _show(self, look: Callable[[Engine], None]) -> None:
        self._control.show(look)

    def _ready_control(self) -> Control:
        if not self._is_ready:
            raise EngineDownError(f"{self._trouble}: try again shortly")
        return self._control

    async def _call(self, work: Callable[[Control], T], *, changes: bool = False) -> T:
        """Does something with the control in a thread, since its methods wait for the engine's next turn."""
        control = self._ready_control()

        def locked() -> T:
            with self._changing:
                return work(control)

        loop = asyncio.get_running_loop()
        task = loop.run_in_executor(self._calls, locked if changes else lambda: work(control))
        with self._translated():
            return await asyncio.shield(task)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """What the end of a run, or one that is too busy to answer, means to a client: come back."""
        try:
            yield
        except (UsageError, SourceError, ModelError, SinkError, CodecError, EngineDownError):
            raise
        except PlantainError as error:
            trouble = redact(str(error)) if self._is_ready else self._trouble
            raise EngineDownError(f"{trouble}: try again shortly") from error


def _same_key(key: str, other: str) -> bool:
    """Whether two requests, whatever they said, came under the same key."""
    return key.rpartition(" ")[0] == other.rpartition(" ")[0]
