"""A backend without weights: exact answers for stamped scenes, a plain drawing for everything else."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers import codec_for, kind_of
from plantain.operators.answers.base import Boxes4
from plantain.operators.answers.boxes.value import Boxes
from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.masks.value import Masks
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.answers.text.value import Text
from plantain.operators.errors import ModelError, UsageError
from plantain.operators.models.base import Answer, Pixels
from plantain.operators.models.drawn import Drawn
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Failure, Frame, Value

if TYPE_CHECKING:
    from plantain.operators.scenes import SceneFrame

_BLACK = 10
"""Rows and columns with no sample above this are a letterbox's bars; video codecs blur black a little."""

_MAX_SCENES = 4
_MAX_FRAMES = 16


class FakeModel:
    """Draws what is true about a stamped picture, as an ideal model would.

    A picture that carries no stamp is answered from its brightness alone: bands of it as classes, bright
    pieces as objects, bright as near. That is no perception, but it is deterministic and exercises everything
    around a model.

    Args:
        split: Which scenes the stamps mean.
        assets: Folder of meshes that the stamped scenes were rendered with; empty for none.
        cost_ms: Waits this long for each picture, as a slower model would, milliseconds.
        fail_on: Frame indices that fail, separated by commas; the index is the stamp's.
        usd: What an answer is said to cost, US dollars.

    Raises:
        UsageError: If an option cannot be read.
    """

    name = "fake"
    fingerprint = "fake-1"
    reads_stamps = True
    """Pictures must be stamped for exact answers; `evaluate` looks at this."""

    def __init__(
        self,
        split: Literal["train", "heldout"] = "train",
        assets: str = "",
        cost_ms: float = 0.0,
        fail_on: str = "",
        usd: float = 0.0,
    ) -> None:
        if cost_ms < 0:
            raise UsageError(f"cost_ms is {cost_ms:g}: it must not be negative")
        try:
            self._fail_on = frozenset(int(part) for part in str(fail_on).split(",") if part.strip())
        except ValueError as error:
            raise UsageError(f"fail_on is '{fail_on}': write frame indices separated by commas") from error
        self._truth = _Truth(split, assets)
        self._cost_s = cost_ms / 1000
        self._usd = float(usd)
        self._tellers: dict[str, Callable[[Frame, Prompt], Value]] = {
            "boxes": self._boxes,
            "text": self._text,
        }

    def answer(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> list[Answer]:
        """One answer for each prompt; see Answering. What has no answer, and what was asked to fail, fails alone."""
        told: dict[int, Answer] = {}
        for k, (index, prompt) in enumerate(zip(image_of, prompts, strict=True)):
            if reason := self._refusal(frames[index].image, prompt):
                told[k] = Answer(Failure("infer", reason, retryable=False))
            elif prompt.codec in self._tellers:
                told[k] = Answer(self._tellers[prompt.codec](frames[index], prompt))
        drawn = [k for k in range(len(prompts)) if k not in told]
        if not drawn and self._cost_s:
            time.sleep(self._cost_s * len(frames))
        decoded = Drawn(self).answer(frames, [image_of[k] for k in drawn], [prompts[k] for k in drawn])
        told |= dict(zip(drawn, decoded, strict=True))
        return [replace(told[k], cost_usd=self._usd) for k in range(len(prompts))]

    def render(self, images: Pixels, image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
        """One drawing for each prompt; see ModelBackend.

        Raises:
            ModelError: If a prompt has no answer, or a picture is one of `fail_on`.
        """
        if len(image_of) != len(prompts):
            raise ModelError(f"{len(prompts)} prompts need as many image indices, not {len(image_of)}")
        if self._cost_s:
            time.sleep(self._cost_s * len(images))
        drawn = np.zeros((len(prompts), *images.shape[1:]), np.uint8)
        for row, (index, prompt) in enumerate(zip(image_of, prompts, strict=True)):
            drawn[row] = self._draw(images[index], prompt)
        return drawn

    def close(self) -> None:
        """Forgets the scenes."""
        self._truth.clear()

    def _refusal(self, canvas: Pixels, prompt: Prompt) -> str:
        """Why a prompt about a picture has no answer; empty if it has one."""
        if prompt.codec == "image":
            return f"the fake model cannot draw '{prompt}': it knows the perception tasks only"
        if self._fail_on:
            top, left, height, width = picture_in(canvas)
            stamped = _stamp_of(canvas[top : top + height, left : left + width])
            if stamped is not None and stamped[1] in self._fail_on:
                return f"frame {stamped[1]} was asked to fail (fail_on)"
        return ""

    def _boxes(self, frame: Frame, prompt: Prompt) -> Boxes:
        """What `instances` finds of each class, in boxes."""
        found = [(name, place) for name in prompt.classes for place in self._places(frame, name)]
        xyxy = np.array([place for _, place in found], np.float32).reshape(-1, 4)
        return Boxes(xyxy, tuple(name for name, _ in found), np.ones(len(found), np.float32))

    def _text(self, frame: Frame, prompt: Prompt) -> Text:
        """How many there are of the classes that the question names; of bright things where it names none."""
        words = {word.strip("?!.,;").removesuffix("s") for word in prompt.text.lower().split()}
        names = sorted(words & {"car", "bus", "truck", "person", "bicycle", "tree"}) or ["thing"]
        return Text(", ".join(f"{len(self._places(frame, name))} {name}" for name in names))

    def _places(self, frame: Frame, name: str) -> Boxes4:
        """Where the things of a class are, in source pixels."""
        fit = frame.info.fit
        picture, asked = fit.crop(frame.image), Prompt.parse(f"instances:{name}")
        stamped = _stamp_of(picture)
        if stamped is None:
            value = _from_brightness(picture, asked)
        else:
            value = self._truth.answer(stamped[0], stamped[1], (fit.height, fit.width), asked)
        places = kind_of(asked).places(value, fit)
        assert places is not None
        return places

    def _draw(self, canvas: Pixels, prompt: Prompt) -> Pixels:
        if reason := self._refusal(canvas, prompt):
            raise ModelError(reason)
        top, left, height, width = picture_in(canvas)
        picture = canvas[top : top + height, left : left + width]
        stamped = _stamp_of(picture)
        if stamped is None:
            return codec_for(prompt).encode(_from_brightness(canvas, prompt), prompt)
        value = self._truth.answer(stamped[0], stamped[1], (height, width), prompt)
        inner = codec_for(prompt).encode(value, prompt)
        drawn = np.empty_like(canvas)
        drawn[:] = prompt.background if prompt.codec in ("masks", "instances") else 0
        drawn[top : top + height, left : left + width] = inner
        return drawn


class _Truth:
    """Answers of scenes, the last few kept; safe to use from several threads."""

    def __init__(self, split: Literal["train", "heldout"], assets: str) -> None:
        self._split: Literal["train", "heldout"] = split
        self._assets = assets
        self._scenes: OrderedDict[tuple[int, tuple[int, int]], object] = OrderedDict()
        self._frames: OrderedDict[tuple[int, int, tuple[int, int]], SceneFrame] = OrderedDict()
        self._lock = threading.Lock()

    def answer(self, seed: int, index: int, size_hw: tuple[int, int], prompt: Prompt) -> Value:
        from plantain.operators.models import truth  # scenes load numba: only where a stamp is met

        with self._lock:
            frame = self._frame(seed, index, size_hw)
        meant: frozenset[int] = frozenset()
        if prompt.task is Task.REFER:
            meant = dict(truth.expressions(frame, seed, index)).get(prompt.classes[0], meant)
        return truth.answer(frame, prompt, meant)

    def clear(self) -> None:
        with self._lock:
            self._scenes.clear()
            self._frames.clear()

    def _frame(self, seed: int, index: int, size_hw: tuple[int, int]) -> SceneFrame:
        from pathlib import Path

        from plantain.operators.models.truth import FRAMES_PER_S
        from plantain.operators.scenes import Scene

        key = (seed, index, size_hw)
        if key not in self._frames:
            scene = self._scenes.get((seed, size_hw))
            if scene is None:
                assets = Path(self._assets) if self._assets else None
                scene = Scene(seed, split=self._split, assets=assets, size_hw=size_hw)
                self._scenes[seed, size_hw] = scene
            assert isinstance(scene, Scene)
            self._frames[key] = scene.render(index / FRAMES_PER_S)
            while len(self._scenes) > _MAX_SCENES:
                self._scenes.popitem(last=False)
            while len(self._frames) > _MAX_FRAMES:
                self._frames.popitem(last=False)
        return self._frames[key]


def picture_in(canvas: Pixels) -> tuple[int, int, int, int]:
    """Top, left, height and width of the picture between a letterbox's black bars.

    Bars lie on both sides alike, the lower or right one wider by one pixel where they cannot
    (geometry.Letterbox),
    so that only the upper and left ones are looked for: there the stamp is, while a night's foot may be
        black.
    """
    bright = canvas.max(axis=2) > _BLACK
    rows, columns = bright.any(axis=1), bright.any(axis=0)
    if not rows.any():
        return 0, 0, *canvas.shape[:2]
    top, height = _between(rows)
    left, width = _between(columns)
    return top, left, height, width


def _between(bright: NDArray[np.bool_]) -> tuple[int, int]:
    """Start and length of the middle of a row of flags."""
    start = int(bright.argmax())
    length = len(bright) - 2 * start
    if start and not bright[start + length - 1]:
        length -= 1
    return start, length


def _stamp_of(picture: Pixels) -> tuple[int, int] | None:
    from plantain.operators.scenes import read_stamp

    return read_stamp(picture)


def _from_brightness(image: Pixels, prompt: Prompt) -> Value:
    """An answer that depends on nothing but the picture's brightness."""
    light = (image.astype(np.uint16) @ np.array([77, 150, 29], np.uint16) >> 8).astype(np.uint8)
    if prompt.codec == "depth":
        depth_m = 2.0 + (255 - light.astype(np.float32)) * 0.3
        return DepthMap(depth_m, np.ones(light.shape, np.bool_), 0.0)
    if prompt.codec == "normals":
        down, across = np.gradient(light.astype(np.float32) / 64)
        vectors = np.stack([-across, down, np.ones_like(down)], axis=-1)
        vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
        return NormalMap(vectors.astype(np.float32), np.ones(light.shape, np.bool_), 0.0)
    if prompt.codec == "instances":
        return _bright_pieces(light, prompt)
    bands = light.astype(np.uint16) * (len(prompt.classes) + 1) // 256
    present = [int(each) for each in np.unique(bands) if each > 0]
    table = np.zeros(len(prompt.classes) + 1, np.uint16)
    table[present] = np.arange(1, len(present) + 1)
    names = tuple(prompt.classes[each - 1] for each in present)
    return Masks(table[bands], names, np.ones(len(names), np.float32), 0.0)


def _bright_pieces(light: NDArray[np.uint8], prompt: Prompt) -> Masks:
    """The up to 20 largest connected bright regions."""
    from scipy import ndimage

    pieces, count = ndimage.label(light > 150)
    areas = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-areas, kind="stable")[:20]
    kept = np.sort(order[areas[order] >= 0.001 * light.size]) + 1
    table = np.zeros(count + 1, np.uint16)
    table[kept] = np.arange(1, len(kept) + 1)
    name = prompt.classes[0] if prompt.classes else prompt.text
    return Masks(table[pieces], (name,) * len(kept), np.ones(len(kept), np.float32), 0.0)
