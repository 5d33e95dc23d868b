"""Takes up recordings of watched folders while a run goes on: in order, one at a time of each folder, each once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog

from plantain.operators.errors import PlantainError, UsageError
from plantain.operators.redaction import redact, shown
from plantain.operators.sources.recordings import Recordings, recording_name
from plantain.operators.sources.takes import Takes
from plantain.pipeline.checkpoint import Checkpoints
from plantain.pipeline.commands import Add, ConflictError, EngineDownError, Remove, Status
from plantain.pipeline.config import StreamConfig
from plantain.pipeline.config.stream import location_of, mark_of
from plantain.pipeline.control import Control
from plantain.pipeline.engine.stream import ENDED, Phase
from plantain.pipeline.engine.streams import UnknownStreamError
from plantain.pipeline.inputs import is_finished, is_other, same_elsewhere
from plantain.pipeline.status import REMOVING

# A folder is looked at this often.
LOOK_EVERY_S = 1.0
# Recordings that are gone from a folder are known so long as no more than these went after them: one that comes back,
# under whatever name, is not read again.
MOST_GONE = 1000

log = structlog.get_logger()


class Intake:
    """One watched folder.

    Args:
        stream: What is asked of its recordings, and how they are named.
        control: Of the run.
        checkpoints: What is durable of them.
        replaces: Whether a recording that comes in the place of another takes its rows' place, too.
    """

    def __init__(
        self,
        stream: StreamConfig,
        control: Control,
        checkpoints: Checkpoints,
        replaces: bool = False,
    ) -> None:
        self._stream, self._control, self._checkpoints = stream, control, checkpoints
        self._replaces = replaces
        self._takes = Takes(checkpoints.identities())
        self._folder = Path(stream.url)
        self._recordings = Recordings(self._folder)
        self._current: tuple[str, Path] | None = None
        self._is_missing = False

    def tend(self) -> None:
        """Looks at the folder, and sees to the recording that is being read, or to the next one.

        Raises:
            EngineDownError: If the run has ended, or is busy.
        """
        try:
            self._recordings.look(time.monotonic())
            self._is_missing = False
        except OSError as error:
            if not self._is_missing:
                self._is_missing = True
                log.warning(
                    "folder", folder=shown(str(self._folder)), error=error.strerror, what="waiting for it"
                )
            return
        if self._current is not None and not self._is_over(*self._current):
            return
        for path in self._recordings.due(time.monotonic()):
            if self._take(path):
                return

    def _is_over(self, name: str, path: Path) -> bool:
        """Whether a recording has been read as far as it went; its stream then leaves."""
        try:
            status = self._control.do(Status(name))
            if status.phase not in ENDED:
                return False
            self._control.do(Remove(name, wait_s=0.0))
        except UnknownStreamError:
            self._current = None  # somebody removed it
            return True
        self._recordings.done(path, time.monotonic(), is_good=status.phase == Phase.DONE)
        if path in self._recordings.paths:  # or the folder itself may be away just now
            self._checkpoints.thin(f"{shown(str(self._folder))}/", self._present(), MOST_GONE)
        self._current = None
        return True

    def _take(self, path: Path) -> bool:
        """Adds a recording as a stream; one that was read before, perhaps under another name, is not taken again.

        Returns:
            Whether others have to wait.
        """
        self._recordings.take(path)
        stream = self._stream_of(path)
        if is_other(stream.spec(), self._checkpoints) and not self._replaces:
            before = str(stream.id)
            self._takes.begin(self._name(path))
            stream = self._stream_of(path)
            log.info(
                "name used again",
                stream=stream.id,
                what=f"{shown(str(path))} is another recording than {before} was made of",
            )
        name, spec = str(stream.id), stream.spec()
        if is_finished(spec, self._checkpoints):
            self._recordings.done(path, time.monotonic(), is_good=True)
            return False
        if (twin := same_elsewhere(spec, self._checkpoints, self._present())) is not None:
            log.info(
                "renamed", stream=twin, what=f"{shown(str(path))} is what that was; it is not read again"
            )
            self._checkpoints.adopt(
                name, twin, mark_of(spec.url, spec.options), location_of(spec.url, spec.options)
            )
            self._recordings.done(path, time.monotonic(), is_good=True)
            return False
        try:
            self._control.do(Add(stream, is_recording=True))
        except ConflictError as error:
            if not self._is_there(name):  # what it was is leaving, or there is no room
                log.debug("not yet", stream=name, error=str(error))
                self._recordings.take_later(path)
                return True
        except UsageError as error:
            log.error("not taken", stream=name, error=redact(str(error)))
            self._recordings.done(path, time.monotonic(), is_good=False)
            return False
        self._current = name, path
        return True

    def _is_there(self, name: str) -> bool:
        """Whether there is such a stream, as after a restart of a service in the middle of it."""
        try:
            return self._control.do(Status(name)).phase != REMOVING
        except UnknownStreamError:
            return False

    def _present(self) -> dict[str, Path]:
        """The recordings that are there, by the names of their streams."""
        return {self._takes.latest(self._name(path)): path for path in self._recordings.paths}

    def _stream_of(self, path: Path) -> StreamConfig:
        name = self._takes.latest(self._name(path))
        return self._stream.model_copy(update={"id": name, "url": str(path), "watch": False})

    def _name(self, path: Path) -> str:
        return recording_name(str(self._stream.id), self._folder, path)


@contextmanager
def taking_up(
    streams: Sequence[StreamConfig], control: Control, checkpoints: Checkpoints, *, replaces: bool = False
) -> Iterator[None]:
    """Takes up recordings, in a thread of its own, for as long as the run lasts.

    Args:
        streams: The watched folders.
        control: Of the run.
        checkpoints: What is durable of their recordings.
        replaces: See `Intake`.
    """
    stop = threading.Event()
    intakes = [Intake(stream, control, checkpoints, replaces) for stream in streams]

    def run() -> None:
        while not stop.wait(LOOK_EVERY_S):
            for intake in intakes:
                try:
                    intake.tend()
                except EngineDownError:
                    break
                except PlantainError as error:
                    log.error("intake", error=redact(str(error)))

    thread = threading.Thread(target=run, name="plantain-intake", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
