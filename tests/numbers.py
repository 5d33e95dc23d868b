"""A pipeline whose frames are numbers: what happens to each of them is planned.

The operators behind the engine are real where they keep state (Analyse, Write, MemorySink).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from plantain.operators.analyse import Analyse
from plantain.operators.analytics.track import Track
from plantain.operators.answers.image.value import Image
from plantain.operators.geometry import Letterbox
from plantain.operators.health import HealthEvent
from plantain.operators.prompts import Prompt
from plantain.operators.segments import Durable, Position
from plantain.operators.sinks.memory import MemorySink
from plantain.operators.sinks.rows import Rows
from plantain.operators.streams import ReadState, Start, StreamInfo, StreamSpec
from plantain.operators.types import Event, Failure, FrameInfo, Header, Prediction, Result, Timing
from plantain.operators.write import Write
from plantain.pipeline.graph import Batch, Graph, Kind, Stage

DEPTH = Prompt.parse("depth")
SEGMENT = 5
"""Frames in a segment."""


class WorkerKilled(BaseException):
    """Stands for the death of a process, so nothing may catch it."""


@dataclass
class Plan:
    """What happens to the frames of one stream.

    Attributes:
        num_frames: Its length.
        infer_fails: Frames that raise there.
        analyse_fails: Frames at which an analytic raises; they are stored all the same.
        poison: Frames that kill the worker that infers them.
        deadly: Those of `poison` that kill it even when they are only announced as failed.
        breaks_at: Frame before which the source raises; None to reach the end.
        is_live: A camera: after a restart it goes on in a new epoch, from frame 0.
    """

    num_frames: int
    infer_fails: frozenset[int] = frozenset()
    analyse_fails: frozenset[int] = frozenset()
    poison: frozenset[int] = frozenset()
    deadly: frozenset[int] = frozenset()
    breaks_at: int | None = None
    is_live: bool = False

    def expected(self) -> list[tuple[int, str | None]]:
        """Each frame that must be stored, and the stage where it failed."""
        count = self.num_frames if self.breaks_at is None else self.breaks_at
        return [(index, self._failed_in(index)) for index in range(count)]

    def _failed_in(self, index: int) -> str | None:
        return "infer" if index in self.infer_fails or index in self.poison else None


QUERIED = Plan(0)
"""What happens to frames of queries: they are answered."""


class NumberSource:
    """Frames of the plans, as empty results.

    Args:
        plans: Of the streams.
        pools: Names of the pools; prompts go to them in turn.
    """

    def __init__(self, plans: dict[str, Plan], pools: tuple[str, ...] = ("",)) -> None:
        self._plans = plans
        self._pools = pools
        self.laps: list[tuple[str, float]] = []
        self._next: dict[str, int] = {}
        self._starts: dict[str, Start] = {}

    def open(self, start: Start) -> StreamInfo:
        stream_id, plan = start.spec.stream_id, self._plans[start.spec.stream_id]
        self._next[stream_id] = start.durable.position.frame_index
        self._starts[stream_id] = start
        return StreamInfo(stream_id, 4, 4, 25.0, plan.num_frames)

    def change(self, start: Start) -> None:
        before = self._starts[start.spec.stream_id]
        self._starts[start.spec.stream_id] = replace(before, prompts=start.prompts)

    def wait(self, stream_ids: Sequence[str], timeout_s: float) -> None:
        """Numbers are always there."""

    def peek(self, stream_id: str, query_id: str, prompts: tuple[Prompt, ...]) -> list[Result]:
        if not self._next.get(stream_id):
            return []
        newest = frame(stream_id, self._next[stream_id] - 1)
        return [replace(newest, header=replace(newest.header, stream_id=query_id))]

    def watch(self, stream_id: str, looks: Any) -> None:
        """There are no pixels."""

    def ease(self, stream_id: str, ease: Any) -> None:
        """Nothing is given up."""

    def read(self, stream_id: str, max_frames: int) -> list[Result]:
        plan, first = self._plans[stream_id], self._next[stream_id]
        if plan.breaks_at is not None and first >= plan.breaks_at:
            raise OSError("the tape is torn")
        last = min(first + max_frames, plan.num_frames if plan.breaks_at is None else plan.breaks_at)
        self._next[stream_id] = last
        start = self._starts[stream_id]
        asked = tuple(map(str, start.prompts))
        return [
            part
            for index in range(first, last)
            for part in parts_of(frame(stream_id, index, start.durable.epoch, asked), self._pools)
        ]

    def state(self, stream_id: str) -> ReadState:
        at, plan = self._next[stream_id], self._plans[stream_id]
        has_ended = plan.breaks_at is None and at == plan.num_frames
        return ReadState(stream_id, has_ended, Position(at, at, at), 0)

    def close(self, stream_id: str | None = None) -> None:
        if stream_id is not None:
            self._next.pop(stream_id, None)
            self._starts.pop(stream_id, None)


class NumberModel:
    """Answers, raises or dies as planned."""

    def __init__(self, plans: dict[str, Plan]) -> None:
        self._plans = plans
        self.laps: list[tuple[str, float]] = []

    def __call__(self, items: Sequence[Result], waits_ms: Sequence[float] = ()) -> list[Result]:
        for item in items:
            plan = self._plans.get(item.header.stream_id, QUERIED)
            if item.header.frame_index in plan.poison:
                raise WorkerKilled
            if item.header.frame_index in plan.infer_fails:
                raise ValueError(f"cannot see {item.header.frame_index}")
        return [_answered(item, Image(np.zeros((1, 1, 3), np.uint8))) for item in items]

    def fail(self, item: Result, failure: Failure) -> Result:
        if item.header.frame_index in self._plans.get(item.header.stream_id, QUERIED).deadly:
            raise WorkerKilled
        return _answered(item, failure)

    def swap(self, options: Any) -> None:
        """It has no weights."""

    def forget(self, stream_id: str) -> None:
        """It keeps nothing."""

    def close(self) -> None:
        pass


def _answered(item: Result, value: Image | Failure) -> Result:
    asked = map(Prompt.parse, item.header.prompts)
    return Result(
        item.header, item.info, tuple(Prediction(prompt, value, "numbers", "1", Timing()) for prompt in asked)
    )


class Picky:
    """An analytic that raises as planned, which concerns nobody else."""

    is_stateless: ClassVar[bool] = False

    def __init__(self, plans: dict[str, Plan]) -> None:
        self._plans = plans
        self._seen = 0

    def step(self, result: Result) -> tuple[Result, Sequence[Event]]:
        self._seen += 1
        if result.header.frame_index in self._plans[result.header.stream_id].analyse_fails:
            raise ValueError(f"cannot follow {result.header.frame_index}")
        return result, ()

    def snapshot(self) -> str:
        return str(self._seen)

    def restore(self, state: str, lost: int) -> None:
        del lost
        self._seen = int(state or 0)


class OrderedSink(MemorySink):
    """A disk that outlives workers, and refuses frames out of order.

    Args:
        plans: Of the streams; those of cameras may have gaps.
        faults: How many of its calls to begin, write or commit fail, by chance.
        seed: Of chance.
        overtaking: A camera's answers come from several models, in no order.
    """

    def __init__(
        self,
        plans: dict[str, Plan] | None = None,
        *,
        faults: int = 0,
        seed: int = 0,
        overtaking: bool = False,
    ) -> None:
        super().__init__()
        self.faults = faults
        self._chance = random.Random(seed)
        self.offences: list[str] = []
        self._overtaking = overtaking
        self._gappy = {stream_id for stream_id, plan in (plans or {}).items() if plan.is_live}
        self._last: dict[str, int] = {}
        self.begun: set[str] = set()
        self.told: list[HealthEvent] = []

    def _meet_fault(self) -> None:
        if self.faults and self._chance.random() < 0.1:
            self.faults -= 1
            raise OSError("torn")

    def begin(self, stream_id: str, *, is_resumed: bool) -> None:
        self._meet_fault()
        super().begin(stream_id, is_resumed=is_resumed)
        self.begun.add(stream_id)
        self._last.pop(stream_id, None)

    def write(self, segment: Any, rows: Rows) -> None:
        assert segment.stream_id in self.begun, "written before it was begun, or after it was forgotten"
        before = self._last.setdefault(segment.stream_id, rows.results[0].header.frame_index - 1)
        self._meet_fault()
        for result in rows.results:
            is_next = result.header.frame_index == before + 1
            is_later = segment.stream_id in self._gappy and (
                result.header.frame_index > before or self._overtaking
            )
            if not (is_next or is_later):
                self.offences.append(f"{result.header} came after {before}")
                raise AssertionError(self.offences[-1])  # a worker takes it for the sink's own trouble
            before = self._last[segment.stream_id] = result.header.frame_index
        super().write(segment, rows)

    def commit(self, segment: Any) -> None:
        self._meet_fault()
        super().commit(segment)

    def tell(self, event: HealthEvent) -> None:
        self.told.append(event)

    def forget(self, stream_id: str) -> None:
        for segment in [segment for segment in self._staged if segment.stream_id == stream_id]:
            del self._staged[segment]
        self.begun.discard(stream_id)
        self._last.pop(stream_id, None)

    def close(self) -> None:
        """The disk stays."""

    def frames_of(self, stream_id: str) -> list[tuple[int, str | None]]:
        """Index and stage of failure of each stored frame."""
        return [
            (result.header.frame_index, result.failed_in)
            for result in self.results
            if result.header.stream_id == stream_id
        ]


def frame(stream_id: str, index: int, epoch: int = 0, prompts: tuple[str, ...] = (str(DEPTH),)) -> Result:
    """A frame without pixels."""
    info = FrameInfo(index, Fraction(1, 25), None, "file", Letterbox.fit((4, 4), (4, 4)))
    return Result(Header(stream_id, epoch, index, "4x4", 1 + index % 3, prompts, pts=index), info, ())


def parts_of(whole: Result, pools: tuple[str, ...]) -> list[Result]:
    """A frame as a part for each pool that is asked something; prompts go to the pools in turn."""
    if len(pools) == 1:
        return [replace(whole, header=replace(whole.header, pool=pools[0]))]
    prompts = whole.header.prompts
    mine = {pool: prompts[k :: len(pools)] for k, pool in enumerate(pools)}
    asked = [(pool, texts) for pool, texts in mine.items() if texts] or [(pools[0], ())]
    return [
        replace(
            whole,
            header=replace(
                whole.header,
                pool=pool,
                prompts=texts,
                part=part,
                parts=len(asked),
                cost=len(texts),
                joins=len(asked) > 1,
            ),
        )
        for part, (pool, texts) in enumerate(asked)
    ]


def graph_of(
    plans: dict[str, Plan],
    sink: MemorySink,
    *,
    readers: int = 2,
    models: int = 2,
    trackers: int = 1,
    writers: int = 1,
    max_items: int = 4,
    read_frames: int = 3,
    max_frames_in_flight: int = 24,
    calls_in_flight: int = 2,
    pools: dict[str, Kind] | None = None,
    join_s: float = 0.0,
) -> Graph:
    """The stages of the product with operators of this module.

    Args:
        pools: Name and kind of each pool of models; one, `infer`, if left out.
        join_s: How long the parts of a camera's frame wait for one another.
    """
    named = pools or {"infer": Kind.PARALLEL}
    flow = Batch(max_items, max_cost=2 * max_items, max_wait_s=0.05)
    return Graph(
        (
            Stage(
                "read",
                Kind.SOURCE,
                lambda: NumberSource(plans, tuple(named)),
                workers=readers,
                calls_in_flight=calls_in_flight,
            ),
            *(
                Stage(
                    name,
                    kind,
                    lambda: NumberModel(plans),
                    flow,
                    workers=models,
                    calls_in_flight=calls_in_flight,
                    has_model=True,
                )
                for name, kind in named.items()
            ),
            Stage(
                "analyse",
                Kind.STREAM,
                lambda: Analyse([("track", Track), ("picky", lambda: Picky(plans))]),
                flow,
                workers=trackers,
                calls_in_flight=calls_in_flight,
            ),
            Stage(
                "write",
                Kind.STREAM,
                lambda: Write([sink]),
                flow,
                workers=writers,
                calls_in_flight=calls_in_flight,
            ),
        ),
        read_frames=read_frames,
        join_s=join_s,
        max_frames_in_flight=max_frames_in_flight,
        segment_frames=SEGMENT,
    )


def starts_of(
    plans: dict[str, Plan],
    checkpoints: dict[str, Durable] | None = None,
    prompts: tuple[Prompt, ...] = (DEPTH,),
) -> list[Start]:
    """The streams, each where it is durable."""
    starts = []
    for stream_id, plan in plans.items():
        spec = StreamSpec(stream_id, f"numbers://{stream_id}")
        start = Start.fresh(spec, prompts, is_live=plan.is_live)
        durable = (checkpoints or {}).get(stream_id)
        if durable is not None and plan.is_live:
            durable = Durable(stream_id, durable.epoch + 1, Position(), durable.state)
        starts.append(start if durable is None else replace(start, durable=durable))
    return starts
