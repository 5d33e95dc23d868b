"""What a pipeline is made of: operators in stages, stages in a graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from plantain.operators.errors import UsageError
from plantain.pipeline.engine.overload import Overload


class Kind(StrEnum):
    """How a stage's copies may be given work.

    SOURCE makes items, each stream bound to one copy. PARALLEL gives exactly one output for each input, any batch
    to any copy. STREAM sees each stream's items in order, each stream bound to one copy, and may keep state: the steps
    behind the models, and models that follow what they see.
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
        has_model: It is a pool of models, and beside the others of its kind: each item passes through one of them.
        spools: Its operator may promise what it keeps on disk for now, and tells of it (`Follower.backlogs`).
        overload: Of a pool, what live streams give up for it; None for what the graph says.
        observe: Makes what is told of every call of a copy (`plantain.pipeline.worker.base.Observer`), in the worker.
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
    has_model: bool = False
    spools: bool = False
    overload: Overload | None = None
    observe: Callable[[], Any] | None = None

    @property
    def is_pool(self) -> bool:
        """Whether it is a pool of models."""
        return self.has_model or self.kind is Kind.PARALLEL

    @property
    def at_first(self) -> int:
        """Copies that a run begins with."""
        return self.workers if self.least is None else self.least


@dataclass(frozen=True)
class Graph:
    """Stages in the order in which data meets them.

    Attributes:
        stages: One source stage, then pools of models side by side, then the steps that follow streams.
        read_frames: Frames asked of a stream in one call.
        streams_per_reader: Files that one copy of the source stage reads at a time; cameras share it without limit.
        max_frames_in_flight: Frames between decoder and sink over all streams; what bounds memory.
        overload: What live streams give up when they are too many.
        segment_frames: Frame indexes of a file, or results of a camera, that become durable together.
        segment_s: A camera's results become durable after so long at the latest, seconds.
        join_s: Parts of a camera's frame that belong together wait no longer than this for one another, seconds.
    """

    stages: tuple[Stage, ...]
    read_frames: int = 8
    streams_per_reader: int = 1
    max_frames_in_flight: int = 256
    overload: Overload = field(default_factory=Overload)
    segment_frames: int = 512
    segment_s: float = 10.0
    join_s: float = 1.0

    @property
    def source(self) -> Stage:
        """The stage that reads."""
        return self.stages[0]

    @cached_property
    def pools(self) -> tuple[Stage, ...]:
        """The pools of models; the first one answers where nobody says otherwise."""
        return tuple(stage for stage in self.stages if stage.is_pool)

    @cached_property
    def followers(self) -> tuple[Stage, ...]:
        """The steps behind the models, in their order."""
        return tuple(stage for stage in self.stages[1:] if not stage.is_pool)

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
        if [stage.kind is Kind.SOURCE for stage in self.stages[:1]] != [True] or any(
            stage.kind is Kind.SOURCE for stage in self.stages[1:]
        ):
            mistakes.append("the first stage, and only the first, must be a source")
        ranks = [stage.is_pool for stage in self.stages[1:]]
        if ranks != sorted(ranks, reverse=True):
            mistakes.append("pools of models come before the steps that follow streams")
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
        width = max(8, *(len(stage.name) for stage in self.stages))
        for stage in self.stages:
            copies = (
                f"{stage.workers}" if stage.at_first == stage.workers else f"{stage.least}-{stage.workers}"
            )
            resources = f"{copies} x {stage.cpus:g} CPU" + (f" + {stage.gpus:g} GPU" if stage.gpus else "")
            batch = f"up to {stage.batch.max_items} items, {stage.batch.max_wait_s * 1e3:g} ms"
            if stage.kind is Kind.SOURCE:
                batch = f"{self.read_frames} frames a call"
            lines.append(f"{stage.name:<{width}} {stage.kind:<8} {resources:<16} {batch}")
        lines.append(f"at most {self.max_frames_in_flight} frames between decoder and sink")
        return "\n".join(lines)
