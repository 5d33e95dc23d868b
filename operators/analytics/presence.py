"""Who is there: a stay for each object that is followed, from when it appears until it has left."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from plantain.operators.analytics.clock import StreamClock
from plantain.operators.analytics.objects import Tracked, tracked_in
from plantain.operators.types import Event, Failure, Moment, Place, Result

RULE = "presence"


@dataclass(slots=True)
class _Stay:
    """An object that is there.

    Attributes:
        track_id, label: Which, and what it is.
        prompt: Whose answers show it.
        first, last: When it was first and last seen.
        place: Where it was last seen.
        first_s, last_s: The same by the stream's clock, seconds.
        is_told: Whether anybody knows.
    """

    track_id: int
    label: str
    prompt: str
    first: Moment
    last: Moment
    place: Place
    first_s: float
    last_s: float
    is_told: bool = False

    def write(self) -> tuple[object, ...]:
        """For JSON; `astuple` would copy everything, before each step."""
        place = self.place
        return (
            *(self.track_id, self.label, self.prompt),
            *(_written(self.first), _written(self.last), (place.x_px, place.y_px, place.distance_m)),
            *(self.first_s, self.last_s, self.is_told),
        )


class Presence:
    """Tells when a tracked object has appeared, and when it has left.

    Both are one event about one stay: `appeared` (revision 0) has its start, `left` (revision 1) the end as well. What
    is still there when a file ends has not left. An object that is tracked again after it has left begins another stay.

    Args:
        min_s: An object that is seen for a shorter time is none: masks flicker. Seconds.
        lost_s: One that is looked for in vain, and was not seen for longer, has left. Seconds.
    """

    is_stateless: ClassVar[bool] = False

    def __init__(self, min_s: float = 0.5, lost_s: float = 5.0) -> None:
        if min_s < 0 or lost_s <= 0:
            raise ValueError(f"min_s is at least 0 and lost_s more, not {min_s:g} and {lost_s:g}")
        self._min_s = min_s
        self._lost_s = lost_s
        self._clock = StreamClock()
        self._stays: dict[int, _Stay] = {}

    def step(self, result: Result) -> tuple[Result, Sequence[Event]]:
        """Who has appeared and who has left by now."""
        now_s, now = self._clock.advance(result), result.moment
        asked: set[str] = set()
        for prediction in result.predictions:
            if isinstance(prediction.value, Failure):  # nobody has looked
                continue
            asked.add(str(prediction.prompt))
            for seen in tracked_in(prediction, result.info.fit):
                self._see(seen, str(prediction.prompt), now, now_s)
        return result, tuple(self._news(result, asked, now, now_s))

    def snapshot(self) -> str:
        """Everybody who is there."""
        stays = [stay.write() for stay in self._stays.values()]
        return json.dumps([self._clock.write(), stays], separators=(",", ":"))

    def restore(self, state: str, lost: int) -> None:
        """Goes on from a snapshot; behind a gap, whoever is not seen again has left."""
        del lost
        clock, stays = json.loads(state) if state else (None, [])
        self._clock = StreamClock.read(clock)
        self._stays = {
            track_id: _Stay(track_id, label, prompt, Moment(*first), Moment(*last), Place(*place), *rest)
            for track_id, label, prompt, first, last, place, *rest in stays
        }

    def _see(self, seen: Tracked, prompt: str, now: Moment, now_s: float) -> None:
        stay = self._stays.get(seen.track_id)
        if stay is None:
            self._stays[seen.track_id] = _Stay(
                seen.track_id, seen.label, prompt, now, now, seen.place, now_s, now_s
            )
        else:
            stay.last, stay.last_s, stay.place = now, now_s, seen.place

    def _news(self, result: Result, asked: set[str], now: Moment, now_s: float) -> Iterator[Event]:
        stream_id = result.header.stream_id
        for stay in list(self._stays.values()):
            if not stay.is_told and stay.last_s - stay.first_s >= self._min_s:
                stay.is_told = True
                yield _event("appeared", stream_id, stay, None, now, 0)
            if stay.prompt in asked and now_s - stay.last_s > self._lost_s:
                del self._stays[stay.track_id]
                if stay.is_told:
                    yield _event("left", stream_id, stay, stay.last, now, 1)


def _written(moment: Moment) -> tuple[object, ...]:
    return moment.epoch, moment.frame_index, moment.time_s, moment.captured_ns


def _event(
    kind: str, stream_id: str, stay: _Stay, end: Moment | None, evidence: Moment, revision: int
) -> Event:
    return Event(
        kind,
        RULE,
        stream_id,
        stay.first,
        end,
        evidence,
        track_id=stay.track_id,
        label=stay.label,
        place=stay.place,
        revision=revision,
    )
