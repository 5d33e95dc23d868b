"""Accuracy of any model on rendered scenes: of what it answers, or of what its drawings decode to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from plantain.operators.answers import codec_for
from plantain.operators.answers.boxes.value import Boxes
from plantain.operators.answers.codec import Painted
from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.masks.regions import boxes_of, without_gaps
from plantain.operators.answers.masks.value import Masks
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.colours import RGB
from plantain.operators.errors import ModelError, UsageError
from plantain.operators.geometry import iou
from plantain.operators.models import truth
from plantain.operators.models.base import Answering
from plantain.operators.models.plantain.evaluation import metrics, reliability
from plantain.operators.models.plantain.evaluation.asking import Asking, frame_of
from plantain.operators.models.plantain.evaluation.metrics import Sums
from plantain.operators.prompts import CURVES, Prompt, Task
from plantain.operators.scenes import Scene, SceneFrame, stamp
from plantain.operators.types import Failure, Value
from plantain.operators.vocabulary import CLASSES, THINGS

NUM_PHRASES = 5
"""Countable classes asked of each frame: up to three that are there, the others not."""

NUM_EXPRESSIONS = 4
"""Referring expressions asked of each frame, one of them without a meaning where there is such a one."""

MIN_AREA = 1e-3
"""Smaller objects, as a share of the picture, count neither for nor against: below about 9 x 9 pixels of the
default canvas even exact drawings of wheels and posts do not survive the decoder's erosion (appendix A, stage
4)."""

SAME_BOX_IOU = 0.5
"""Overlap from which two boxes are the same object's, as PASCAL VOC has it."""

TOLD: dict[str, metrics.Metric] = {
    "delta1_told": metrics.share("told_depth_right", "told_depth_count"),
    "absrel_told": metrics.share("told_depth_error", "told_depth_count"),
}
"""Depth again, by a model that is told the field of view."""

BOXES: dict[str, metrics.Metric] = {"box_f1": metrics.share("box_pairs", "box_count")}
"""Objects of which one side gives boxes."""

_MEASURED = (Task.SEMANTIC, Task.INSTANCES, Task.REFER, Task.DEPTH, Task.NORMALS, Task.DETECT)

