"""How right stored answers are: what a user reads from the tables, against the truth of a rendered street."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from plantain.operators.models import truth
from plantain.operators.models.plantain.evaluation import metrics
from plantain.operators.models.plantain.evaluation.evaluate import Question, value_sums
from plantain.operators.prompts import Task
from plantain.operators.scenes import Scene, SceneFrame
from plantain.operators.sinks.parquet.reading import read_frames, read_results
from plantain.operators.types import Failure, Result, Value


@dataclass(frozen=True, slots=True)
class Measure:
    """A way to say how right something is.

    Attributes:
        name: As the field calls it.
        meaning: For people who do not know the name.
        ideal: What a perfect model reaches.
        unit: Degrees, or nothing for shares.
    """

    name: str
    meaning: str
    ideal: Literal[0, 1]
    unit: str = ""


MEASURES: dict[str, Measure] = {
    "miou": Measure("semantic mIoU", "classes: agreement of drawn and true regions, mean over classes", 1),
    "miou_random_palette": Measure(
        "semantic mIoU, random palette", "the same with colours never used before", 1
    ),
    "delta1": Measure("depth delta1", "share of pixels whose distance is right within a quarter", 1),
    "absrel": Measure("depth AbsRel", "mean error as a share of the distance", 0),
    "delta1_told": Measure("depth delta1, lens told", "the same where the field of view is told", 1),
    "absrel_told": Measure("depth AbsRel, lens told", "the same where the field of view is told", 0),
    "normals_mean_deg": Measure(
        "normals, mean", "angle between drawn and true direction of surfaces", 0, "\u00b0"
    ),
    "normals_median_deg": Measure("normals, median", "half of all pixels are better than this", 0, "\u00b0"),
    "pmf1": Measure("instances pmF1", "objects found and outlined, mean over ten strictnesses", 1),
    "box_f1": Measure("boxes F1", "objects found, by boxes that overlap by half or more", 1),
    "il_mcc": Measure("presence IL_MCC", "whether it draws something exactly when something is there", 1),
    "ciou": Measure("referring cIoU", "agreement of drawn and meant regions", 1),
    "refer_empty": Measure("nothing for nothing", "expressions that mean nothing, and get no region", 1),
    "calibration_error": Measure("calibration error", "how far scores are from the share that is right", 0),
    "off_palette": Measure("off palette", "share of pixels in colours that mean nothing", 0),
}
"""What is reported, by its key in JSON."""


@dataclass(frozen=True, slots=True)
class Score:
    """What was reached in one measure.

    Attributes:
        key: Of `MEASURES`.
        value: What was reached.
        interval: 95 % of resampled test sets lie between these; None where there are too few.
    """

    key: str
    value: float
    interval: tuple[float, float] | None = None

    @property
    def measure(self) -> Measure:
        """What the value means."""
        return MEASURES[self.key]

    @property
    def written(self) -> str:
        """The value with its unit."""
        return self._number(self.value)

    @property
    def written_interval(self) -> str:
        """The interval with its unit, empty without one."""
        if self.interval is None:
            return ""
        return f"{self._number(self.interval[0])} to {self._number(self.interval[1])}"

    def _number(self, value: float) -> str:
        return f"{value:.1f}{self.measure.unit}" if self.measure.unit else f"{value:.3f}"


def scores_of(figures: Mapping[str, Any]) -> list[Score]:
    """The scores in what `evaluate` returns; without those that could not be taken."""
    found = []
    for key in MEASURES:
        value = float(figures.get(key, math.nan))
        low, high = figures.get(f"{key}_ci", (math.nan, math.nan))
        if not math.isnan(value):
            found.append(Score(key, value, None if math.isnan(low + high) else (low, high)))
    return found


def score_street(
    root: str, stream_id: str, seed: int, split: Literal["train", "heldout"], max_frames: int = 20
) -> tuple[list[Score], int]:
    """Scores of the stored answers about a rendered street.

    The labels are rendered at the size of the stored maps, which is that of the model's picture. Frames with
    an answer missing are left out.

    Args:
        root: The output folder.
        stream_id: The street's stream; frame k shows it at k / `truth.FRAMES_PER_S` seconds.
        seed: Of the scene.
        split: Of the scene.
        max_frames: Look at no more, evenly spread.

    Returns:
        Scores, and the number of frames that they are from; none of either if no frame was answered in full.
    """
    frames = sorted(set(read_frames(root, ["frame_index"], stream_id=stream_id)["frame_index"].tolist()))
    step = max(1, -(-len(frames) // max_frames))
    results = read_results(root, stream_id, frames[::step])
    whole = [result for result in results if result.failed_in is None]
    if not whole:
        return [], 0
    fit = whole[0].info.fit
    scene = Scene(seed, split=split, size_hw=(fit.height, fit.width))
    sums = []
    for result in whole:
        index = result.header.frame_index
        frame = scene.render(index / truth.FRAMES_PER_S)
        pairs = _pairs(result, frame, dict(truth.expressions(frame, seed, index)))
        sums.append(value_sums([question for question, _ in pairs], [value for _, value in pairs]))
    figures = metrics.summary(sums, num_resamples=1)
    # Frames of one street are too much alike for an interval over them to mean anything.
    return [Score(score.key, score.value) for score in scores_of(figures)], len(whole)


def _pairs(
    result: Result, frame: SceneFrame, said: Mapping[str, frozenset[int]]
) -> list[tuple[Question, Value]]:
    """What was asked and is true, and what was answered; without expressions that this frame leaves open."""
    pairs: list[tuple[Question, Value]] = []
    for prediction in result.predictions:
        prompt, value = prediction.prompt, prediction.value
        if isinstance(value, Failure) or (prompt.task is Task.REFER and prompt.classes[0] not in said):
            continue
        meant = said[prompt.classes[0]] if prompt.task is Task.REFER else frozenset()
        pairs.append((Question(prompt, truth.answer(frame, prompt, meant)), value))
    return pairs
