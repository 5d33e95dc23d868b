"""Annotated frames of earlier runs as lessons: their rows back to answers, their clips back to pictures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers.boxes.value import Boxes
from plantain.operators.errors import PlantainError, UsageError
from plantain.operators.models import spec_of
from plantain.operators.models.plantain.training import lessons
from plantain.operators.prompts import Prompt
from plantain.operators.redaction import redact, shown
from plantain.operators.segments import Position
from plantain.operators.sinks.parquet.reading import read_frames, read_metadata, read_results
from plantain.operators.sources import expand, open_source, source_for
from plantain.operators.streams import StreamSpec, View
from plantain.operators.types import Failure, Frame, Prediction, Result, Value

HELD_BACK = 0.1
"""Share of a stream's frames, its last ones, that are not learnt from but used to see what was learnt."""

STUDENT = "embedded"
"""Whose answers teach nothing where another model answered, too: it would learn its own mistakes."""

_READABLE = ("file", "images", "synthetic")
_CHUNK = 32


@dataclass(frozen=True, slots=True)
class Collected:
    """What was found.

    Attributes:
        learn: Folder of lessons; `num_learn`: how many.
        held: Folder of lessons that are held back; `num_held`: how many.
        skipped: Streams without a picture to go with their answers, and why.
        unfit: How many answers are not learnt from, by why.
    """

    learn: Path
    num_learn: int
    held: Path
    num_held: int
    skipped: dict[str, str]
    unfit: dict[str, int]


