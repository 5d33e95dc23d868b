"""What commands make of the streams of a run, and which of them are wanted from then on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from plantain.operators.errors import UsageError
from plantain.operators.streams import Start
from plantain.pipeline.checkpoint import Checkpoints
from plantain.pipeline.commands import Add, Change, Command, ConflictError, Pause, Remove, Resume
from plantain.pipeline.config import PipelineConfig
from plantain.pipeline.config.stream import location_of
from plantain.pipeline.definitions import Definitions
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.engine.stream import ENDED, Phase, Stream
from plantain.pipeline.status import REMOVING, StreamStatus
from plantain.pipeline.video import made_of, start_of

# So many streams that are gone are remembered.
MAX_GONE = 1000


class Roster:
    """The streams of a run; touched by the engine's loop only.

    What waits for a disk is done aside, by one thread and in order: finding out where an added stream is durable, and
    keeping what is wanted.

    Args:
        config: What is run.
        definitions: The streams as they are wanted.
        keep: Stores them for ever; None where the next run begins with the configuration's again.
        max_streams: No more than this at a time.

    Attributes:
        gone: How streams were that are gone, or going, by name.
    """

    def __init__(
        self,
        config: PipelineConfig,
        definitions: Definitions,
        keep: Callable[[Definitions], None] | None,
        max_streams: int,
    ) -> None:
        self._config, self._wanted, self._keep, self._max_streams = config, definitions, keep, max_streams
        self._checkpoints: Checkpoints | None = None
        self._aside: ThreadPoolExecutor | None = None
        self._coming: set[str] = set()
        self.gone: dict[str, StreamStatus] = {}

    def begin(self, engine: Engine, checkpoints: Checkpoints | None) -> None:
        """A run begins: what is to be paused rests."""
        self._checkpoints = checkpoints
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="plantain-aside")
        for name in sorted(self._wanted.paused & {*engine.streams}):
            if engine.streams[name].phase not in ENDED:
                engine.lives.pause(name)

    def end(self) -> None:
        """The run has ended; returns when everything is kept."""
        if self._aside is not None:
            self._aside.shutdown()
        self._coming.clear()
        self.gone = {
            name: replace(status, phase=str(Phase.INTERRUPTED)) if status.phase == REMOVING else status
            for name, status in self.gone.items()
        }

    def expect(self, add: Add, engine: Engine) -> Future[Start] | None:
        """Where a stream that is to be added begins; None if the same request has added it before.

        Raises:
            ConflictError: See `Add`.
        """
        name = str(add.stream.id)
        if self._wanted.knows(name, add.key) and name in engine.streams:
            return None
        if name in self._coming or name in engine.streams:
            doing = "added" if name in self._coming else "removed"
            raise ConflictError(
                f"a stream '{name}' is being {doing} just now: try again, or choose another id"
            )
        if (count := len(self._wanted.streams) + len(self._coming)) >= self._max_streams:
            raise ConflictError(f"there are {count} streams, the most that are allowed: remove one")
        assert self._aside is not None
        self._coming.add(name)
        return self._aside.submit(self._start_of, add)

    def _start_of(self, add: Add) -> Start:
        start = replace(start_of(self._config, add.stream, self._checkpoints), is_recording=add.is_recording)
        if self._checkpoints is not None and not start.is_live:
            spec = start.spec
            location = location_of(spec.url, spec.options)
            self._checkpoints.admit(spec.stream_id, made_of(self._config, add.stream), location)
        return start

    def give_up(self, add: Add) -> None:
        """A stream that was expected does not come, or is there now."""
        self._coming.discard(str(add.stream.id))

    def add(self, add: Add, start: Start, engine: Engine) -> Stream:
        """A stream that was expected comes."""
        stream = engine.lives.add(start)
        self._wanted.add(add.stream, paused=add.paused, key=add.key)
        if add.paused and stream.phase not in ENDED:
            engine.lives.pause(stream.stream_id)
        self.gone.pop(stream.stream_id, None)
        return stream

    def change(self, command: Change | Pause | Resume, engine: Engine) -> Stream:
        """A stream goes on otherwise, or rests; see the commands."""
        wanted, name = self._wanted, command.stream_id
        stream = engine.lives.find(name)
        match command:
            case Change(changes=changes):
                if fixed := sorted({"id", "url", "source"} & {*changes}):
                    raise UsageError(
                        f"{', '.join(fixed)} of a stream cannot be changed; remove it and add another"
                    )
                changed = self._config.fitting(wanted.streams[name].changed(changes))
                engine.lives.change(start_of(self._config, changed, None))
                wanted.streams[name] = changed
            case Pause():
                if Phase.PAUSED not in (stream.phase, stream.then):
                    engine.lives.pause(name)
                wanted.paused.add(name)
            case Resume():
                engine.lives.resume(name)
                wanted.paused.discard(name)
        return stream

    def remove(self, remove: Remove, engine: Engine) -> Stream:
        """A stream goes; from this moment on it is not wanted, however long it takes to drain."""
        name = remove.stream_id
        stream = engine.streams.get(name)
        if stream is None or not stream.is_leaving:
            stream = engine.lives.remove(name, drain=remove.drain)
            self._wanted.remove(name)
        return stream

    def is_at_rest(self, command: Command[Any], stream: Stream, engine: Engine) -> bool:
        """Whether a stream is where a command wants it, or on its way elsewhere by now."""
        match command:
            case Remove():
                return engine.streams.get(stream.stream_id) is not stream
            case Pause():
                return stream.phase in ENDED | {Phase.PAUSED} or stream.then is not Phase.PAUSED
            case _:
                return True

    def forget(self, status: StreamStatus) -> None:
        """A stream is gone."""
        self.gone.pop(status.stream_id, None)
        self.gone[status.stream_id] = status
        if len(self.gone) > MAX_GONE:
            del self.gone[next(iter(self.gone))]

    def keep(self) -> Future[None] | None:
        """Done when what is wanted now is kept; None if nobody keeps it."""
        if self._keep is None:
            return None
        assert self._aside is not None
        return self._aside.submit(self._keep, self._wanted.copy())