_MAX_TIME_INDEX = 250

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt about a frame, with what is true; `table`: where the answer to a semantic one counts."""

    prompt: Prompt
    true: Value
    table: Literal["confusion", "confusion_random"] = "confusion"


def evaluate(
    model: Answering,
    num_scenes: int = 100,
    split: Literal["train", "heldout"] = "heldout",
    size_hw: tuple[int, int] = (224, 384),
    assets: Path | None = None,
    first_seed: int = 0,
    *,
    tasks: Sequence[Task] = (),
    takes_lens: bool = False,
) -> dict[str, Any]:
    """Every metric with its interval, IoU per class, and the time and money that it took.

    What has no answer is left out of the metrics, and counted. A model that will answer no more for a while, its budget
    spent, is asked no more: the scenes before are what is measured.

    Args:
        model: Anything behind the model contract; one with `reads_stamps` gets stamped pictures.
        num_scenes: From the start of the split; one frame of each.
        split: "heldout" for figures that are reported.
        size_hw: Canvas.
        assets: Folder of meshes to render with.
        first_seed: Where to begin.
        tasks: What it answers; all that is measured if empty.
        takes_lens: It makes use of a field of view: depth is asked once more, with that told.

    Returns:
        A dict that JSON can hold: the names of `metrics.METRICS`, of TOLD and BOXES where they apply, each with
        `<name>_ci`, `class_iou`, `num_scenes`, `split`, `model`, `model_fingerprint`, `model_ms_per_frame`, `cost_usd`,
        `num_asked`, `failed` (how many questions have no answer, by why) and `stopped` (why it was asked no more).

    Raises:
        UsageError: If it answers nothing that is measured.
        ModelError: If it answered nothing.
    """
    wanted = tuple(task for task in _MEASURED if task in (tasks or _MEASURED))
    if not wanted:
        raise UsageError(f"model {model.name} answers {', '.join(tasks)}, of which nothing here is measured")
    asking, sums = Asking(model), list[Sums]()
    for seed in range(first_seed, first_seed + num_scenes):
        rng = np.random.default_rng((seed, 23))
        index = int(rng.integers(0, _MAX_TIME_INDEX))
        scene = Scene(seed, split=split, assets=assets, size_hw=size_hw)
        frame = scene.render(index / truth.FRAMES_PER_S)
        image = stamp(frame.image, seed, index) if getattr(model, "reads_stamps", False) else frame.image
        asked = _suited(questions(frame, seed, index, rng), wanted)
        values = asking.values(frame_of(image), [each.prompt for each in asked])
        told = _told_sums(asking, image, asked, scene.camera.fov_deg) if takes_lens else {}
        if asking.stopped:
            break
        sums.append(_answered_sums(asked, values, image.size // 3) | told)
    if asking.num_asked == sum(asking.failed.values()) or not sums:
        raise ModelError(
            f"model {model.name} answered nothing: {next(iter(asking.failed), 'there was no scene')}"
        )
    measured = metrics.METRICS | (TOLD if takes_lens else {})
    if Task.INSTANCES not in wanted and Task.DETECT in wanted:
        measured = measured | BOXES
    result: dict[str, Any] = dict(metrics.summary(sums, measured=measured))
    ious = metrics.class_ious(np.sum([each["confusion"] for each in sums], axis=0))
    result["class_iou"] = {
        name: float(iou) for name, iou in zip(CLASSES[1:], ious, strict=True) if np.isfinite(iou)
    }
    return result | {
        "num_scenes": len(sums),
        "split": split,
        "model": model.name,
        "model_fingerprint": model.fingerprint,
        "model_ms_per_frame": 1000 * asking.spent_s / len(sums),
        **asking.account,
    }


def _suited(asked: Sequence[Question], tasks: Sequence[Task]) -> list[Question]:
    """The questions that a model answers; of one that only detects, things are asked in boxes."""
    suited = []
    for each in asked:
        if each.prompt.task in tasks:
            suited.append(each)
        elif each.prompt.task is Task.INSTANCES and Task.DETECT in tasks:
            assert isinstance(each.true, Masks)
            xyxy, _ = boxes_of(each.true.labels, len(each.true.names))
            boxes = Boxes(xyxy, each.true.names, each.true.scores)
            suited.append(Question(Prompt(Task.DETECT, each.prompt.classes, codec="boxes"), boxes))
    return suited


def _answered_sums(asked: Sequence[Question], values: Sequence[Value | Failure], num_pixels: int = 0) -> Sums:
    """What one frame adds to every metric, but for what has no answer."""
    kept = [
        (each, value) for each, value in zip(asked, values, strict=True) if not isinstance(value, Failure)
    ]
    return value_sums([each for each, _ in kept], [value for _, value in kept], num_pixels=num_pixels)


def _told_sums(asking: Asking, image: NDArray[np.uint8], asked: Sequence[Question], hfov_deg: float) -> Sums:
    """What a frame adds to TOLD."""
    depth = [each for each in asked if each.prompt.task is Task.DEPTH]
    frame = frame_of(image, hfov_deg=hfov_deg)
    values = asking.values(frame, [each.prompt for each in depth], is_counted=False)
    found = _answered_sums(depth, values)
    return {f"told_{name}": found[name] for name in ("depth_right", "depth_error", "depth_count")}


def questions(frame: SceneFrame, seed: int, index: int, rng: np.random.Generator) -> list[Question]:
    """All that is asked about a frame: two semantic prompts, depth, normals, some objects and expressions."""
    semantic = Prompt.parse(f"semantic:{','.join(CLASSES[1:])}")
    prompts = [semantic, _shuffled(semantic, rng)]
    prompts += [
        Prompt(Task.DEPTH, codec="depth", curve=CURVES["street"]),
        Prompt(Task.NORMALS, codec="normals"),
    ]
    there = [name for name in sorted(THINGS) if np.any(truth.objects(frame, name))]
    absent = [name for name in sorted(THINGS) if name not in there]
    chosen = _some(there, 3, rng)
    chosen += _some(absent, NUM_PHRASES - len(chosen), rng)
    prompts += [Prompt.parse(f"instances:{name}") for name in chosen]
    asked = [Question(prompt, truth.answer(frame, prompt)) for prompt in prompts]
    asked[1] = replace(asked[1], table="confusion_random")
    said = [pair for pair in truth.expressions(frame, seed, index) if "," not in pair[0]]
    some = _some([pair for pair in said if pair[1]], NUM_EXPRESSIONS - 1, rng)
    some += _some([pair for pair in said if not pair[1]], 1, rng)
    for words, meant in some:
        prompt = Prompt.parse(f"refer:{words}")
        asked.append(Question(prompt, truth.answer(frame, prompt, meant)))
    return asked


def _some(pool: Sequence[_T], count: int, rng: np.random.Generator) -> list[_T]:
    return [pool[int(index)] for index in rng.permutation(len(pool))[: max(0, count)]]


def _shuffled(prompt: Prompt, rng: np.random.Generator) -> Prompt:
    """The same classes in another order, in random colours 40 levels apart, on a random background."""
    chosen: list[NDArray[np.int64]] = []
    while len(chosen) < len(prompt.classes) + 1:
        colour = rng.integers(0, 256, 3)
        if all(np.linalg.norm(colour - other) >= 40 for other in chosen):
            chosen.append(colour)
    palette = cast("list[RGB]", [tuple(int(value) for value in colour) for colour in chosen])
    names = tuple(prompt.classes[int(place)] for place in rng.permutation(len(prompt.classes)))
    return Prompt(Task.SEMANTIC, names, tuple(palette[1:]), palette[0], codec="masks")


def drawn_sums(
    asked: Sequence[Question], drawn: NDArray[np.uint8], names: Sequence[str] = CLASSES[1:]
) -> Sums:
    """What one frame adds to every metric, from the drawings (N, H, W, 3) of its questions."""
    values = [
        codec_for(question.prompt).decode(picture, question.prompt)
        for question, picture in zip(asked, drawn, strict=True)
    ]
    return value_sums(asked, values, names)


def value_sums(
    asked: Sequence[Question],
    values: Sequence[Value],
    names: Sequence[str] = CLASSES[1:],
    num_pixels: int = 0,
) -> Sums:
    """What one frame adds to every metric.

    Args:
        asked: Questions about it.
        values: The decoded answers.
        names: All classes that semantic questions may name.
        num_pixels: Of the picture, for boxes that are compared with boxes.
    """
    size = len(names) + 1
    sums: Sums = {
        "confusion": np.zeros((size, size)),
        "confusion_random": np.zeros((size, size)),
        "presence": np.zeros(4),
        "angles": np.zeros(metrics.ANGLE_BINS),
        "reliability": np.zeros((reliability.NUM_BINS, 3)),
    }
    for name in (
        "pair_f1", "pair_count", "refer_overlap", "refer_union", "empty_right", "empty_count",
        "depth_right", "depth_error", "depth_count", "off_palette", "drawings", "box_pairs", "box_count",
    ):  # fmt: skip
        sums[name] = np.zeros(())
    for question, value in zip(asked, values, strict=True):
        add = _ADDED.get((type(question.true), type(value)))
        if add is not None:
            add(sums, question, value, names, num_pixels)
        # The sky is drawn without a direction on purpose, so it says nothing of normals.
        if isinstance(value, Painted) and question.prompt.codec != "normals":
            sums["off_palette"] += value.off_palette
            sums["drawings"] += 1
    return sums


def _add_depth(sums: Sums, question: Question, value: DepthMap, *_: object) -> None:
    true = cast("DepthMap", question.true)
    for name, each in metrics.depth_sums(value.depth_m, value.valid, true.depth_m, true.valid).items():
        sums[name] = sums[name] + each


def _add_normals(sums: Sums, question: Question, value: NormalMap, *_: object) -> None:
    true = cast("NormalMap", question.true)
    sums["angles"] += metrics.angle_histogram(value.normals, value.valid, true.normals, true.valid)


def _add_masks(sums: Sums, question: Question, value: Masks, names: Sequence[str], _: int) -> None:
    true = cast("Masks", question.true)
    if question.prompt.task is Task.SEMANTIC:
        drawn_ids, true_ids = value.numbered_as(names), true.numbered_as(names)
        sums[question.table] += metrics.confusion(drawn_ids, true_ids, len(names))
    elif question.prompt.codec == "instances":
        _add_pair(sums, value.labels, true.labels)
    else:
        _add_region(sums, value.labels > 0, true.labels > 0)
    scores, right, _sizes = told(question.prompt, value, true)
    sums["reliability"] += reliability.bins_of(scores, right)


def _add_boxes_of_masks(sums: Sums, question: Question, value: Masks, *_: object) -> None:
    xyxy, num_inside = boxes_of(value.labels, int(value.labels.max()))
    true = cast("Boxes", question.true)
    _add_boxes(sums, xyxy, num_inside.astype(np.float64), true, value.labels.size)


def _add_boxes_of_boxes(
    sums: Sums, question: Question, value: Boxes, _: Sequence[str], num_pixels: int
) -> None:
    areas = (value.xyxy[:, 2:] - value.xyxy[:, :2]).prod(axis=1)
    _add_boxes(sums, value.xyxy, areas, cast("Boxes", question.true), num_pixels)


_ADDED: dict[tuple[type[Value], type[Value]], Callable[[Sums, Question, Any, Sequence[str], int], None]] = {
    (DepthMap, DepthMap): _add_depth,
    (NormalMap, NormalMap): _add_normals,
    (Masks, Masks): _add_masks,
    (Boxes, Masks): _add_boxes_of_masks,
    (Boxes, Boxes): _add_boxes_of_boxes,
}
"""What an answer adds to the sums, by the types of what is true and of what is answered."""


def told(
    prompt: Prompt, value: Masks, true: Masks
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float64]]:
    """Scores, verdicts and sizes (R,) of an answer's regions; see `reliability.verdicts`."""
    are_things = prompt.codec == "instances"
    return reliability.verdicts(value, true, are_things=are_things, min_area=MIN_AREA if are_things else 0.0)


