"""Counts what an engine does, and turns that and the streams' books into samples of `plantain.pipeline.engine.metrics`.

Pure, like the engine: the clock is passed in. Counters never fall, also where a stream goes back to what is durable
(it then counts its frames again, and its counters stand still until it is past them), and where it is taken away and
comes back. Labels are bounded: whatever is beyond a limit is counted together.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from plantain.operators.health import FLOWING
from plantain.operators.prompts import Prompt
from plantain.operators.segments import Backlog, Durable
from plantain.pipeline.engine import metrics
from plantain.pipeline.engine.metrics import Distribution, Metric, Sample
from plantain.pipeline.engine.stream import Phase, Stream

if TYPE_CHECKING:
    from plantain.pipeline.calls import Call, Reply
    from plantain.pipeline.engine.engine import Engine
    from plantain.pipeline.engine.item import Item

# Streams with figures of their own; those beyond share a label.
MAX_STREAMS = 1000
# Reasons with figures of their own for each stream, in the order in which they first came.
MAX_REASONS = 16
OTHERS = "(others)"

_Key = tuple[Metric, str]
"""A counter of a stream, and the reason where it is broken down by one."""


@dataclass(slots=True)
class _Marks:
    """What was published of a stream.

    Attributes:
        label: Under which name.
        stream: The stream; another object of the same name is counted on top of it.
        base: Counters of earlier streams of the same name.
        high: The most that its own counters have been.
        latency: Of its results.
        decoded_s: When it gave its newest frame, in the engine's clock.
        durable: What was durable when it was last looked at.
        durable_s: When that was news, or results began to wait.
        states: That it was ever seen in.
        num_before: Results from before the stream's position was last set back to 0.
    """

    label: str
    stream: Stream | None = None
    base: Counter[_Key] = field(default_factory=Counter)
    high: Counter[_Key] = field(default_factory=Counter)
    latency: Distribution = field(default_factory=lambda: Distribution.of(metrics.LATENCY))
    decoded_s: float | None = None
    durable: Durable | None = None
    durable_s: float = 0.0
    states: set[str] = field(default_factory=set)
    num_before: int = 0

    def follow(self, stream: Stream) -> None:
        """Counts on with another stream of the same name."""
        if self.stream is stream:
            return
        self.base += self.high
        self.high.clear()
        self.stream, self.durable, self.decoded_s = stream, None, None
        self.num_before = 0

    def reach(self, metric: Metric, value: int, reason: str = "") -> None:
        """A counter of its own has come to a value."""
        key = (metric, reason)
        if key not in self.high and sum(known is metric for known, _ in self.high) >= MAX_REASONS:
            key = (metric, OTHERS)
        self.high[key] = max(self.high[key], value)


class Meter:
    """One engine's own; the engine tells it of every call and result. MAX_STREAMS streams have figures of their own."""

    def __init__(self) -> None:
        self._marks: dict[str, _Marks] = {}
        self._gone = _Marks(OTHERS)
        self._states: set[str] = {"connecting", *FLOWING}
        self._answers: Counter[str] = Counter()
        self._parts: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._batches: dict[str, Distribution] = {}
        self._deaths: Counter[str] = Counter()
        self._costs_usd: defaultdict[str, float] = defaultdict(float)
        self._lost: Counter[str] = Counter()
        self._drawings = 0
        self._drawing_time = Distribution.of(metrics.DRAWING_TIME)
        self._queries = Distribution.of(metrics.QUERY_LATENCY)

    def sent(self, call: Call) -> None:
        """A call goes to its worker."""
        if call.verb == "run":
            self._batches.setdefault(call.stage, Distribution.of(metrics.BATCH)).observe(
                metrics.BATCH, len(call.headers)
            )

    def done(self, call: Call, reply: Reply) -> None:
        """A call has come back."""
        for part, seconds in reply.laps or ((call.stage, reply.busy_s),):
            self._parts[call.stage, part] += seconds
        for _, cost_usd in reply.costs:
            self._costs_usd[call.stage] += cost_usd
        model_s = sum(seconds for part, seconds in reply.laps if part == "model")
        drawings = sum(header.cost for header in call.headers)
        if model_s and drawings:
            self._drawings += drawings
            self._drawing_time.observe(metrics.DRAWING_TIME, model_s / drawings, drawings)

    def frame(self, stream: Stream, now: float) -> None:
        """A stream gave a frame."""
        self._marks_of(stream).decoded_s = now

    def result(self, stream: Stream, item: Item, now: float) -> None:
        """The sinks took what became of a frame; where nothing was asked, nothing is late."""
        if not item.header.cost:
            return
        self._marks_of(stream).latency.observe(metrics.LATENCY, item.header.age_s + now - item.read_at)
        if item.failed_in is None:
            self._answers.update(map(_task_of, item.header.prompts))

    def query(self, latency_s: float) -> None:
        """A frame of a query is answered."""
        self._queries.observe(metrics.QUERY_LATENCY, latency_s)

    def died(self, stage: str) -> None:
        """A copy of a stage is to be made anew."""
        self._deaths[stage] += 1

    def left(self, stream_id: str) -> None:
        """A stream was taken away."""
        marks = self._marks.pop(stream_id, None)
        if marks is not None and marks.label == OTHERS:
            self._gone.base += marks.base + marks.high
            self._gone.latency = self._gone.latency.plus(marks.latency)

    def samples(self, engine: Engine, now: float) -> list[Sample]:
        """Everything that can be said now.

        Args:
            engine: Whose meter this is.
            now: Its clock, seconds.
        """
        sheet = _Sheet()
        states = Counter(dict.fromkeys((*map(str, Phase), *self._states), 0))
        for stream in engine.streams.values():
            marks = self._marks_of(stream)
            _count(marks, stream)
            _add(sheet, marks)
            _add_state(sheet, marks, stream, now)
            states[stream.state] += 1
        for stream_id in self._marks.keys() - engine.streams.keys():
            self.left(stream_id)
        if self._gone.base:
            _add(sheet, self._gone)
        self._states.update(states)
        for state, count in states.items():
            sheet.add(metrics.STREAMS, count, state)
        for task, count in self._answers.items():
            sheet.add(metrics.ANSWERS, count, task)
        self._add_work(sheet, engine, now)
        self._add_backlogs(sheet, engine.backlogs.all)
        for what, size in engine.deletions.sizes.items():
            sheet.add(metrics.DELETED, size, what)
        return list(sheet)

    def _add_work(self, sheet: _Sheet, engine: Engine, now: float) -> None:
        """What the stages do, and what waits for them."""
        for stage, seconds in engine.busy_s.items():
            sheet.add(metrics.BUSY, seconds, stage)
            sheet.add(metrics.DEATHS, self._deaths[stage], stage)
        for (stage, part), seconds in self._parts.items():
            sheet.add(metrics.PARTS, seconds, stage, part)
        for stage, load in engine.loads(now).items():
            sheet.add(metrics.WORKERS, load.workers, stage)
            sheet.add(metrics.CALLS, load.calls, stage)
            sheet.add(metrics.QUEUE, load.items, stage)
            sheet.add(metrics.QUEUE_AGE, load.age_s, stage)
        for stage, batches in self._batches.items():
            sheet.add(metrics.BATCH, batches, stage)
        for stage, cost_usd in self._costs_usd.items():
            sheet.add(metrics.COST, cost_usd, stage)
        sheet.add(metrics.DRAWINGS, self._drawings)
        sheet.add(metrics.DRAWING_TIME, self._drawing_time)
        sheet.add(metrics.QUERY_LATENCY, self._queries)

    def _add_backlogs(self, sheet: _Sheet, backlogs: list[Backlog]) -> None:
        """What the sinks keep on disk; those of several writers are added up."""
        totals: dict[str, list[Backlog]] = defaultdict(list)
        for backlog in backlogs:
            totals[backlog.sink].append(backlog)
        for sink, each in totals.items():
            size = sum(backlog.size for backlog in each)
            self._lost[sink] = max(self._lost[sink], sum(backlog.lost for backlog in each))
            sheet.add(metrics.SPOOL_MESSAGES, sum(backlog.messages for backlog in each), sink)
            sheet.add(metrics.SPOOL_BYTES, size, sink)
            sheet.add(metrics.SPOOL_FILL, size / sum(backlog.max_bytes for backlog in each), sink)
            sheet.add(metrics.SPOOL_AGE, max(backlog.age_s for backlog in each), sink)
            sheet.add(metrics.SPOOL_LOST, self._lost[sink], sink)

    def _marks_of(self, stream: Stream) -> _Marks:
        marks = self._marks.get(stream.stream_id)
        if marks is None:
            own = sum(known.label != OTHERS for known in self._marks.values())
            label = stream.stream_id if own < MAX_STREAMS else OTHERS
            marks = self._marks[stream.stream_id] = _Marks(label)
        marks.follow(stream)
        return marks


