"""The step behind the models: what follows from results over time, in the order in which the analytics are named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, replace
from time import perf_counter

import structlog

from plantain.operators.analytics.base import Analytic
from plantain.operators.redaction import redact
from plantain.operators.streams import Start
from plantain.operators.types import Event, Failure, Moment, Result

FAILED = "failed"
"""Kind of the event that says that an analytic failed."""

Make = Callable[[], Analytic]

log = structlog.get_logger()


@dataclass(slots=True)
class _Link:
    """One analytic of one stream.

    Attributes:
        name: In the configuration; its rule.
        analytic: What works.
        failing: Since when it has failed at every result; None while it works.
    """

    name: str
    analytic: Analytic
    failing: Moment | None = None


@dataclass(slots=True)
class _Stream:
    """The analytics of a stream, and the segment (epoch, number) that its last result was in."""

    links: list[_Link]
    segment: tuple[int, int] | None = None

    def snapshot(self) -> str:
        """What is known, by analytic; text that `restored` reads."""
        links = {
            link.name: [
                link.analytic.snapshot(),
                None if link.failing is None else astuple(link.failing),
            ]
            for link in self.links
            if not link.analytic.is_stateless or link.failing is not None
        }
        return json.dumps({"segment": self.segment, "links": links}, separators=(",", ":"))

    def restore(self, state: str, epoch: int, *, is_live: bool) -> None:
        """Goes on from a snapshot, or anew where it is empty; analytics that are not in it begin anew."""
        known = json.loads(state) if state else {}
        if "links" not in known:  # nothing, or what version 0.1 stored
            known = {"segment": None, "links": {}}
        segment = known["segment"]
        self.segment = None if segment is None else (segment[0], segment[1])
        for link in self.links:
            text, failing = known["links"].get(link.name, ("", None))
            link.failing = None if failing is None else Moment(*failing)
            link.analytic.restore(text, self._lost(epoch, is_live=is_live, has_state=bool(state)))

    def _lost(self, epoch: int, *, is_live: bool, has_state: bool) -> int:
        """See `Analytic.restore`: even for a camera's lives since the snapshot, odd for a worker lost in this one."""
        lives = epoch - (0 if self.segment is None else self.segment[0])
        return 2 * lives or int(is_live and has_state)


class Analyse:
    """Runs a chain of analytics over each stream's results, and keeps what they know.

    Args:
        chain: Name and maker of each analytic, in order.
        segment_frames: Frame indexes in a segment; the first result of each carries the state before it.

    Attributes:
        laps: What the last calls were made of, as (part, seconds); whoever reads it clears it.
    """

    def __init__(self, chain: Sequence[tuple[str, Make]], segment_frames: int) -> None:
        self._chain = tuple(chain)
        self._segment_frames = segment_frames
        self._streams: dict[str, _Stream] = {}
        self.laps: list[tuple[str, float]] = []

    def open(self, start: Start) -> None:
        """Starts or restarts a stream with what was known where it is durable."""
        stream = _Stream([_Link(name, make()) for name, make in self._chain])
        stream.restore(start.durable.state or "", start.durable.epoch, is_live=start.is_live)
        self._streams[start.spec.stream_id] = stream

    def __call__(self, results: Sequence[Result]) -> list[Result]:
        """The results with what the analytics add to them, and events, in frame order."""
        return [self._analyse(result) for result in results]

    def snapshot(self, stream_id: str) -> str:
        """What is known about a stream."""
        return self._streams[stream_id].snapshot()

    def restore(self, stream_id: str, state: str) -> None:
        """Goes back to an earlier `snapshot` of this process."""
        stream = self._streams[stream_id]
        segment = json.loads(state)["segment"]
        stream.restore(state, 0 if segment is None else segment[0], is_live=False)

    def fail(self, result: Result, failure: Failure) -> Result:
        """The result that announces that this step failed; what is seen is looked for again in the next one."""
        state_before = self._enter_segment(self._streams[result.header.stream_id], result)
        failed = tuple(replace(prediction, value=failure) for prediction in result.predictions)
        return replace(result, predictions=failed, state_before=state_before)

    def finish(self, stream_id: str, *, is_complete: bool) -> None:
        """Forgets a stream."""
        del is_complete
        self.close(stream_id)

    def close(self, stream_id: str | None = None) -> None:
        """Forgets one stream, or all."""
        for name in list(self._streams) if stream_id is None else [stream_id]:
            self._streams.pop(name, None)

    def _enter_segment(self, stream: _Stream, result: Result) -> str | None:
        """What is known before the first result of a segment; None for the others."""
        segment = (result.header.epoch, result.header.frame_index // self._segment_frames)
        if segment == stream.segment:
            return None
        before = stream.snapshot()
        stream.segment = segment
        return before

    def _analyse(self, result: Result) -> Result:
        stream = self._streams[result.header.stream_id]
        state_before = self._enter_segment(stream, result)
        events: list[Event] = []
        for link in stream.links:
            begun_s = perf_counter()
            result, news = _step(link, result)
            events += news
            self.laps.append((link.name, perf_counter() - begun_s))
        return replace(result, events=tuple(events), state_before=state_before)


def _step(link: _Link, result: Result) -> tuple[Result, Sequence[Event]]:
    """One analytic's share; where it fails, the result passes by, and an event says from when until when."""
    before = link.analytic.snapshot()
    try:
        analysed, events = link.analytic.step(result)
    except Exception as error:  # noqa: BLE001 - a user's analytic may raise anything; it fails itself only
        link.analytic.restore(before, 0)
        if link.failing is not None:
            return result, ()
        link.failing = result.moment
        sentence = redact(f"{type(error).__name__}: {error}")
        log.warning("analytic failed", stream=result.header.stream_id, analytic=link.name, error=sentence)
        return result, (_failed(link, result, link.failing, None, sentence),)
    if link.failing is None:
        return analysed, events
    since, link.failing = link.failing, None
    return analysed, (_failed(link, result, since, result.moment, "it works again"), *events)


def _failed(link: _Link, result: Result, since: Moment, until: Moment | None, sentence: str) -> Event:
    stream_id, revision = result.header.stream_id, 0 if until is None else 1
    return Event(
        FAILED, link.name, stream_id, since, until, result.moment, revision=revision, detail=sentence
    )


class AnalyseQueries:
    """Runs those of the analytics that need no past over answers to queries, which have none.

    Args:
        makes: Makers of the analytics, in order.
    """

    def __init__(self, makes: Iterable[Make]) -> None:
        self._analytics = [made for made in (make() for make in makes) if made.is_stateless]

    def __call__(self, results: Sequence[Result]) -> list[Result]:
        """The results with what the analytics add to them."""
        return [self._analyse(result) for result in results]

    def _analyse(self, result: Result) -> Result:
        for analytic in self._analytics:
            try:
                result, _ = analytic.step(result)
            except Exception as error:  # noqa: BLE001 - a user's analytic may raise anything; the answer stands
                log.warning("analytic failed", analytic=type(analytic).__name__, error=redact(str(error)))
        return result