def _add_pair(sums: Sums, drawn: NDArray[np.uint16], true: NDArray[np.uint16]) -> None:
    """Adds one image-phrase pair; objects that are too small to ask for are cut out of both sides."""
    areas = np.bincount(true.ravel())
    small = areas < MIN_AREA * true.size
    small[0] = False
    hidden = small[true]
    kept_true, _ = without_gaps(np.where(hidden, 0, true))
    # A drawn object that lies mostly on hidden ones is not asked for either.
    on_hidden = np.bincount(drawn[hidden].ravel(), minlength=int(drawn.max()) + 1)
    mostly = on_hidden > 0.5 * np.bincount(drawn.ravel(), minlength=int(drawn.max()) + 1)
    mostly[0] = False
    kept_drawn, _ = without_gaps(np.where(hidden | mostly[drawn], 0, drawn))
    is_there, is_drawn = bool(kept_true.any()), bool(kept_drawn.any())
    if not is_there and small.any():
        return  # only objects too small to ask for
    sums["presence"] += (
        is_there and is_drawn,
        is_there and not is_drawn,
        is_drawn and not is_there,
        not is_there and not is_drawn,
    )
    if is_there:
        sums["pair_f1"] += metrics.pair_f1(kept_drawn, kept_true)
        sums["pair_count"] += 1


def _add_boxes(
    sums: Sums, found: NDArray[np.float32], areas: NDArray[np.floating], true: Boxes, num_pixels: int
) -> None:
    """Adds objects whose boxes alone are known; those that are too small to ask for count on neither side."""
    found = found[areas >= MIN_AREA * num_pixels]
    wanted = true.xyxy[(true.xyxy[:, 2:] - true.xyxy[:, :2]).prod(axis=1) >= MIN_AREA * num_pixels]
    overlaps = iou(found, wanted)
    rows, columns = linear_sum_assignment(-overlaps)
    sums["box_pairs"] += 2 * (overlaps[rows, columns] >= SAME_BOX_IOU).sum()
    sums["box_count"] += len(found) + len(wanted)


def _add_region(sums: Sums, drawn: NDArray[np.bool_], true: NDArray[np.bool_]) -> None:
    if true.any():
        sums["refer_overlap"] += (drawn & true).sum()
        sums["refer_union"] += (drawn | true).sum()
    else:
        sums["empty_right"] += not drawn.any()
        sums["empty_count"] += 1
