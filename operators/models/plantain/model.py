"""The embedded generalist behind the model contract."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plantain.operators.answers.depth.value import Lens
from plantain.operators.cores import num_cores
from plantain.operators.errors import ModelError, ModelUnavailableError
from plantain.operators.models.base import Pixels, Told
from plantain.operators.models.phrases import Phrases
from plantain.operators.models.plantain import choosing, drawing, imagining, painting
from plantain.operators.models.plantain.asked import (
    Question,
    expression_of,
    groups,
    handfuls,
    questions_of,
    task_of,
)
from plantain.operators.models.plantain.calibration import likelihoods
from plantain.operators.models.plantain.fields import STRIDE, TASKS, Features, Fields
from plantain.operators.models.plantain.lens import Camera
from plantain.operators.models.plantain.memory import keep_freed_memory
from plantain.operators.models.plantain.precision import dtype_of
from plantain.operators.models.plantain.shared import Shared, shared
from plantain.operators.models.plantain.sight import Sight
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Frame

WEIGHTS = Path(__file__).with_name("weights.safetensors")

CODE_VERSION = "6"
"""Raised whenever the same weights draw differently."""


@dataclass(frozen=True, slots=True)
class _Drawings:
    """What is made for N prompts.

    Attributes:
        drawn: (N, H, W, 3) uint8.
        sure: (N, H, W) uint8, how sure the network is of each pixel of a region.
        lenses: What distances follow from, None for other answers.
    """

    drawn: Pixels
    sure: Pixels
    lenses: list[Lens | None]


class EmbeddedModel:
    """One small network for every task: encodes each picture once, decodes each prompt, draws.

    Models of one process that are made alike share the network, and on the CPU its threads, too.

    Args:
        weights: Another weights file than the package's, for instance a fine-tuned one.
        device: `cpu`, `cuda`, or empty for the GPU where there is one.
        dtype: `bfloat16`, `float32`, or empty for bfloat16 where the processor computes in it.
        threads: Frames that are looked at side by side on the CPU; 0 for as many as torch may use cores.

    Raises:
        ModelUnavailableError: If the weights are missing or unreadable.
    """

    name = "embedded"

    def __init__(
        self, weights: str | Path = WEIGHTS, device: str = "", dtype: str = "", threads: int = 0
    ) -> None:
        path = Path(weights)
        if not path.is_file():
            raise ModelUnavailableError(
                f"the embedded model has no weights at {path}: "
                "install a released package, or run `plantain train`"
            )
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._dtype = dtype_of(dtype, self._device)
        if self._device.type == "cpu":
            keep_freed_memory()
            if threads > 0:
                torch.set_num_threads(threads)
        try:
            self._shared: Shared | None = shared(path, self._device, self._dtype, threads or _cores())
        except Exception as error:
            raise ModelUnavailableError(f"the weights {path} cannot be read: {error}") from error
        self.fingerprint = f"{self._shared.digest}-{CODE_VERSION}"
        self._phrases = Phrases(self._encoded)
        self._pictures = imagining.Pictures()

    @property
    def sight(self) -> Sight:
        """What encodes and decodes on the CPU.

        Raises:
            ModelUnavailableError: If the model runs on a GPU.
        """
        if self._held.sight is None:
            raise ModelUnavailableError("the model runs on a GPU, where batches are computed as a whole")
        return self._held.sight

    @property
    def _held(self) -> Shared:
        """What this model has in common with others.

        Raises:
            ModelError: If it has been closed.
        """
        if self._shared is None:
            raise ModelError("the embedded model has been closed")
        return self._shared

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return self._dtype

    def render(self, images: Pixels, image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
        """One drawing for each prompt; see ModelBackend.

        Any canvas is taken whose sides are multiples of 32 pixels; others are padded with black and cut back. The
        field of view is estimated from each picture.

        Raises:
            ModelError: If words say nothing that the network could draw, or the arguments do not fit.
        """
        return self._drawn(images, [Camera()] * len(images), image_of, prompts).drawn

    def draw(self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
        """The same of frames; distances follow from the field of view that their streams tell, or are taken for."""
        return self.draw_told(frames, image_of, prompts)[0]

    def draw_told(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> tuple[Pixels, list[Told]]:
        """The same, with how sure the network is of each pixel of a region and which lens it reckoned with."""
        cameras = [Camera.of(frame) for frame in frames]
        made = self._drawn(np.stack([frame.image for frame in frames]), cameras, image_of, prompts)
        return made.drawn, [Told(sure, lens) for sure, lens in zip(made.sure, made.lenses, strict=True)]

    def scores(
        self, prompt: Prompt, sure: NDArray[np.float32], shares: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """How likely each region overlaps with the truth by half, as was found on training scenes; see TellsMore."""
        return likelihoods(
            self._held.network.calibration.float().cpu().numpy(), task_of(prompt), sure, shares
        )

    def _drawn(
        self, images: Pixels, cameras: Sequence[Camera], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> _Drawings:
        if len(image_of) != len(prompts):
            raise ModelError(f"{len(prompts)} prompts need as many image indices, not {len(image_of)}")
        for prompt in prompts:
            self.check(prompt)
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
            raise ModelError(f"images must be (M, H, W, 3) uint8, not {images.dtype} {images.shape}")
        drawn = np.empty((len(prompts), *images.shape[1:]), np.uint8)
        made = _Drawings(drawn, np.zeros(drawn.shape[:3], np.uint8), [None] * len(prompts))
        if not len(prompts):
            return made
        seen = []
        for index, prompt in enumerate(prompts):
            if prompt.codec == "image":
                drawn[index] = self._pictures.of(prompt.text, drawn.shape[1:3], self._held)
            else:
                seen.append(index)
        if not seen:
            return made
        with torch.inference_mode():
            sight = self._held.sight
            if sight is not None:
                with sight.share() as threads:
                    self._look(sight, threads, images, cameras, image_of, prompts, seen, made)
            else:
                features = self._encode(images)
                self._decode(features, images, cameras, image_of, prompts, seen, made)
        return made

    def close(self) -> None:
        """Frees what it keeps of phrases and pictures and, if nobody else shares them, the weights; draws no more."""
        self._phrases.clear()
        self._pictures.clear()
        self._shared = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _look(
        self,
        sight: Sight,
        threads: int,
        images: Pixels,
        cameras: Sequence[Camera],
        image_of: Sequence[int],
        prompts: Sequence[Prompt],
        seen: Sequence[int],
        made: _Drawings,
    ) -> None:
        """Fills the drawings `seen` on the CPU, cut into work for so many threads.

        Each handful of frames, or each part of one's prompts, goes to a thread.
        """
        of_frame: dict[int, list[int]] = {}
        for index in seen:
            of_frame.setdefault(image_of[index], []).append(index)
        asked = {index: questions_of(prompts[index]) for index in seen}
        self._vectors(
            ["", *(word for questions in asked.values() for each in questions for word in each.phrases)]
        )
        together = handfuls(of_frame, {index: len(questions) for index, questions in asked.items()}, threads)
        parts = -(-threads // len(of_frame))

        def encoded(frames: list[int]) -> Features:
            with torch.inference_mode():
                return sight.encode([images[frame] for frame in frames])

        def decoded(features: Features, indices: list[int]) -> None:
            with torch.inference_mode():
                rows = [question for index in indices for question in asked[index]]
                vectors, keep = self._padded(rows)
                found = sight.decode(
                    features,
                    [TASKS.index(row.word) for row in rows],
                    [row.head for row in rows],
                    vectors,
                    keep,
                )
                for index in indices:
                    maps, lenses = zip(*(next(found) for _ in asked[index]), strict=True)
                    if asked[index][0].word == "depth":
                        focal, made.lenses[index] = cameras[image_of[index]].focal(
                            self._held.lenses, lenses[0]
                        )
                        maps[0][..., 0] += focal
                    _paint(maps, images[image_of[index]], prompts[index], made.drawn[index], made.sure[index])

        if parts == 1:

            def drawn_of(frames: list[int]) -> None:
                decoded(encoded(frames), [index for frame in frames for index in of_frame[frame]])

            sight.each(drawn_of, together, threads)
            return
        shares = [
            (features, own[part::parts])
            for [frame], features in zip(together, sight.each(encoded, together, threads), strict=True)
            for own in [of_frame[frame]]
            for part in range(min(parts, len(own)))
        ]
        sight.each(lambda share: decoded(*share), shares, threads)

    def check(self, prompt: Prompt) -> None:
        """Refuses what the network cannot draw.

        Raises:
            ModelError: With what it knows instead.
        """
        if prompt.codec != "image":
            return
        if not self._held.network.generator.lessons:
            raise ModelError(f"these weights cannot draw '{prompt}': their generator was not taught")
        if not imagining.drawable(prompt.text, self._held.vocabulary):
            raise ModelError(
                f"the embedded model knows no word of '{prompt}': it draws streets, squares, car parks and what "
                "stands there, by day, at night, in rain or fog"
            )

    def _encode(self, images: Pixels) -> Features:
        height, width = images.shape[1:3]
        bottom, right = -height % STRIDE, -width % STRIDE
        if bottom or right:
            images = np.pad(images, ((0, 0), (0, bottom), (0, right), (0, 0)))
        source = torch.from_numpy(np.array(images) if not images.flags.writeable else images).to(self._device)
        pictures = source.permute(0, 3, 1, 2).to(self._dtype) * (1 / 255)
        features: Features = self._held.network.encoder(pictures)
        return features

    def _padded(self, questions: Sequence[Question]) -> tuple[Tensor, Tensor]:
        """Phrase vectors (N, K, width) of questions, and which of them are no padding."""
        width = max(1, *(len(question.phrases) for question in questions))
        vectors = torch.stack(
            [self._vectors((*each.phrases, *[""] * (width - len(each.phrases)))) for each in questions]
        )
        keep = torch.tensor([[place < len(each.phrases) for place in range(width)] for each in questions])
        return vectors, keep.to(self._device)

    def _decode(
        self,
        features: Features,
        images: Pixels,
        cameras: Sequence[Camera],
        image_of: Sequence[int],
        prompts: Sequence[Prompt],
        seen: Sequence[int],
        made: _Drawings,
    ) -> None:
        """Fills the drawings `seen` on a GPU, where questions of one shape are decoded at once."""
        asked = [(index, question) for index in seen for question in questions_of(prompts[index])]
        maps: dict[int, list[tuple[int, painting.Floats]]] = {}
        for rows in groups([question for _, question in asked]):
            questions = [asked[row][1] for row in rows]
            vectors, keep = self._padded(questions)
            task = torch.tensor([TASKS.index(each.word) for each in questions], device=self._device)
            frame = torch.tensor([image_of[asked[row][0]] for row in rows], device=self._device)
            fields = self._held.network.decoder(features.of(frame), task, vectors, keep)
            logits = fields.logits().float() if questions[0].phrases else None
            for at, row in enumerate(rows):
                index, question = asked[row]
                own = None if logits is None else logits[at, : len(question.phrases) + 1]
                if expression_of(prompts[index]) is not None:
                    maps.setdefault(index, []).append((row, drawing.maps_of(fields, own, at, question.word)))
                else:
                    self._draw(fields, own, at, index, cameras[image_of[index]], prompts[index], made)
        for index, found in maps.items():
            in_order = [each for _, each in sorted(found, key=lambda pair: pair[0])]
            _paint(in_order, images[image_of[index]], prompts[index], made.drawn[index], made.sure[index])

    def _draw(
        self,
        fields: Fields,
        logits: Tensor | None,
        row: int,
        index: int,
        camera: Camera,
        prompt: Prompt,
        made: _Drawings,
    ) -> None:
        """Fills the drawing of one prompt where the fields are."""
        if logits is not None and prompt.task is Task.REFER and not prompt.score:
            logits = drawing.sure(logits)
        focal = 0.0
        if task_of(prompt) == "depth":
            focal, made.lenses[index] = camera.focal(self._held.lenses, fields.lens[row].cpu().numpy())
        height, across = made.drawn.shape[1:3]
        picture, likely = _draw(fields, logits, row, prompt, focal)
        made.drawn[index] = picture[:height, :across].cpu().numpy()
        if likely is not None:
            made.sure[index] = likely[:height, :across].cpu().numpy()

    def _vectors(self, phrases: Sequence[str]) -> Tensor:
        """Phrase vectors (P, width), each computed once."""
        (vectors,) = self._phrases.of(phrases)
        return vectors

    def _encoded(self, phrases: Sequence[str]) -> tuple[Tensor]:
        ids = self._held.vocabulary.tensor(phrases).to(self._device)
        return (self._held.network.phrases(ids),)


def _paint(maps: Sequence[painting.Floats], image: Pixels, prompt: Prompt, out: Pixels, sure: Pixels) -> None:
    """Fills `out` and `sure` from the answers to a prompt's questions about a picture."""
    expression = expression_of(prompt)
    if expression is None:
        painting.paint(task_of(prompt), maps[0], prompt, out, sure)
    else:
        meant = choosing.chosen(expression, maps, image, is_sure=not prompt.score)
        painting.masks(meant, prompt, out, sure)


def _draw(
    fields: Fields, logits: Tensor | None, row: int, prompt: Prompt, log_focal: float
) -> tuple[Tensor, Tensor | None]:
    """The drawing (H, W, 3) uint8 of one prompt, and how sure its regions are, made where the fields are."""
    task = task_of(prompt)
    if task == "depth":
        return drawing.depth(fields.log_depth[row] + log_focal, fields.sky[row], prompt), None
    if task == "normals":
        return drawing.normals(fields.normals[row], fields.sky[row]), None
    assert logits is not None
    if task == "instances":
        return drawing.instances(logits, fields.centre[row], fields.offset[row], prompt)
    return drawing.masks(logits, prompt)


def _cores() -> int:
    """Cores that this process may use.

    Torch is not asked: in a thread that begins after any other has set its number, it says that one's.
    """
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdigit() and int(said) > 0:
        return int(said)
    return num_cores()
