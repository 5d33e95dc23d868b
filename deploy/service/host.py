"""The engine in this process, with what a service needs around it: definitions that last, figures, and its next start.

A thread runs the pipeline; if it ends by a fault, it is started again, and the streams go on as they were wanted.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import TypeVar, cast

import structlog

from plantain.deploy.job import named_as_before
from plantain.deploy.metrics import Exporter
from plantain.deploy.service.definitions import DefinitionStore
from plantain.deploy.service.history import History
from plantain.deploy.transport import Here
from plantain.operators.analyse import AnalyseQueries
from plantain.operators.errors import UsageError
from plantain.operators.redaction import redact
from plantain.operators.types import Result
from plantain.pipeline import commands
from plantain.pipeline.config import PipelineConfig
from plantain.pipeline.control import Control
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.video import analytics_of

log = structlog.get_logger()

A = TypeVar("A")

Runner = Callable[[PipelineConfig, Control, Callable[[Engine], None]], object]

# Pauses between a fault of the engine and its next start, seconds.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
STARTING = "the engine is starting"
# How far decoders and model stand back behind who asks, and who answers. Beside six cameras that saturate two cores the
# 99th percentile of queries is 205 instead of 224 ms, on Ray 229 instead of 243, and the cameras lose no frame by it.
NICENESS = 5


class EngineHost:
    """Runs the pipeline and answers for it: the `Transport` of its own process.

    Args:
        config: What runs.
        run: Runs a configuration until its control stops it, and shows the engine now and then.

    Raises:
        UsageError: If what is kept of the streams is damaged.
        SinkError: If the output folder cannot be used.
    """

    def __init__(self, config: PipelineConfig, run: Runner) -> None:
        self._config = config = named_as_before(config)
        self._run = run
        store = DefinitionStore(config)
        self._control = Control(
            config, max_streams=config.serve.max_streams, definitions=store.load(), keep=store.save
        )
        self._history = History(config.output.out, self._control.notes)
        self._here = Here(self._control)
        self._figures = Exporter(config, self._control.show)
        # Queries end behind the model; their masks want distances, too.
        self._measure = AnalyseQueries(make for _, make in analytics_of(config))
        self._stopping = threading.Event()
        self._trouble = STARTING
        self._refusal = ""
        self._thread = threading.Thread(target=self._keep_running, name="plantain-engine", daemon=True)
        self._thread.start()

    @property
    def readiness(self) -> commands.Readiness:
        """Whether it answers questions."""
        return commands.Readiness("" if self._control.is_ready else self._trouble, self._refusal)

    async def do(self, command: commands.Command[A], timeout_s: float = commands.TIMEOUT_S) -> A:
        """See `Transport`."""
        if isinstance(command, commands.Ready):
            return cast("A", self.readiness)
        if isinstance(command, commands.Figures):
            return cast("A", (await asyncio.to_thread(self._figures.text)).decode())
        if not self._control.is_ready:
            if isinstance(command, commands.Listen) and (notes := self._control.notes.after(command.after)):
                return cast("A", notes)
            raise commands.EngineDownError(f"{self._trouble}: try again shortly")
        answer = await self._here.do(command, timeout_s)
        if isinstance(command, commands.Ask | commands.AskStream):
            return cast("A", await self._measured(cast("list[Result]", answer)))
        return answer

    async def _measured(self, results: list[Result]) -> list[Result]:
        """Results whose masks have distances; only where that takes long, in a thread."""
        if len(results) == 1 and len(results[0].predictions) == 1:
            return self._measure(results)
        return await asyncio.to_thread(self._measure, results)

    def stop(self) -> None:
        """Drains the pipeline and waits for it."""
        self._stopping.set()
        self._control.stop()
        self._thread.join()
        self._history.close()

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
        wanted = tuple(self._control.definitions.streams.values())
        trouble = "the engine has stopped"
        try:
            streams = (*wanted, *self._config.watched)
            self._run(
                self._config.model_copy(update={"streams": streams}), self._control, self._figures.update
            )
        except Exception as error:  # noqa: BLE001 - whatever it was, the service goes on and says so
            trouble = f"the engine failed and is started again: {redact(str(error))}"
            if isinstance(error, UsageError) and not self._control.has_run:  # time does not heal it
                trouble = self._refusal = redact(str(error))
            log.error("engine failed", error=redact(f"{type(error).__name__}: {error}"))
        self._trouble = trouble
        self._control.detach()
