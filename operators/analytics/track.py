"""Who is who: gives instances an identity over time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from plantain.operators.analytics.clock import StreamClock
from plantain.operators.answers import kind_of
from plantain.operators.geometry import Letterbox, iou
from plantain.operators.types import Event, Failure, Prediction, Result

# A pair that overlaps less is never the same object (SORT, Bewley et al. 2016, uses 0.3 on boxes at full rate;
# sampled video moves further between frames).
MIN_IOU = 0.2
# How long an object that is not seen is remembered. Trackers of full-rate video take 1 s (ByteTrack: 30 frames), and
# sampled video hides things longer; after more, whatever stands there is as well another.
MAX_LOST_S = 3.0
# Where frames come more slowly than that, so many looks in vain.
MAX_LOOKS = 3
# Identities that are left out where it is not known which were given: more than a camera gives between two snapshots.
GAP = 100_000


@dataclass(slots=True)
class _Lane:
    """The objects of one prompt, those that were seen last first.

    Attributes:
        ids: The identity of each.
        given: The number under which the model follows each; None where it follows nothing.
        boxes: (N, 4) in source pixels, when each was last seen.
        speeds: (N, 4) of the boxes, pixels a second.
        seen_s: (N,) when that was, seconds.
        looked_s: When it was last asked for them, seconds.
        interval_s: From one look to the next, lately. It grows twofold a look at most: an outage is no habit.
    """

    ids: list[int] = field(default_factory=list)
    given: list[int | None] = field(default_factory=list)
    boxes: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    speeds: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    seen_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    looked_s: float | None = None
    interval_s: float = 0.0

    def look(self, now_s: float) -> None:
        """Forgets what was not seen for too long."""
        bound_s = max(MAX_LOST_S, MAX_LOOKS * self.interval_s)
        known = now_s - self.seen_s <= bound_s
        if not known.all():
            kept = np.flatnonzero(known)
            self.ids = [self.ids[k] for k in kept]
            self.given = [self.given[k] for k in kept]
            self.boxes, self.speeds, self.seen_s = self.boxes[kept], self.speeds[kept], self.seen_s[kept]
        if self.looked_s is not None:
            passed_s = now_s - self.looked_s
            self.interval_s = min(passed_s, 2 * self.interval_s) if self.interval_s else passed_s
        self.looked_s = now_s

    def remember(self, seen: _Lane, unseen: list[int]) -> None:
        """What is seen now, and behind it those of its objects that are not."""
        if unseen:
            seen.boxes = np.concatenate([seen.boxes, self.boxes[unseen]])
            seen.speeds = np.concatenate([seen.speeds, self.speeds[unseen]])
            seen.seen_s = np.concatenate([seen.seen_s, self.seen_s[unseen]])
        self.boxes, self.speeds, self.seen_s = seen.boxes, seen.speeds, seen.seen_s
        self.ids = seen.ids + [self.ids[k] for k in unseen]
        self.given = seen.given + [self.given[k] for k in unseen]

    def write(self) -> list[Any]:
        """For JSON."""
        rows = zip(
            self.ids, self.boxes.tolist(), self.speeds.tolist(), self.seen_s.tolist(), self.given, strict=True
        )
        return [self.looked_s, self.interval_s, *rows]

    @classmethod
    def read(cls, written: list[Any]) -> _Lane:
        """The lane that wrote this."""
        looked_s, interval_s, *rows = written
        lane = cls(looked_s=looked_s, interval_s=interval_s)
        if rows:
            lane.ids, boxes, speeds, seen_s, lane.given = map(list, zip(*rows, strict=True))
            lane.boxes, lane.speeds, lane.seen_s = np.array(boxes), np.array(speeds), np.array(seen_s)
        return lane


class Track:
    """Matches each frame's things with those before, by overlap with where they should be by now.

    Constant velocity and the assignment of greatest total overlap, for answers whose things lie apart
    (`Kind.places`). Identities are unique in a stream, over its prompts and over all lives of a camera.

    A thing that the model follows itself, under a number of its own, keeps the identity that it was first given; only
    one whose number is new is matched by overlap, as all are when the model has begun anew.
    """

    is_stateless: ClassVar[bool] = False

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._next_id = 1
        self._clock = StreamClock()
        self._source_hw: tuple[int, int] | None = None
        self._lanes: dict[str, _Lane] = {}

    def step(self, result: Result) -> tuple[Result, Sequence[Event]]:
        """The result with the identities of its things."""
        now_s = self._clock.advance(result)
        self._resize(result.info.fit.source_hw)
        predictions = tuple(self._follow(each, result.info.fit, now_s) for each in result.predictions)
        return replace(result, predictions=predictions), ()

    def _follow(self, prediction: Prediction, fit: Letterbox, now_s: float) -> Prediction:
        if isinstance(prediction.value, Failure):
            return prediction
        kind = kind_of(prediction.prompt)
        boxes = kind.places(prediction.value, fit)
        if boxes is None:
            return prediction
        lane = self._lanes.setdefault(str(prediction.prompt), _Lane())
        lane.look(now_s)
        given = [thing.track_id for thing in kind.things(prediction.value)]
        ids = self._match(lane, boxes.astype(np.float64), given, now_s)
        return replace(prediction, value=kind.with_tracks(prediction.value, tuple(ids)))

    def snapshot(self) -> str:
        """The objects of every prompt."""
        lanes = {prompt: lane.write() for prompt, lane in self._lanes.items()}
        known = [self._next_id, self._clock.write(), self._source_hw, lanes]
        return json.dumps(known, separators=(",", ":"))

    def restore(self, state: str, lost: int) -> None:
        """Goes on from a snapshot; behind a gap with numbers that nobody has."""
        self._begin()
        if state:
            self._next_id, clock, size, lanes = json.loads(state)
            self._clock = StreamClock.read(clock)
            self._source_hw = None if size is None else (size[0], size[1])
            self._lanes = {prompt: _Lane.read(written) for prompt, written in lanes.items()}
        self._next_id += GAP * lost

    def _resize(self, source_hw: tuple[int, int]) -> None:
        """Goes on in other source pixels, where a camera was told to send larger or smaller pictures."""
        if self._source_hw is not None and self._source_hw != source_hw:
            scale_y, scale_x = source_hw[0] / self._source_hw[0], source_hw[1] / self._source_hw[1]
            for lane in self._lanes.values():
                lane.boxes = lane.boxes * [scale_x, scale_y, scale_x, scale_y]
                lane.speeds = lane.speeds * [scale_x, scale_y, scale_x, scale_y]
        self._source_hw = source_hw

    def _match(
        self, lane: _Lane, boxes: NDArray[np.float64], given: list[int | None], now_s: float
    ) -> list[int]:
        """The identity of each box, of which some are followed by the model; updates the lane.

        What is kept is rounded to hundredths: the state stays short, and is the same whether it was stored meanwhile
        or not.
        """
        unseen_s = (now_s - lane.seen_s)[:, None]
        overlap = iou(lane.boxes + lane.speeds * unseen_s, boxes)
        row_of = {number: row for row, number in enumerate(lane.given) if number is not None}
        for column, number in enumerate(given):
            if number in row_of:  # the model says who it is, whatever overlaps
                overlap[row_of[number]], overlap[:, column] = 0, 0
                overlap[row_of[number], column] = 1
        rows, columns = _pairs(overlap)
        before, passed_s = lane.speeds[rows], unseen_s[rows]
        moved = np.divide(boxes[columns] - lane.boxes[rows], passed_s, out=before.copy(), where=passed_s > 0)
        speeds = np.zeros((len(boxes), 4))
        speeds[columns] = (0.5 * (before + moved)).round(2)  # half and half halves the jitter of mask edges
        known = dict(zip(columns.tolist(), rows.tolist(), strict=True))
        ids = [lane.ids[known[k]] if k in known else self._new_id() for k in range(len(boxes))]
        matched = set(known.values())
        seen = _Lane(ids, given, boxes.round(2), speeds, np.full(len(boxes), now_s))
        lane.remember(seen, [row for row in range(len(lane.ids)) if row not in matched])
        return ids

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1


def _pairs(overlap: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the greatest total overlap (N, M), of pairs that may be the same."""
    could_be = overlap >= MIN_IOU
    rows, columns = np.nonzero(could_be)
    if (
        len(set(rows.tolist())) == len(rows) == len(set(columns.tolist()))
    ):  # as good as always: nobody has a choice
        return rows, columns
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(np.where(could_be, overlap, 0), maximize=True)
    kept = could_be[rows, columns]
    return rows[kept], columns[kept]