class _Sheet:
    """Samples in the making; what comes twice under the same labels is added up, or of ages the highest."""

    def __init__(self) -> None:
        self._values: dict[tuple[Metric, tuple[str, ...]], float | Distribution] = {}

    def __iter__(self) -> Iterator[Sample]:
        return (Sample(metric, labels, value) for (metric, labels), value in self._values.items())

    def add(self, metric: Metric, value: float | Distribution, *labels: str) -> None:
        """Adds to a figure."""
        known = self._values.get((metric, labels))
        if isinstance(value, Distribution):
            value = value.plus(known if isinstance(known, Distribution) else Distribution.of(metric))
        elif isinstance(known, float | int):
            value += known
        self._values[metric, labels] = value

    def top(self, metric: Metric, value: float, *labels: str) -> None:
        """Raises a figure to a value."""
        known = self._values.get((metric, labels), value)
        self._values[metric, labels] = max(value, known) if isinstance(known, float | int) else value


@lru_cache(1024)
def _task_of(prompt: str) -> str:
    return str(Prompt.parse(prompt).task)


def _count(marks: _Marks, stream: Stream) -> None:
    """Reads a stream's books."""
    account = stream.account
    marks.reach(metrics.DECODED, account.decoded)
    marks.reach(metrics.ANSWERED, account.results)
    if stream.is_live:
        marks.reach(metrics.RECONNECTS, stream.num_reconnects)
    for reason, count in account.lost.items():
        marks.reach(metrics.LOST, count, reason)
    for reason, count in account.skipped.items():
        marks.reach(metrics.SKIPPED, count, reason)
    for stage, count in account.failed.items():
        marks.reach(metrics.FAILED, count, stage)


