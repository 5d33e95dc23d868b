"""What a model does on real clips, which have no labels: its answers as pictures, and how steady they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import numpy as np

from plantain.deploy.report import gallery, whole
from plantain.deploy.report.charts import number_of
from plantain.operators.answers import codec_for
from plantain.operators.errors import ModelError, PlantainError, UsageError
from plantain.operators.models.base import Answering, ModelBackend, ModelSpec, drawings_of
from plantain.operators.models.drawn import Drawn
from plantain.operators.models.plantain.evaluation.asking import Asking
from plantain.operators.models.plantain.evaluation.steadiness import Answered, Change, between
from plantain.operators.prompts import Prompt
from plantain.operators.redaction import redact
from plantain.operators.segments import Position
from plantain.operators.sinks.store import write_durably
from plantain.operators.sources import expand, open_source
from plantain.operators.streams import StreamSpec, View
from plantain.operators.types import Frame, Prediction, Result, Timing
from plantain.operators.vocabulary import CLASSES

FILE = "footage.html"
TASKS = (
    f"semantic:{','.join(CLASSES[1:])}",
    "instances:car",
    "instances:person",
    "depth[curve=street]",
    "normals",
)
NUM_MOMENTS = 4
"""Runs of consecutive frames that are looked at in each clip, evenly spread."""
RUN_FRAMES = 8
"""Frames of each run."""
WIDTH_PX = 480

MEANINGS = {
    "class_flicker": "share of still pixels whose class changes from frame to frame",
    "depth_flicker": "mean change of a still pixel's distance, as a share of it",
    "normals_flicker_deg": "mean turn of a still pixel's surface, degrees",
    "objects_lost": "share of objects that are gone in the next frame",
    "colour_switches": "share of objects that change their colour, and with it perhaps their identity",
    "still": "share of pixels that are still: only these tell the model's flicker from the world's",
}
"""What is measured between consecutive frames, in the order of the table."""


@dataclass(frozen=True, slots=True)
class Clip:
    """What came out on one clip.

    Attributes:
        name: As `plantain run` names the stream.
        error: Why it could not be read; empty if it could.
        num_frames: Frames that were answered.
        steadiness: Means by the names of `MEANINGS`.
        moments: The first frame of each run, with its answers and its picture.
    """

    name: str
    error: str = ""
    num_frames: int = 0
    steadiness: dict[str, float] | None = None
    moments: tuple[Result, ...] = ()


def look(
    asking: Asking,
    spec: ModelSpec,
    clips: Sequence[str],
    out: Path,
    tasks: Sequence[str] = TASKS,
    on_progress: Callable[[str], None] | None = None,
) -> tuple[Path, list[Clip]]:
    """Asks a model about clips and writes a page about its answers.

    Args:
        asking: The model, with its account.
        spec: What is known of it: its canvas, and what it answers.
        clips: Files, folders, globs.
        out: Folder of the page, `footage.html`.
        tasks: What is asked.
        on_progress: Told the name of each clip when it begins.

    Returns:
        Where the page is, and what came out.

    Raises:
        UsageError: If there are no clips, none can be read, or the model answers none of the tasks.
        SinkError: If the page cannot be written.
    """
    model = asking.model
    prompts = tuple(
        prompt for prompt in map(Prompt.parse, tasks) if not spec.tasks or prompt.task in spec.tasks
    )
    if not prompts:
        raise UsageError(
            f"model {model.name} answers {', '.join(spec.tasks)}, and nothing that is shown here"
        )
    found: list[Clip] = []
    started = perf_counter()
    for stream in expand(list(clips)):
        if on_progress is not None:
            on_progress(stream.stream_id)
        try:
            found.append(_clip(asking, spec, stream, prompts))
        except PlantainError as error:
            found.append(Clip(stream.stream_id, error=redact(str(error))))
    if not any(clip.num_frames for clip in found):
        raise UsageError(
            "; ".join(f"{clip.name}: {clip.error}" for clip in found) or "name at least one clip"
        )
    page = _page(model, found, prompts, perf_counter() - started)
    path = out / FILE
    write_durably(path, page.encode())
    return path, found


def _clip(asking: Asking, spec: ModelSpec, stream: StreamSpec, prompts: tuple[Prompt, ...]) -> Clip:
    total, moments, num_frames = Change({}), [], 0
    model = asking.model
    for run in _runs(stream, spec):
        answers = [_answered(asking, frame, prompts) for frame in run]
        num_frames += len(run)
        for before, after in pairwise(answers):
            total += between(before, after)
        predictions = tuple(
            Prediction(prompt, value, model.name, model.fingerprint, Timing())
            for prompt, value in zip(answers[0].prompts, answers[0].values, strict=True)
        )
        moments.append(Result(run[0].header, run[0].info, predictions))
    return Clip(stream.stream_id, "", num_frames, total.means(), tuple(moments))


def _runs(stream: StreamSpec, spec: ModelSpec) -> Iterator[list[Frame]]:
    """Runs of consecutive frames, evenly spread over a clip; one run where its length is unknown."""
    view = View(spec.model_hw, spec.fit, picture_long_side=WIDTH_PX)
    source = open_source(stream, view, Position())
    try:
        length = source.info.num_frames or RUN_FRAMES
        starts = np.linspace(0, max(0, length - RUN_FRAMES), NUM_MOMENTS + 1)[:-1]
        starts = np.unique((starts + (length - RUN_FRAMES) / NUM_MOMENTS / 2).clip(0).astype(int))
        run: list[Frame] = []
        for start in starts.tolist():
            while not source.ended and len(run) < RUN_FRAMES:
                run += [frame for frame in source.read(1) if frame.header.frame_index >= start]
            if run:
                yield run
            run = []
    finally:
        source.close()


def _answered(asking: Asking, frame: Frame, prompts: tuple[Prompt, ...]) -> Answered:
    """What a model says to each prompt, and, of one that draws, its drawings."""
    model: object = asking.model.model if isinstance(asking.model, Drawn) else asking.model
    if not isinstance(model, ModelBackend):
        values = asking.values(frame, prompts)
        if asking.stopped:
            raise ModelError(asking.stopped)
        return Answered(frame.info.fit.crop(frame.image), prompts, (), values)
    drawn = drawings_of(model, [frame], [0] * len(prompts), prompts)
    drawings = [frame.info.fit.crop(each) for each in drawn]
    values = [codec_for(prompt).decode(each, prompt) for prompt, each in zip(prompts, drawings, strict=True)]
    return Answered(frame.info.fit.crop(frame.image), prompts, drawings, values)


def _page(model: Answering, clips: Sequence[Clip], prompts: Sequence[Prompt], spent_s: float) -> str:
    num_frames = sum(clip.num_frames for clip in clips)
    articles = "".join(_article(clip, f"clip{number}") for number, clip in enumerate(clips))
    cards = [
        (str(sum(bool(clip.num_frames) for clip in clips)), "clips"),
        (f"{num_frames:,}", "frames"),
        (str(len(prompts)), "questions about each"),
        (f"{number_of(spent_s)}&nbsp;s", "with decoding"),
    ]
    header = (
        "<p class='eyebrow'>Plantain on footage</p>"
        f"<h1>{escape(model.name)} without labels</h1><p class='lead'>What <b>{escape(model.name)}</b> "
        f"<span class='dim'>({escape(model.fingerprint)})</span> answers about clips whose truth nobody "
        "wrote down: pictures to judge by eye, and how steady the answers are from frame to frame.</p>"
        f"{whole.cards(cards)}"
    )
    main = (
        f"<section><h2>How steady</h2>{_table(clips)}</section>"
        f"<section><h2>What was seen</h2>{articles}</section>"
    )
    return whole.page("Plantain on footage", "results", header, main)


def _table(clips: Sequence[Clip]) -> str:
    shown = [clip for clip in clips if clip.steadiness]
    heads = "".join(f"<th class='number' scope='col'>{escape(clip.name)}</th>" for clip in shown)
    rows = ""
    for name, meaning in MEANINGS.items():
        cells = "".join(
            f"<td class='number'>{written(name, clip.steadiness[name])}</td>"
            if clip.steadiness and name in clip.steadiness
            else "<td class='number dim'>none</td>"
            for clip in shown
        )
        title = name.removesuffix("_deg").replace("_", " ")
        rows += f"<tr><th scope='row'>{title}<span class='dim'>{meaning}</span></th>{cells}</tr>"
    return (
        "<div class='scroll' tabindex='0'><table><thead><tr><th>Between consecutive frames</th>"
        f"{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def written(name: str, value: float) -> str:
    """A mean with its unit."""
    return f"{value:.1f}\u00b0" if name.endswith("_deg") else f"{value:.1%}"


def _article(clip: Clip, anchor: str) -> str:
    if clip.error:
        return f"<article><h3>{escape(clip.name)}</h3><p class='note'>{escape(clip.error)}</p></article>"
    moments = "".join(
        gallery.moment(result, f"{anchor}-{number}", WIDTH_PX, is_first=number == 0)
        for number, result in enumerate(clip.moments)
    )
    size = "{1} x {0} pixels".format(*clip.moments[0].info.fit.source_hw)
    return (
        f"<article><h3>{escape(clip.name)}</h3><p class='dim'>{clip.num_frames} frames of {size}</p>"
        f"{moments}</article>"
    )
