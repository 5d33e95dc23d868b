"""The demo: a rendered street, all tasks on it, and how right the answers are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from plantain.deploy.job import run_job
from plantain.deploy.lab.scoring import Score, score_street
from plantain.deploy.report.page import write_report
from plantain.operators.cores import num_cores
from plantain.operators.errors import UsageError
from plantain.operators.models import spec_of, truth
from plantain.operators.scenes import Scene, stamp
from plantain.operators.sources.clip import write_clip
from plantain.operators.vocabulary import CLASSES
from plantain.pipeline.config import PipelineConfig, check
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.runner import Outcome

STREAM = "street"
SEED = 23
SPLIT: Final = "heldout"
# Twice the embedded model's canvas: large enough to look at, small enough to render while one waits.
SIZE_HW = (448, 768)
# Of the referring expression; longer ones name a second thing and where it is.
MAX_WORDS = 6


@dataclass(frozen=True, slots=True)
class Demo:
    """What a demo came to.

    Attributes:
        outcome: Of its run.
        scores: How right the stored answers are; empty if the run was interrupted or failed.
        num_scored: Frames that the scores are from.
        report: The page; None if no rows were stored.
    """

    outcome: Outcome
    scores: list[Score]
    num_scored: int
    report: Path | None


def run_demo(
    out: Path,
    *,
    model: str = "embedded",
    executor: str = "ray",
    num_frames: int = 60,
    size_hw: tuple[int, int] = SIZE_HW,
    on_rendered: Callable[[int], None] | None = None,
    on_progress: Callable[[Engine], None] | None = None,
) -> Demo:
    """Renders the street, runs five tasks on it, scores the stored rows, and writes the report.

    Args:
        out: Gets `street.mp4`, the tables, `overlay/street.mp4`, `report.html`; an earlier demo is replaced.
        model: Who answers.
        executor: "inline", "threads" or "ray".
        num_frames: Length of the clip, at 25 frames per second.
        size_hw: Size of its pictures, even numbers.
        on_rendered: Told how many pictures there are so far.
        on_progress: Called now and then with the engine.

    Raises:
        UsageError: If the model or the executor is unknown, or the folder holds results of something else.
        PlantainError: If the clip or the results cannot be stored, or the model cannot run here.
    """
    if num_frames < 1:
        raise UsageError(f"a demo of {num_frames} frames shows nothing: ask for at least 1")
    clip = out / f"{STREAM}.mp4"
    config = _config(out, clip, model, executor, _expression(spec_of(model).model_hw, num_frames))
    pictures = _pictures(num_frames, size_hw, is_stamped=model == "fake", on_rendered=on_rendered)
    write_clip(clip, pictures, int(truth.FRAMES_PER_S))
    outcome = run_job(config, resume=False, on_progress=on_progress)
    if not outcome.streams or not outcome.streams[0].account.decoded:
        return Demo(outcome, [], 0, None)
    scores: list[Score] = []
    num_scored = 0
    if not outcome.is_interrupted:
        scores, num_scored = score_street(str(out), STREAM, SEED, SPLIT)
    return Demo(
        outcome, scores, num_scored, write_report(out, outcome=outcome, scores=scores, num_scored=num_scored)
    )


def _config(out: Path, clip: Path, model: str, executor: str, expression: str) -> PipelineConfig:
    """The run of the demo."""
    return check(
        {
            "streams": [{"id": STREAM, "url": str(clip)}],
            "prompts": [
                f"semantic:{','.join(CLASSES[1:])}",
                "instances:car",
                "depth[curve=street]",
                "normals",
                f"refer:{expression}",
            ],
            "model": {"name": model, "options": {"split": SPLIT} if model == "fake" else {}},
            "output": {"out": str(out), "sinks": ["parquet", "overlay"]},
            "executor": executor,
        },
        "demo",
    )


def _expression(size_hw: tuple[int, int], num_frames: int) -> str:
    """Words that mean the same thing at the start, in the middle and at the end; the largest such thing."""
    scene = Scene(SEED, split=SPLIT, size_hw=size_hw)
    moments = sorted({0, num_frames // 2, num_frames - 1})
    frames = [scene.render(index / truth.FRAMES_PER_S) for index in moments]
    said = [dict(truth.expressions(frame, SEED, index)) for frame, index in zip(frames, moments, strict=True)]
    areas = {each.instance_id: each.area_px for each in frames[len(frames) // 2].objects}
    steady = [
        words for words, meant in said[0].items() if meant and all(one.get(words) == meant for one in said)
    ]
    if not steady:
        raise UsageError(f"nothing in the demo's street stays in view for {num_frames} frames: ask for fewer")
    # Of the ways to say it, one that needs a good look: "the person with the orange umbrella", not "the man".
    return max(
        steady,
        key=lambda words: (
            sum(areas.get(each, 0) for each in said[0][words]),
            len(words.split()) <= MAX_WORDS,
            " with the " in words,
            len(words),
        ),
    )


def _pictures(
    num_frames: int, size_hw: tuple[int, int], *, is_stamped: bool, on_rendered: Callable[[int], None] | None
) -> Iterator[NDArray[np.uint8]]:
    """The street, picture by picture, rendered on all cores."""
    scene = Scene(SEED, split=SPLIT, size_hw=size_hw)

    def picture(index: int) -> NDArray[np.uint8]:
        image = scene.render(index / truth.FRAMES_PER_S).image
        return stamp(image, SEED, index) if is_stamped else image

    with ThreadPoolExecutor(num_cores(), thread_name_prefix="render") as threads:
        for count, image in enumerate(threads.map(picture, range(num_frames)), start=1):
            yield image
            if on_rendered is not None:
                on_rendered(count)
