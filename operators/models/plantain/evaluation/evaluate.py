"""Accuracy of any backend on rendered scenes, through its drawings and the codecs that read them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers import codec_for
from plantain.operators.answers.codec import Painted
from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.masks.value import Masks
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.colours import RGB
from plantain.operators.geometry import Letterbox
from plantain.operators.models import truth
from plantain.operators.models.base import DrawsFrames, ModelBackend
from plantain.operators.models.plantain.evaluation import metrics
from plantain.operators.models.plantain.evaluation.metrics import Sums
from plantain.operators.prompts import CURVES, Prompt, Task
from plantain.operators.scenes import CLASSES, THINGS, Scene, SceneFrame, stamp
from plantain.operators.types import Frame, FrameInfo, Header, Value

SPLIT_SEEDS = range(200)
"""Held-out scenes: the fixed test split."""

NUM_PHRASES = 5
"""Countable classes asked of each frame: up to three that are there, the others not."""

NUM_EXPRESSIONS = 4
"""Referring expressions asked of each frame, one of them without a meaning where there is such a one."""

MIN_AREA = 1e-3
"""Smaller objects, as a share of the picture, count neither for nor against: below about 9 x 9 pixels of the
default canvas even exact drawings of wheels and posts do not survive the decoder's erosion (appendix A, stage
4)."""

TOLD: dict[str, metrics.Metric] = {
    "delta1_told": metrics.share("told_depth_right", "told_depth_count"),
    "absrel_told": metrics.share("told_depth_error", "told_depth_count"),
}
"""Depth again, by a backend that is told the field of view."""

_MAX_TIME_INDEX = 250

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt about a frame, with what is true; `table`: where the answer to a semantic one counts."""

    prompt: Prompt
    true: Value
    meant: frozenset[int] = frozenset()
    table: Literal["confusion", "confusion_random"] = "confusion"


def evaluate(
    backend: ModelBackend,
    num_scenes: int = 100,
    split: Literal["train", "heldout"] = "heldout",
    size_hw: tuple[int, int] = (224, 384),
    assets: Path | None = None,
    first_seed: int = 0,
) -> dict[str, Any]:
    """Every metric with its interval, IoU per class, and the time that drawing took.

    Args:
        backend: Anything behind the model contract; one with `reads_stamps` gets stamped pictures.
        num_scenes: From the start of the split; one frame of each.
        split: "heldout" for figures that are reported.
        size_hw: Canvas.
        assets: Folder of meshes to render with.
        first_seed: Where to begin.

    Returns:
        A dict that JSON can hold: the names of `metrics.METRICS`, and of TOLD for a backend that uses it, each with
        `<name>_ci`, `class_iou`, `num_scenes`, `split`, `model`, `model_fingerprint`, `model_ms_per_frame`.
    """
    sums: list[Sums] = []
    spent_s = 0.0
    for seed in range(first_seed, first_seed + num_scenes):
        rng = np.random.default_rng((seed, 23))
        index = int(rng.integers(0, _MAX_TIME_INDEX))
        scene = Scene(seed, split=split, assets=assets, size_hw=size_hw)
        frame = scene.render(index / truth.FRAMES_PER_S)
        image = stamp(frame.image, seed, index) if getattr(backend, "reads_stamps", False) else frame.image
        asked = questions(frame, seed, index, rng)
        start = time.perf_counter()
        drawn = backend.render(image[None], [0] * len(asked), [each.prompt for each in asked])
        spent_s += time.perf_counter() - start
        sums.append(drawn_sums(asked, drawn) | _told_sums(backend, image, asked, scene.camera.fov_deg))
    measured = metrics.METRICS | (TOLD if isinstance(backend, DrawsFrames) else {})
    result: dict[str, Any] = dict(metrics.summary(sums, measured=measured))
    ious = metrics.class_ious(np.sum([each["confusion"] for each in sums], axis=0))
    result["class_iou"] = {
        name: float(iou) for name, iou in zip(CLASSES[1:], ious, strict=True) if np.isfinite(iou)
    }
    return result | {
        "num_scenes": num_scenes,
        "split": split,
        "model": backend.name,
        "model_fingerprint": backend.fingerprint,
        "model_ms_per_frame": 1000 * spent_s / max(1, num_scenes),
    }