def collect(
    roots: Sequence[str | Path],
    folder: Path,
    *,
    clips: Sequence[str] = (),
    max_frames: int = 2000,
    on_progress: Callable[[int], None] | None = None,
) -> Collected:
    """Turns the output folders of runs into lessons.

    Args:
        roots: Output folders, whichever backends annotated them. Their Parquet says which clip each stream was. Of one
            in which the embedded model answered beside others, only the others' answers count.
        folder: Gets `learn/` and `held/`.
        clips: Files or folders of clips, where they are no longer where the run found them: the clip whose
            name is the stream's, as `plantain run` names streams, is taken.
        max_frames: At most so many lessons, evenly spread over streams and their frames.
        on_progress: Told how many lessons there are so far.

    Raises:
        UsageError: If no frame has both an answer and a picture.
        SinkError: If a folder holds no results.
    """
    moved = {spec.stream_id: spec for spec in expand(list(clips))}
    runs = [
        (str(root), name, teachers, frames)
        for root in roots
        for name, (teachers, frames) in _answered(str(root)).items()
    ]
    skipped: dict[str, str] = {}
    counts, unfit = {"learn": 0, "held": 0}, Counter[str]()
    for name in counts:
        (folder / name).mkdir(parents=True, exist_ok=True)
    per_stream = max(1, max_frames // max(1, len(runs)))
    for number, (root, stream_id, teachers, frames) in enumerate(runs):
        chosen = frames[np.linspace(0, len(frames) - 1, min(per_stream, len(frames))).round().astype(int)]
        num_held = max(1, round(len(chosen) * HELD_BACK)) if len(chosen) > 1 else 0
        held = set(chosen[len(chosen) - num_held :].tolist())
        try:
            pictures = _pictures(root, stream_id, moved, {int(index) for index in chosen})
            for result, frame in _joined(root, stream_id, pictures):
                part = "held" if result.header.frame_index in held else "learn"
                path = folder / part / f"{number:03d}-{result.header.frame_index:07d}.npz"
                answers = [each for each in result.predictions if each.model in teachers]
                counts[part] += _store(path, result, frame, answers, unfit)
                if on_progress is not None:
                    on_progress(sum(counts.values()))
        except PlantainError as error:
            skipped[stream_id] = redact(str(error))
    if not counts["learn"]:
        why = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
        raise UsageError(
            f"nothing to learn from in {', '.join(shown(str(root)) for root in roots)}"
            f"{f' ({why})' if why else ''}: give the clips with --clips"
        )
    return Collected(folder / "learn", counts["learn"], folder / "held", counts["held"], skipped, dict(unfit))


def _answered(root: str) -> dict[str, tuple[frozenset[str], Any]]:
    """Of each stream the models that teach, and the sorted indexes of the frames that they answered."""
    rows = read_frames(root, ["stream_id", "frame_index", "status", "epoch", "model"])
    usable = (rows["status"] == "ok") & (rows["epoch"] == 0)
    models = frozenset(rows["model"][usable].tolist())
    teachers = models - {STUDENT} or models
    usable &= np.isin(rows["model"], sorted(teachers))
    return {
        name: (teachers, np.unique(rows["frame_index"][usable & (rows["stream_id"] == name)]))
        for name in sorted(set(rows["stream_id"][usable].tolist()))
    }


def _pictures(
    root: str, stream_id: str, moved: dict[str, StreamSpec], wanted: Collection[int]
) -> Iterator[Frame]:
    """The wanted frames of a stream, decoded again for the embedded model's canvas.

    Raises:
        UsageError: If the stream cannot be read again.
        SourceError: If its clip is gone.
    """
    told = json.loads(read_metadata(root).get("plantain.run", "{}"))
    url = told.get("streams", {}).get(stream_id, [""])[0]
    spec = moved.get(stream_id, StreamSpec(stream_id, url))
    if not spec.url or source_for(spec) not in _READABLE:
        raise UsageError(f"'{shown(spec.url)}' cannot be read again; record it and name the clip {stream_id}")
    source = open_source(StreamSpec(stream_id, spec.url), View(spec_of("embedded").model_hw), Position())
    last = max(wanted)
    try:
        while not source.ended:
            for frame in source.read(_CHUNK):
                if frame.header.frame_index in wanted:
                    yield frame
                if frame.header.frame_index >= last:
                    return
    finally:
        source.close()


def _joined(root: str, stream_id: str, pictures: Iterator[Frame]) -> Iterator[tuple[Result, Frame]]:
    """Each picture with the answers about it; not where another clip has taken the place of the first."""
    waiting: list[Frame] = []

    def answered() -> Iterator[tuple[Result, Frame]]:
        found = read_results(root, stream_id, [frame.header.frame_index for frame in waiting])
        results = {result.header.frame_index: result for result in found}
        for frame in waiting:
            result = results.get(frame.header.frame_index)
            if result is None:
                continue
            if (result.info.pts, result.info.fit.source_hw) != (frame.info.pts, frame.info.fit.source_hw):
                raise UsageError("the clip is not the one that was annotated: times or sizes differ")
            yield result, frame
        waiting.clear()

    for frame in pictures:
        waiting.append(frame)
        if len(waiting) == _CHUNK:
            yield from answered()
    yield from answered()


def _store(
    path: Path, result: Result, frame: Frame, answers: Sequence[Prediction], unfit: Counter[str]
) -> bool:
    """Writes a lesson, if an answer is good enough; counts those that are not."""
    image = np.ascontiguousarray(frame.info.fit.crop(frame.image))
    kept: list[tuple[Prompt, Value]] = []
    for answer in answers:
        if isinstance(answer.value, Failure):
            continue
        if why := lessons.unfit(answer.prompt, answer.value):
            unfit[why] += 1
        else:
            kept.append((answer.prompt, _on(image, answer.value, result.info.fit.source_hw)))
    return lessons.store(path, image, tuple(kept))


def _on(image: NDArray[np.uint8], value: Value, source_hw: tuple[int, int]) -> Value:
    """The value with its boxes, if it has any, in pixels of the picture instead of the source's."""
    if not isinstance(value, Boxes):
        return value
    height, width = image.shape[0] / source_hw[0], image.shape[1] / source_hw[1]
    return replace(value, xyxy=value.xyxy * np.array([width, height, width, height], np.float32))
