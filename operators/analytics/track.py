"""The step that gives instances an identity over time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers import kind_of
from plantain.operators.geometry import Letterbox, iou
from plantain.operators.streams import Start
from plantain.operators.types import Failure, Prediction, Result

# A pair that overlaps less is never the same object (SORT, Bewley et al. 2016, uses 0.3 on boxes at full rate;
# sampled video moves further between frames).
MIN_IOU = 0.2
# Frames that a lost object is remembered.
MAX_AGE = 15


@dataclass(slots=True)
class _Lane:
    """The objects of one prompt: ids, last boxes, velocities (pixels a frame), and frames since they were seen."""

    ids: list[int] = field(default_factory=list)
    boxes: list[list[float]] = field(default_factory=list)
    velocities: list[list[float]] = field(default_factory=list)
    ages: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Stream:
    next_id: int = 1
    segment: int | None = None
    lanes: dict[str, _Lane] = field(default_factory=dict)


class Track:
    """Matches each frame's things with those before, by overlap with where they should be by now.

    Constant velocity and the assignment of greatest total overlap, in pixels of the source picture, for answers whose
    things lie apart (`Kind.places`). State is small and written as JSON, so that a restarted stream goes on with the
    same ids.

    Args:
        segment_frames: Frame indexes in a segment; the first result of each carries the state before it.
        is_on: Whether to give identities at all.
    """

    def __init__(self, segment_frames: int, *, is_on: bool = True) -> None:
        self._segment_frames = segment_frames
        self._is_on = is_on
        self._streams: dict[str, _Stream] = {}

    def open(self, start: Start) -> None:
        """Starts or restarts a stream with what was known where it is durable."""
        state = start.durable.state
        self.restore(start.spec.stream_id, state if state is not None else _write(_Stream()))

    def __call__(self, results: Sequence[Result]) -> list[Result]:
        """The results with `Masks.track_ids` filled in, in frame order."""
        return [self._follow(result) for result in results]

    def snapshot(self, stream_id: str) -> str:
        """What is known about a stream."""
        return _write(self._streams[stream_id])

    def restore(self, stream_id: str, state: str) -> None:
        """Goes back to an earlier `snapshot`."""
        self._streams[stream_id] = _read(state)

    def fail(self, result: Result, failure: Failure) -> Result:
        """The result that announces that this step failed; the objects are looked for again in the next frame."""
        state_before = self._enter_segment(result)
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

    def _enter_segment(self, result: Result) -> str | None:
        """What is known before the first result of a segment; None for the others."""
        stream = self._streams[result.header.stream_id]
        segment = result.header.frame_index // self._segment_frames
        if segment == stream.segment:
            return None
        before = _write(stream)
        stream.segment = segment
        return before

    def _follow(self, result: Result) -> Result:
        stream = self._streams[result.header.stream_id]
        state_before = self._enter_segment(result)
        predictions = result.predictions
        if self._is_on:
            predictions = tuple(
                self._follow_prompt(stream, prediction, result.info.fit) for prediction in predictions
            )
        return replace(result, predictions=predictions, state_before=state_before)

    def _follow_prompt(self, stream: _Stream, prediction: Prediction, fit: Letterbox) -> Prediction:
        if isinstance(prediction.value, Failure):
            return prediction
        kind = kind_of(prediction.prompt)
        places = kind.places(prediction.value, fit)
        if places is None:
            return prediction
        lane = stream.lanes.setdefault(str(prediction.prompt), _Lane())
        ids = _match(stream, lane, places)
        return replace(prediction, value=kind.with_tracks(prediction.value, tuple(ids)))


def _match(stream: _Stream, lane: _Lane, boxes: NDArray[np.float32]) -> list[int]:
    """The identity of each box; updates the lane."""
    from scipy.optimize import linear_sum_assignment

    known = np.array(lane.boxes, np.float32).reshape(-1, 4)
    speed = np.array(lane.velocities, np.float32).reshape(-1, 4)
    age = np.array(lane.ages, np.float32).reshape(-1, 1)
    overlap = iou(known + speed * (age + 1), boxes)
    rows, columns = linear_sum_assignment(-overlap)
    pairs = {int(c): int(r) for r, c in zip(rows, columns, strict=True) if overlap[r, c] >= MIN_IOU}
    after = _Lane()
    ids = []
    for column, box in enumerate(boxes):
        row = pairs.get(column)
        if row is None:
            ids.append(stream.next_id)
            stream.next_id += 1
            velocity = np.zeros(4, np.float32)
        else:
            ids.append(lane.ids[row])
            measured = (box - known[row]) / (lane.ages[row] + 1)
            velocity = 0.5 * speed[row] + 0.5 * measured  # halves the jitter of mask edges
        after.ids.append(ids[-1])
        after.boxes.append([round(float(value), 2) for value in box])
        after.velocities.append([round(float(value), 2) for value in velocity])
        after.ages.append(0)
    for row in range(len(lane.ids)):
        if row not in pairs.values() and lane.ages[row] < MAX_AGE:
            after.ids.append(lane.ids[row])
            after.boxes.append(lane.boxes[row])
            after.velocities.append(lane.velocities[row])
            after.ages.append(lane.ages[row] + 1)
    lane.ids, lane.boxes, lane.velocities, lane.ages = after.ids, after.boxes, after.velocities, after.ages
    return ids


def _write(stream: _Stream) -> str:
    lanes = {
        prompt: [lane.ids, lane.boxes, lane.velocities, lane.ages] for prompt, lane in stream.lanes.items()
    }
    return json.dumps({"next_id": stream.next_id, "segment": stream.segment, "lanes": lanes})


def _read(state: str) -> _Stream:
    fields = json.loads(state)
    lanes = {prompt: _Lane(*parts) for prompt, parts in fields["lanes"].items()}
    return _Stream(fields["next_id"], fields["segment"], lanes)
