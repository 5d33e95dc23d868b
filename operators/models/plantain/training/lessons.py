"""Annotated frames as training reads them: a picture and the answers that some model, or a person, gave.

    <folder>/<number>.npz     image u8, a map for each answer, meta: prompts, names

The other half of training beside `shards`: there every label of a frame is known, here only what was asked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers import kind_of as answer_kind_of
from plantain.operators.answers.boxes.value import Boxes
from plantain.operators.answers.codec import Painted
from plantain.operators.answers.depth.value import DepthMap, Lens
from plantain.operators.answers.masks.value import Masks
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.geometry import Letterbox
from plantain.operators.models.plantain import lens
from plantain.operators.models.plantain.training import questions
from plantain.operators.models.plantain.training.questions import IGNORE
from plantain.operators.models.plantain.training.samples import TAUGHT, Sample, centres_of, log_depth_of
from plantain.operators.models.plantain.training.views import view_of
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Value

MAX_OFF_PALETTE = 0.1
"""An answer with a larger share of pixels in colours that mean nothing is not learnt from."""

CORE = 0.5
"""Share of a box, each way around its middle, that is taken for the thing in it; of the rest nobody knows."""

SURE = 0.5
"""A thing of which its teacher is less sure has no centre: it may be none."""

Answer = tuple[Prompt, Value]


@dataclass(frozen=True, slots=True)
class Lesson:
    """A frame and what is held to be true about it.

    Attributes:
        image: (h, w, 3) uint8, the picture without padding.
        answers: Prompts, and their values in maps (h, w); boxes are in pixels of the picture.
    """

    image: NDArray[np.uint8]
    answers: tuple[Answer, ...]

    def one_of(self, kind: str, rng: np.random.Generator) -> Answer | None:
        """An answer of this kind (of TAUGHT), None if there is none."""
        found = [answer for answer in self.answers if kind_of(answer[0]) == kind]
        return found[int(rng.integers(len(found)))] if found else None


def kind_of(prompt: Prompt) -> str | None:
    """Which of TAUGHT an answer to the prompt teaches; None for what the network has no fields for."""
    if prompt.task is Task.PROMPT:
        return prompt.codec if prompt.codec in ("depth", "normals", "instances") else None
    if prompt.task is Task.DETECT:
        return "instances"
    return prompt.task.value if prompt.task.value in TAUGHT else None


def unfit(prompt: Prompt, value: Value) -> str:
    """Why an answer cannot be learnt from, in a few words; empty if it can."""
    if kind_of(prompt) is None:
        return f"{prompt.task}: the network has no fields for such answers"
    if isinstance(value, Painted) and value.off_palette > MAX_OFF_PALETTE:
        return f"{prompt.task}: drawn in colours that mean nothing, or beside the frame"
    return ""


Numbers = Sequence[float | None]


class _Form(NamedTuple):
    """How the answers of a kind are held: a map or boxes, names, and numbers.

    Attributes:
        held: All three of a value.
        value: The value of all three.
    """

    held: Callable[[Any], tuple[NDArray[Any], tuple[str, ...], Numbers]]
    value: Callable[[NDArray[Any], tuple[str, ...], Any], Value]


def _depth(known_m: NDArray[np.float16], numbers: Sequence[float]) -> DepthMap:
    depth_m = known_m.astype(np.float32)
    return DepthMap(depth_m, depth_m > 0, 0.0, Lens(*numbers) if numbers else None)


def _normals(known: NDArray[np.int8]) -> NormalMap:
    normals = known.astype(np.float32) / np.float32(127)
    return NormalMap(normals, np.square(normals).sum(axis=-1) > 0.25, 0.0)


_MASKS = _Form(
    lambda masks: (masks.labels, masks.names, masks.scores.tolist()),
    lambda held, names, scores: Masks(held.astype(np.uint16), names, np.array(scores, np.float32), 0.0),
)
_FORMS = {
    "masks": _MASKS,
    "instances": _MASKS,
    "boxes": _Form(
        lambda boxes: (boxes.xyxy, boxes.names, boxes.scores.tolist()),
        lambda held, names, scores: Boxes(held.astype(np.float32), names, np.array(scores, np.float32)),
    ),
    "depth": _Form(
        lambda depth: (
            np.where(depth.valid, depth.depth_m, 0).astype(np.float16),
            (),
            list(depth.lens or ()),
        ),
        lambda held, _, lens: _depth(held, lens),
    ),
    "normals": _Form(
        lambda found: (np.round(found.normals * found.valid[..., None] * 127).astype(np.int8), (), []),
        lambda held, *_: _normals(held),
    ),
}
"""Of each kind that is learnt from; numbers are scores, or the lens of a depth map."""


def store(path: Path, image: NDArray[np.uint8], answers: tuple[Answer, ...]) -> bool:
    """Writes a lesson; readers see all of it or nothing.

    Args:
        path: Where.
        image: (h, w, 3) uint8, the picture without padding, as the student will see it.
        answers: Prompts and values; their maps cover the picture at any size, the teacher's, and boxes are in pixels
            of the picture.

    Returns:
        False if no answer is fit to learn from, and nothing was written.
    """
    arrays: dict[str, Any] = {}
    meta: list[tuple[str, tuple[str, ...], Numbers]] = []
    for prompt, value in answers:
        if unfit(prompt, value):
            continue
        sized = answer_kind_of(prompt).sized(value, image.shape[:2])
        arrays[f"map{len(meta)}"], names, numbers = _FORMS[prompt.codec].held(sized)
        meta.append((str(prompt), names, numbers))
    if not meta:
        return False
    waiting = path.with_suffix(".tmp.npz")
    np.savez_compressed(
        waiting, image=image, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays
    )
    waiting.replace(path)
    return True


def load(path: Path) -> Lesson:
    """Reads what `store` wrote."""
    with np.load(path) as held:
        meta = json.loads(held["meta"].tobytes())
        answers = [
            (
                prompt := Prompt.parse(written),
                _FORMS[prompt.codec].value(held[f"map{index}"], tuple(names), numbers),
            )
            for index, (written, names, numbers) in enumerate(meta)
        ]
        return Lesson(held["image"], tuple(answers))


def words_of(folder: Path) -> tuple[str, ...]:
    """Every phrase that the lessons of a folder ask for."""
    phrases: dict[str, None] = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as held:
            for written, *_ in json.loads(held["meta"].tobytes()):
                prompt = Prompt.parse(written)
                phrases.update(dict.fromkeys(prompt.classes or ((prompt.text,) if prompt.text else ())))
    return tuple(phrases)


def sample(
    lesson: Lesson, size_hw: tuple[int, int], rng: np.random.Generator, augmented: bool = True
) -> Sample:
    """Of each kind of answer that a lesson has, one; the picture lies on the canvas as pipelines put it there.

    A region counts as much as its teacher was sure of it; what is outside of all regions, and what has no score, whole.
    Metres are learnt as seen through the lens that the teacher reckoned with, if it says so, else through the student's
    own guess.
    """
    fit = Letterbox.fit(lesson.image.shape[:2], size_hw)
    is_mirrored = augmented and bool(rng.random() < 0.5)
    placement = fit.top, fit.left, fit.height, fit.width, np.arange(lesson.image.shape[1])
    view = view_of(lesson.image, size_hw, placement, is_mirrored, rng if augmented else None)
    inside, grid = view.inside, view.grid
    chosen = {kind: lesson.one_of(kind, rng) for kind in TAUGHT[:-1]}
    blank = np.zeros(inside.shape, np.uint16)
    log_depth, normals = np.full(inside.shape, np.nan, np.float32), np.zeros((*inside.shape, 3), np.float32)
    class_map = np.full(inside.shape, IGNORE, np.uint8)
    answers = np.zeros(inside.shape, np.int32)
    trust = np.ones(inside.shape, np.float32)
    phrases: tuple[str, ...] = ()
    match chosen["semantic"]:
        case prompt, Masks() as masks:
            labels = np.where(inside, masks.labels[grid], 0)
            class_map = np.where(inside, questions.class_ids(masks.names)[labels], IGNORE).astype(np.uint8)
            phrases, table = questions.asked_again(prompt.classes, masks.names, rng if augmented else None)
            answers = np.where(inside, questions.bits(table)[labels], 0).astype(np.int32)
            trust = _sureness(masks.scores)[labels]
    things, thing, thing_trust = blank, "", np.ones(inside.shape, np.float32)
    is_told = np.zeros(inside.shape, np.bool_)
    match chosen["instances"]:
        case prompt, Masks() as masks:
            things, thing = np.where(inside, masks.labels[grid], 0), (*prompt.classes, prompt.text)[0]
            is_told, thing_trust = inside, _sureness(masks.scores)[things]
        case prompt, Boxes() as boxes:
            thing = prompt.classes[int(rng.integers(len(prompt.classes)))]
            marks, scores = _boxed(boxes, thing, lesson.image.shape[:2])
            is_told = inside & (marks[grid] >= 0)
            things = np.where(is_told, marks[grid], 0).astype(np.uint16)
            thing_trust = _sureness(scores)[things]
    is_apart = is_told & ~((things > 0) & (thing_trust < SURE))
    region, expression, region_trust = blank, "", 1.0
    match chosen["refer"]:
        case prompt, Masks() as masks:
            region, expression = np.where(inside, masks.labels[grid], 0), prompt.classes[0]
            region_trust = float(masks.scores.max()) if len(masks.scores) else 1.0
    log_focal = math.nan
    match chosen["depth"]:
        case _, DepthMap() as depth:
            log_depth = log_depth_of(depth.depth_m[grid], inside & depth.valid[grid])
            if depth.lens is not None:
                log_focal = lens.log_focal(depth.lens.hfov_deg, fit.width / size_hw[1])
    match chosen["normals"]:
        case _, NormalMap() as found:
            normals = view.directions(found.normals[grid] * found.valid[grid][..., None])
    centre, offset = centres_of(np.where(is_apart, things, 0).clip(0, 255).astype(np.uint8), 2)
    all_centre, all_offset = centres_of(np.zeros_like(centre[::2, ::2], np.uint8), 4)
    return Sample(
        view.image,
        inside,
        np.array([*(chosen[kind] is not None for kind in TAUGHT[:-1]), False]),
        log_depth,
        log_focal,
        normals,
        class_map,
        phrases,
        answers,
        trust,
        thing,
        things > 0,
        is_told,
        is_apart,
        thing_trust,
        centre,
        offset,
        all_centre,
        all_offset,
        questions.mirrored(expression) if is_mirrored else expression,
        region > 0,
        region_trust,
    )


def _sureness(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """(1 + N,) for each label of an answer how much its pixels count: the background, and regions by their scores."""
    return np.concatenate([np.ones(1, np.float32), scores.clip(0, 1).astype(np.float32)])


def _boxed(
    boxes: Boxes, name: str, size_hw: tuple[int, int]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """What boxes of one name say of each pixel (H, W): k in the core of box k, -1 in its rims, 0 outside of all.

    Small boxes lie on large ones.

    Returns:
        The map, and the scores of boxes 1..n.
    """
    areas = (boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]).prod(axis=1)
    order = [int(k) for k in np.argsort(-areas, kind="stable") if boxes.names[k] == name]
    marks = np.zeros(size_hw, np.int32)
    for number, k in enumerate(order, start=1):
        edges = boxes.xyxy[k].astype(np.float64)
        inset_x, inset_y = (edges[2:] - edges[:2]) * (1 - CORE) / 2
        for inset, mark in ((np.zeros(4), -1), (np.array([inset_x, inset_y, -inset_x, -inset_y]), number)):
            left, top, right, bottom = np.round(edges + inset).clip(0).astype(int).tolist()
            marks[top:bottom, left:right] = mark
    return marks, boxes.scores[order]
