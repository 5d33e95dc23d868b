"""The step behind the models: what follows from results over time, in the order in which the analytics are named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, replace
from time import perf_counter
from typing import Any

import structlog

from plantain.operators.analytics.base import Analytic
from plantain.operators.following import Follower
from plantain.operators.redaction import redact
from plantain.operators.segments import Barrier
from plantain.operators.streams import Start
from plantain.operators.types import Event, Moment, Result

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
        is_dumb: It once could not say what it knows.
    """

    name: str
    analytic: Analytic
    failing: Moment | None = None
    is_dumb: bool = False

    def snapshot(self) -> str:
        """What the analytic knows; nothing, where it cannot say: it begins anew then, and nobody else does."""
        try:
            return self.analytic.snapshot()
        except Exception as error:  # noqa: BLE001 - a user's analytic may raise anything; it fails itself only
            if not self.is_dumb:  # once, and not at each frame
                self.is_dumb = True
                said = redact(f"{type(error).__name__}: {error}")
                log.warning("analytic failed", analytic=self.name, error=said)
            return ""


@dataclass(slots=True)
class _Stream:
    """The analytics of a stream, and the epoch of its last result."""

    links: list[_Link]
    epoch: int = 0

    def snapshot(self) -> str:
        """What is known, by analytic; text that `restored` reads."""
        links = {
            link.name: [link.snapshot(), None if link.failing is None else astuple(link.failing)]
            for link in self.links
            if not link.analytic.is_stateless or link.failing is not None
        }
        return json.dumps({"epoch": self.epoch, "links": links}, separators=(",", ":"))

    def restore(self, state: str, epoch: int, *, is_live: bool) -> None:
        """Goes on from a snapshot, or anew where it is empty; analytics that are not in it begin anew."""
        known: dict[str, Any] = json.loads(state) if state else {}
        if "links" not in known:  # nothing, or what version 0.1 stored
            known = {"epoch": 0, "links": {}}
        self.epoch = known["epoch"]
        for link in self.links:
            text, failing = known["links"].get(link.name, ("", None))
            link.failing = None if failing is None else Moment(*failing)
            link.analytic.restore(text, self._lost(epoch, is_live=is_live, has_state=bool(state)))

    def _lost(self, epoch: int, *, is_live: bool, has_state: bool) -> int:
        """See `Analytic.restore`: even for a camera's lives since the snapshot, odd for a worker lost in this one."""
        return 2 * (epoch - self.epoch) or int(has_state) if is_live else 0


class Analyse(Follower):
    """Runs a chain of analytics over each stream's results, and keeps what they know.

    Args:
        chain: Name and maker of each analytic, in order.
    """

    def __init__(self, chain: Sequence[tuple[str, Make]]) -> None:
        super().__init__()
        self._chain = tuple(chain)
        self._streams: dict[str, _Stream] = {}

    def open(self, start: Start) -> None:
        """Starts or restarts a stream with what was known where it is durable."""
        stream = _Stream([_Link(name, make()) for name, make in self._chain])
        stream.restore(start.durable.state or "", start.durable.epoch, is_live=start.is_live)
        self._streams[start.spec.stream_id] = stream

    def __call__(self, results: Sequence[Result]) -> list[Result]:
        """The results with what the analytics add to them, and events, in frame order."""
        return [self._analyse(result) for result in results]

    def cut(self, barriers: Sequence[Barrier]) -> list[Barrier]:
        """Notes what is known where segments end."""
        return [
            replace(each, promise=replace(each.promise, state=self.snapshot(each.stream_id)))
            for each in barriers
        ]

    def snapshot(self, stream_id: str) -> str:
        """What is known about a stream."""
        return self._streams[stream_id].snapshot()

    def close(self, stream_id: str | None = None) -> None:
        """Forgets one stream, or all."""
        for name in list(self._streams) if stream_id is None else [stream_id]:
            self._streams.pop(name, None)

    def _analyse(self, result: Result) -> Result:
        stream = self._streams[result.header.stream_id]
        stream.epoch = result.header.epoch
        events: list[Event] = []
        for link in stream.links:
            begun_s = perf_counter()
            result, news = _step(link, result)
            events += news
            self.laps.append((link.name, perf_counter() - begun_s))
        return replace(result, events=tuple(events)) if events else result


def _step(link: _Link, result: Result) -> tuple[Result, Sequence[Event]]:
    """One analytic's share; where it fails, the result passes by, and an event says from when until when."""
    before = link.snapshot()
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