def _add(sheet: _Sheet, marks: _Marks) -> None:
    """A stream's counters."""
    for metric, reason in {**marks.base, **marks.high}:
        count = marks.base[metric, reason] + marks.high[metric, reason]
        sheet.add(metric, count, *((marks.label,) if len(metric.labels) == 1 else (marks.label, reason)))
    sheet.add(metrics.LATENCY, marks.latency, marks.label)


def _add_state(sheet: _Sheet, marks: _Marks, stream: Stream, now: float) -> None:
    """How a stream is doing now."""
    sheet.add(metrics.IN_FLIGHT, stream.num_items, marks.label)
    marks.states.add(stream.state)
    for state in marks.states:
        sheet.add(metrics.STATE, state == stream.state, marks.label, state)
    durable, num_taken = stream.start.durable, stream.account.results + stream.account.failed.total()
    if marks.durable is None or durable != marks.durable:
        if marks.durable is not None and durable.position.delivered < marks.durable.position.delivered:
            marks.num_before = num_taken
        marks.durable, marks.durable_s = durable, now
    if durable.is_complete or num_taken - marks.num_before <= durable.position.delivered:
        marks.durable_s = now
    sheet.top(metrics.COMMIT_AGE, now - marks.durable_s, marks.label)
    if stream.is_live:
        sheet.top(metrics.RUNG, stream.rung, marks.label)
    if stream.is_live and stream.phase is Phase.READING:
        marks.decoded_s = now if marks.decoded_s is None else marks.decoded_s
        sheet.top(metrics.FRAME_AGE, now - marks.decoded_s, marks.label)
