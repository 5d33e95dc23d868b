"""Who is who: gives instances an identity over time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

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
class _Object:
    """One object.

    Attributes:
        track_id: Its identity.
        box: In source pixels, when it was last seen.
        velocity: Of the box, pixels a second.
        seen_s: When that was, seconds.
        given: The number under which the model follows it; None where the model follows nothing.
    """

    track_id: int
    box: list[float]
    velocity: list[float]
    seen_s: float
    given: int | None = None

    def write(self) -> tuple[int, list[float], list[float], float, int | None]:
        """For JSON; `astuple` would copy everything, before each step."""
        return self.track_id, self.box, self.velocity, self.seen_s, self.given


@dataclass(slots=True)
class _Lane:
    """The objects of one prompt.

    Attributes:
        objects: Those that are remembered.
        looked_s: When it was last asked for them, seconds.
        interval_s: From one look to the next, lately. It grows twofold a look at most: an outage is no habit.
    """

    objects: list[_Object] = field(default_factory=list)
    looked_s: float | None = None
    interval_s: float = 0.0

    def look(self, now_s: float) -> None:
        """Forgets what was not seen for too long."""
        bound_s = max(MAX_LOST_S, MAX_LOOKS * self.interval_s)
        self.objects = [each for each in self.objects if now_s - each.seen_s <= bound_s]
        if self.looked_s is not None:
            passed_s = now_s - self.looked_s
            self.interval_s = min(passed_s, 2 * self.interval_s) if self.interval_s else passed_s
        self.looked_s = now_s


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
        ids = self._match(lane, boxes, given, now_s)
        return replace(prediction, value=kind.with_tracks(prediction.value, tuple(ids)))

    def snapshot(self) -> str:
        """The objects of every prompt."""
        lanes = {
            prompt: [lane.looked_s, lane.interval_s, *(each.write() for each in lane.objects)]
            for prompt, lane in self._lanes.items()
        }
        known = [self._next_id, self._clock.write(), self._source_hw, lanes]
        return json.dumps(known, separators=(",", ":"))

    def restore(self, state: str, lost: int) -> None:
        """Goes on from a snapshot; behind a gap with numbers that nobody has."""
        self._begin()
        if state:
            self._next_id, clock, size, lanes = json.loads(state)
            self._clock = StreamClock.read(clock)
            self._source_hw = None if size is None else (size[0], size[1])
            self._lanes = {
                prompt: _Lane([_Object(*each) for each in objects], looked_s, interval_s)
                for prompt, (looked_s, interval_s, *objects) in lanes.items()
            }
        self._next_id += GAP * lost

    def _resize(self, source_hw: tuple[int, int]) -> None:
        """Goes on in other source pixels, where a camera was told to send larger or smaller pictures."""
        if self._source_hw is not None and self._source_hw != source_hw:
            scale_y, scale_x = source_hw[0] / self._source_hw[0], source_hw[1] / self._source_hw[1]
            for each in (each for lane in self._lanes.values() for each in lane.objects):
                each.box = _scaled(each.box, scale_x, scale_y)
                each.velocity = _scaled(each.velocity, scale_x, scale_y)
        self._source_hw = source_hw

    def _match(
        self, lane: _Lane, boxes: NDArray[np.float32], given: list[int | None], now_s: float
    ) -> list[int]:
        """The identity of each box, of which some are followed by the model; updates the lane."""
        from scipy.optimize import linear_sum_assignment

        known = np.array([each.box for each in lane.objects], np.float32).reshape(-1, 4)
        speed = np.array([each.velocity for each in lane.objects], np.float32).reshape(-1, 4)
        unseen_s = np.array([now_s - each.seen_s for each in lane.objects], np.float32).reshape(-1, 1)
        overlap = iou(known + speed * unseen_s, boxes)
        row_of = {each.given: row for row, each in enumerate(lane.objects) if each.given is not None}
        for column, number in enumerate(given):
            if number in row_of:  # the model says who it is, whatever overlaps
                overlap[row_of[number]], overlap[:, column] = 0, 0
                overlap[row_of[number], column] = 1
        rows, columns = linear_sum_assignment(-overlap)
        is_same = overlap[rows, columns] >= MIN_IOU
        rows, columns = rows[is_same], columns[is_same]
        passed_s = unseen_s[rows]
        moved = np.divide(boxes[columns] - known[rows], passed_s, out=speed[rows], where=passed_s > 0)
        velocities = np.zeros((len(boxes), 4), np.float32)
        velocities[columns] = 0.5 * speed[rows] + 0.5 * moved  # halves the jitter of mask edges
        ids: list[int | None] = [None] * len(boxes)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            ids[column] = lane.objects[row].track_id
        seen: list[_Object] = []
        for known_id, box, velocity, number in zip(
            ids, _rounded(boxes), _rounded(velocities), given, strict=True
        ):
            track_id = known_id
            if track_id is None:
                track_id, self._next_id = self._next_id, self._next_id + 1
            seen.append(_Object(track_id, box, velocity, now_s, number))
        matched = set(rows.tolist())
        lane.objects = seen + [each for row, each in enumerate(lane.objects) if row not in matched]
        return [each.track_id for each in seen]


def _scaled(box: list[float], scale_x: float, scale_y: float) -> list[float]:
    return [box[0] * scale_x, box[1] * scale_y, box[2] * scale_x, box[3] * scale_y]


def _rounded(values: NDArray[np.float32]) -> list[list[float]]:
    """To hundredths: the state stays short, and is the same whether it was stored meanwhile or not."""
    rounded: list[list[float]] = values.astype(np.float64).round(2).tolist()
    return rounded