def _told_sums(
    backend: ModelBackend, image: NDArray[np.uint8], asked: Sequence[Question], hfov_deg: float
) -> Sums:
    """What a frame adds to TOLD; nothing of a backend that makes no use of a field of view."""
    if not isinstance(backend, DrawsFrames):
        return {}
    [question] = [each for each in asked if each.prompt.task is Task.DEPTH]
    fit = Letterbox.fit(image.shape[:2], image.shape[:2])
    frame = Frame(Header("", 0, 0), FrameInfo(0, Fraction(1), None, "file", fit, hfov_deg=hfov_deg), image)
    value = codec_for(question.prompt).decode(
        backend.draw([frame], [0], [question.prompt])[0], question.prompt
    )
    match question.true, value:
        case DepthMap() as true, DepthMap():
            found = metrics.depth_sums(value.depth_m, value.valid, true.depth_m, true.valid)
            return {f"told_{name}": each for name, each in found.items()}
    return {}


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
        asked.append(Question(prompt, truth.answer(frame, prompt, meant), meant))
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
    asked: Sequence[Question], values: Sequence[Value], names: Sequence[str] = CLASSES[1:]
) -> Sums:
    """What one frame adds to every metric.

    Args:
        asked: Questions about it.
        values: The decoded answers.
        names: All classes that semantic questions may name.
    """
    size = len(names) + 1
    sums: Sums = {
        "confusion": np.zeros((size, size)),
        "confusion_random": np.zeros((size, size)),
        "presence": np.zeros(4),
        "angles": np.zeros(metrics.ANGLE_BINS),
    }
    for name in (
        "pair_f1", "pair_count", "refer_overlap", "refer_union", "empty_right", "empty_count",
        "depth_right", "depth_error", "depth_count", "off_palette", "drawings",
    ):  # fmt: skip
        sums[name] = np.zeros(())
    for question, value in zip(asked, values, strict=True):
        match question.true, value:
            case DepthMap() as true, DepthMap():
                found = metrics.depth_sums(value.depth_m, value.valid, true.depth_m, true.valid)
                sums |= {name: sums[name] + each for name, each in found.items()}
            case NormalMap() as true, NormalMap():
                sums["angles"] += metrics.angle_histogram(
                    value.normals, value.valid, true.normals, true.valid
                )
                continue  # the sky is drawn without a direction on purpose, so off_palette says nothing here
            case Masks() as true, Masks():
                if question.prompt.task is Task.SEMANTIC:
                    sums[question.table] += metrics.confusion(
                        _class_ids(value, names), _class_ids(true, names), size - 1
                    )
                elif question.prompt.codec == "instances":
                    _add_pair(sums, value.labels, true.labels)
                else:
                    _add_region(sums, value.labels > 0, true.labels > 0)
        if isinstance(value, Painted):
            sums["off_palette"] += value.off_palette
            sums["drawings"] += 1
    return sums


def _class_ids(masks: Masks, names: Sequence[str]) -> NDArray[np.int64]:
    """Labels of regions as 1 + their index in `names`."""
    table = np.zeros(len(masks.names) + 1, np.int64)
    table[1:] = [1 + names.index(name) for name in masks.names]
    return table[masks.labels]


def _add_pair(sums: Sums, drawn: NDArray[np.uint16], true: NDArray[np.uint16]) -> None:
    """Adds one image-phrase pair; objects that are too small to ask for are cut out of both sides."""
    areas = np.bincount(true.ravel())
    small = areas < MIN_AREA * true.size
    small[0] = False
    hidden = small[true]
    kept_true = _renumbered(np.where(hidden, 0, true))
    # A drawn object that lies mostly on hidden ones is not asked for either.
    on_hidden = np.bincount(drawn[hidden].ravel(), minlength=int(drawn.max()) + 1)
    mostly = on_hidden > 0.5 * np.bincount(drawn.ravel(), minlength=int(drawn.max()) + 1)
    mostly[0] = False
    kept_drawn = _renumbered(np.where(hidden | mostly[drawn], 0, drawn))
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


def _renumbered(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """The same regions as 1..n without gaps."""
    present = np.unique(labels)
    table = np.zeros(int(labels.max()) + 1, np.int64)
    table[present[present > 0]] = np.arange(1, int((present > 0).sum()) + 1)
    renumbered: NDArray[np.int64] = table[labels]
    return renumbered


def _add_region(sums: Sums, drawn: NDArray[np.bool_], true: NDArray[np.bool_]) -> None:
    if true.any():
        sums["refer_overlap"] += (drawn & true).sum()
        sums["refer_union"] += (drawn | true).sum()
    else:
        sums["empty_right"] += not drawn.any()
        sums["empty_count"] += 1
