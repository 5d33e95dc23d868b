"""What a pipeline is made of: operators in stages, stages in a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from time import perf_counter
from typing import Any

from plantain.operators.errors import UsageError
from plantain.pipeline.overload import Overload


class Kind(StrEnum):
    """How a stage's copies may be given work.

    SOURCE makes items, each stream bound to one copy. PARALLEL gives exactly one output for each input, any batch
    to any copy. STREAM sees each stream's items in order, each stream bound to one copy, and may keep state.
    """

    SOURCE = "source"
    PARALLEL = "parallel"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Batch:
    """When waiting items become a call.

    Attributes:
        max_items: Never more items than this; reached, the batch goes at once.
        max_cost: Never more cost (drawings) than this, except for a single item that costs more by itself.
        max_wait_s: The oldest item waits no longer than this for company, in seconds.
    """

    max_items: int = 8
    max_cost: int = 64
    max_wait_s: float = 0.05


@dataclass(frozen=True, slots=True)
class Stage:
    """An operator and how it is to be run.

    Attributes:
        name: Shown in errors, metrics and actor names.
        kind: How its copies may be given work.
        make: Makes the operator; called inside the worker, so that heavy imports and weights stay there.
        batch: When its waiting items become a call.
        workers: Copies; of the model perhaps at most.
        least: Copies that are always there, where the others come and go with the load; None for all.
        cpus, gpus: What one copy needs.
        calls_in_flight: Calls that one copy has at most; with more than one it never waits for the engine.
        observe: Makes what is told of every call of a copy (`plantain.pipeline.worker.Observer`), in the worker.
    """

    name: str
    kind: Kind
    make: Callable[[], Any]
    batch: Batch = Batch()
    workers: int = 1
    least: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    calls_in_flight: int = 2
    observe: Callable[[], Any] | None = None

    @property
    def at_first(self) -> int:
        """Copies that a run begins with."""
        return self.workers if self.least is None else self.least


@dataclass(frozen=True, slots=True)
class Graph:
    """Stages in the order in which data meets them.

    Attributes:
        stages: One source stage, then the others.
        read_frames: Frames asked of a stream in one call.
        streams_per_reader: Files that one copy of the source stage reads at a time; cameras share it without limit.
        max_frames_in_flight: Frames between decoder and sink over all streams; what bounds memory.
        overload: What live streams give up when they are too many.
    """

    stages: tuple[Stage, ...]
    read_frames: int = 8
    streams_per_reader: int = 1
    max_frames_in_flight: int = 256
    overload: Overload = field(default_factory=Overload)

    def stage(self, name: str) -> Stage:
        """A stage by its name."""
        return next(stage for stage in self.stages if stage.name == name)

    def validate(self) -> None:
        """Checks what the engine relies on.

        Raises:
            UsageError: With every mistake, one a line.
        """
        mistakes = []
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            mistakes.append(f"stage names must differ: {', '.join(names)}")
        if not self.stages or [stage.kind is Kind.SOURCE for stage in self.stages] != [True] + [False] * (
            len(self.stages) - 1
        ):
            mistakes.append("the first stage, and only the first, must be a source")
        mistakes.extend(
            f"stage {stage.name} needs at least one worker, one item and one call in flight"
            for stage in self.stages
            if min(stage.workers, stage.batch.max_items, stage.calls_in_flight) < 1
        )
        mistakes.extend(
            f"stage {stage.name}: only copies of a parallel stage can come and go, from 1 to {stage.workers}"
            for stage in self.stages
            if stage.least is not None
            and not (stage.kind is Kind.PARALLEL and 1 <= stage.least <= stage.workers)
        )
        if self.read_frames > self.max_frames_in_flight:
            mistakes.append("read_frames must not exceed max_frames_in_flight")
        if mistakes:
            raise UsageError("\n".join(mistakes))

    def describe(self) -> str:
        """The stages as text, a line each."""
        lines = []
        for stage in self.stages:
            copies = (
                f"{stage.workers}" if stage.at_first == stage.workers else f"{stage.least}-{stage.workers}"
            )
            resources = f"{copies} x {stage.cpus:g} CPU" + (f" + {stage.gpus:g} GPU" if stage.gpus else "")
            batch = f"up to {stage.batch.max_items} items, {stage.batch.max_wait_s * 1e3:g} ms"
            if stage.kind is Kind.SOURCE:
                batch = f"{self.read_frames} frames a call"
            lines.append(f"{stage.name:<8} {stage.kind:<8} {resources:<16} {batch}")
        lines.append(f"at most {self.max_frames_in_flight} frames between decoder and sink")
        return "\n".join(lines)


class Chain:
    """Operators joined inside one worker: each works on what the one before it gives.

    What is told about a stream (`open`, `change`, `finish`, `close` and so on) goes to the members that have it.

    Attributes:
        laps: What the last calls were made of, as (member, seconds); whoever reads it clears it.
    """

    def __init__(self, *operators: Any) -> None:
        self._operators: Sequence[Any] = operators
        self.laps: list[tuple[str, float]] = []

    def __call__(self, *arguments: Any) -> Any:
        """The last operator's output."""
        items: Any = None
        for operator in self._operators:
            begin = perf_counter()
            items = operator(*arguments)
            arguments = (items,)
            self.laps.append((type(operator).__name__.lower(), perf_counter() - begin))
        return items

    def open(self, start: Any) -> Any:
        """Opens a stream in every member; gives the first answer."""
        return self._first(operator.open(start) for operator in self._operators if hasattr(operator, "open"))

    def change(self, start: Any) -> None:
        """Changes a stream in every member."""
        for operator in self._operators:
            if hasattr(operator, "change"):
                operator.change(start)

    def watch(self, stream_id: str, looks: Any) -> None:
        """Tells every member what is to be shown of a stream."""
        for operator in self._operators:
            if hasattr(operator, "watch"):
                operator.watch(stream_id, looks)

    def ease(self, stream_id: str, ease: Any) -> None:
        """Tells every member what a stream gives up."""
        for operator in self._operators:
            if hasattr(operator, "ease"):
                operator.ease(stream_id, ease)

    def wait(self, stream_ids: Any, timeout_s: float) -> None:
        """Waits in the first member until a stream has something."""
        self._operators[0].wait(stream_ids, timeout_s)

    def peek(self, stream_id: str, query_id: str, prompts: Any) -> list[Any]:
        """The newest item of a stream, as every member behind the first makes it for a query."""
        items = self._operators[0].peek(stream_id)
        for operator in self._operators[1:]:
            items = operator.for_query(items, query_id, prompts)
        return list(items)

    def finish(self, stream_id: str, *, is_complete: bool) -> Any:
        """Ends a stream in every member; gives the first answer."""
        return self._first(
            operator.finish(stream_id, is_complete=is_complete)
            for operator in self._operators
            if hasattr(operator, "finish")
        )

    def snapshot(self, stream_id: str) -> Any:
        """What each member that keeps something knows about a stream."""
        return [operator.snapshot(stream_id) for operator in self._operators if hasattr(operator, "snapshot")]

    def restore(self, stream_id: str, snapshot: Any) -> None:
        """Goes back to an earlier `snapshot`."""
        keeping = (operator for operator in self._operators if hasattr(operator, "snapshot"))
        for operator, state in zip(keeping, snapshot, strict=True):
            operator.restore(stream_id, state)

    def fail(self, item: Any, failure: Any) -> Any:
        """The output that announces that an item failed; the first member that can make one does."""
        return next(operator for operator in self._operators if hasattr(operator, "fail")).fail(item, failure)

    def state(self, stream_id: str) -> Any:
        """How far the first member has come with a stream."""
        return self._operators[0].state(stream_id)

    def close(self, stream_id: str | None = None) -> None:
        """Closes one stream, or everything."""
        for operator in self._operators:
            if hasattr(operator, "close"):
                operator.close() if stream_id is None else operator.close(stream_id)

    @staticmethod
    def _first(answers: Any) -> Any:
        return next((answer for answer in list(answers) if answer is not None), None)
