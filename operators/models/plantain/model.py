"""The embedded generalist behind the model contract."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plantain.operators.answers.depth.value import Lens
from plantain.operators.cores import num_cores
from plantain.operators.errors import ModelError, ModelUnavailableError
from plantain.operators.models.base import Pixels, Told
from plantain.operators.models.phrases import MAX_PHRASES, Phrases
from plantain.operators.models.plantain import drawing, painting
from plantain.operators.models.plantain.asked import groups, handfuls, phrases_of, task_of
from plantain.operators.models.plantain.calibration import likelihoods
from plantain.operators.models.plantain.lens import hfov_deg, log_focal
from plantain.operators.models.plantain.memory import keep_freed_memory
from plantain.operators.models.plantain.network import STRIDE, TASKS, Features, Fields
from plantain.operators.models.plantain.precision import dtype_of
from plantain.operators.models.plantain.shared import Shared, shared
from plantain.operators.models.plantain.sight import Sight
from plantain.operators.models.plantain.text import Vocabulary
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Frame

WEIGHTS = Path(__file__).with_name("weights.safetensors")

CODE_VERSION = "5"
"""Raised whenever the same weights draw differently."""

MAX_CACHED_PICTURES = 32


@dataclass(frozen=True, slots=True)
class _Camera:
    """Through what a picture was taken.

    Attributes:
        stream_id: Whose camera; "" for nobody's.
        hfov_deg: Horizontal field of view of its picture, degrees; None where it is not known.
        share: The picture's width over the canvas's, as it is padded.
    """

    stream_id: str = ""
    hfov_deg: float | None = None
    share: float = 1.0

    @classmethod
    def of(cls, frame: Frame) -> _Camera:
        """The camera of a frame."""
        fit = frame.info.fit
        return cls(
            frame.header.stream_id, frame.info.hfov_deg, fit.width / (-(-fit.model_hw[1] // STRIDE) * STRIDE)
        )


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
        self._pictures: dict[str, Tensor] = {}

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
        return self._drawn(images, [_Camera()] * len(images), image_of, prompts).drawn

    def draw(self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
        """The same of frames; distances follow from the field of view that their streams tell, or are taken for."""
        return self.draw_told(frames, image_of, prompts)[0]

    def draw_told(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> tuple[Pixels, list[Told]]:
        """The same, with how sure the network is of each pixel of a region and which lens it reckoned with."""
        cameras = [_Camera.of(frame) for frame in frames]
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
        self, images: Pixels, cameras: Sequence[_Camera], image_of: Sequence[int], prompts: Sequence[Prompt]
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
                drawn[index] = self._imagined(prompt.text, drawn.shape[1:3])
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
                for indices in groups(prompts, seen):
                    self._decode(features, cameras, image_of, prompts, indices, made)
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
        cameras: Sequence[_Camera],
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
        asked = {index: phrases_of(prompts[index]) for index in seen}
        self._vectors(["", *(phrase for phrases in asked.values() for phrase in phrases)])
        together = handfuls(of_frame, threads)
        parts = -(-threads // len(of_frame))

        def encoded(frames: list[int]) -> Features:
            with torch.inference_mode():
                return sight.encode([images[frame] for frame in frames])

        def decoded(features: Features, indices: list[int]) -> None:
            with torch.inference_mode():
                width = max(1, *(len(asked[index]) for index in indices))
                vectors = torch.stack(
                    [self._vectors((*asked[i], *[""] * (width - len(asked[i])))) for i in indices]
                )
                keep = torch.tensor([[place < len(asked[i]) for place in range(width)] for i in indices])
                words = [task_of(prompts[index]) for index in indices]
                heads = ["masks" if word in ("semantic", "refer") else word for word in words]
                maps = sight.decode(features, [TASKS.index(word) for word in words], heads, vectors, keep)
                for index, word, (each, seen_lens) in zip(indices, words, maps, strict=True):
                    if word == "depth":
                        focal, made.lenses[index] = self._focal(cameras[image_of[index]], seen_lens)
                        each[..., 0] += focal
                    painting.paint(word, each, prompts[index], made.drawn[index], made.sure[index])

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
        if not _drawable(prompt.text):
            raise ModelError(
                f"the embedded model knows no word of '{prompt}': it draws streets, squares, car parks and what "
                "stands there, by day, at night, in rain or fog"
            )

    def _imagined(self, description: str, size_hw: tuple[int, int]) -> Pixels:
        """A new picture (H, W, 3) uint8; the same words give the same one, whatever frame they came with."""
        key = " ".join(description.lower().split())
        picture = self._pictures.get(key)
        if picture is None:
            words, seed = _drawable(key), zlib.crc32(key.encode())

            def drawn() -> Tensor:
                with torch.inference_mode():
                    return self._held.network.generator.draw(words, self._held.vocabulary, seed).cpu()

            # On one thread, as everything here (sight.py): 0.34 s, where two that meet at every operator take 0.23.
            sight = self._held.sight
            picture = drawn() if sight is None else sight.pool.submit(drawn).result()
            while len(self._pictures) >= MAX_CACHED_PICTURES:
                self._pictures.pop(next(iter(self._pictures)))
            self._pictures[key] = picture
        return drawing.filling(picture, size_hw).numpy()

    def _encode(self, images: Pixels) -> Features:
        height, width = images.shape[1:3]
        bottom, right = -height % STRIDE, -width % STRIDE
        if bottom or right:
            images = np.pad(images, ((0, 0), (0, bottom), (0, right), (0, 0)))
        source = torch.from_numpy(np.array(images) if not images.flags.writeable else images).to(self._device)
        pictures = source.permute(0, 3, 1, 2).to(self._dtype) * (1 / 255)
        features: Features = self._held.network.encoder(pictures)
        return features

    def _decode(
        self,
        features: Features,
        cameras: Sequence[_Camera],
        image_of: Sequence[int],
        prompts: Sequence[Prompt],
        indices: list[int],
        made: _Drawings,
    ) -> None:
        """Fills the drawings of prompts of one shape, on a GPU."""
        asked = [phrases_of(prompts[index]) for index in indices]
        width = max(1, *(len(each) for each in asked))
        vectors = torch.stack([self._vectors((*each, *[""] * (width - len(each)))) for each in asked])
        keep = torch.tensor(
            [[place < len(each) for place in range(width)] for each in asked], device=self._device
        )
        task = torch.tensor([TASKS.index(task_of(prompts[index])) for index in indices], device=self._device)
        frame = torch.tensor([image_of[index] for index in indices], device=self._device)
        fields = self._held.network.decoder(features.of(frame), task, vectors, keep)
        logits = fields.logits().float() if any(asked) else None
        height, across = made.drawn.shape[1:3]
        for row, index in enumerate(indices):
            own = None if logits is None else logits[row, : len(asked[row]) + 1]
            if own is not None and prompts[index].task is Task.REFER and not prompts[index].score:
                own = drawing.sure(own)
            focal = 0.0
            if task_of(prompts[index]) == "depth":
                seen_lens = fields.lens[row].cpu().numpy()
                focal, made.lenses[index] = self._focal(cameras[image_of[index]], seen_lens)
            picture, likely = _draw(fields, own, row, prompts[index], focal)
            made.drawn[index] = picture[:height, :across].cpu().numpy()
            if likely is not None:
                made.sure[index] = likely[:height, :across].cpu().numpy()

    def _focal(self, camera: _Camera, seen: NDArray[np.float32]) -> tuple[float, Lens]:
        """Logarithm of a focal length over the canonical one, and the lens: as told, or as the network saw it, (2,)."""
        if camera.hfov_deg is not None:
            return log_focal(camera.hfov_deg, camera.share), Lens(camera.hfov_deg, 0.0)
        focal, error = self._held.lenses.of(camera.stream_id, float(seen[0]), float(seen[1]))
        return focal, Lens(hfov_deg(focal, camera.share), error)

    def _vectors(self, phrases: Sequence[str]) -> Tensor:
        """Phrase vectors (P, width), each computed once."""
        (vectors,) = self._phrases.of(phrases)
        return vectors

    def _encoded(self, phrases: Sequence[str]) -> tuple[Tensor]:
        ids = self._held.vocabulary.tensor(phrases).to(self._device)
        return (self._held.network.phrases(ids),)


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


@lru_cache(MAX_PHRASES)
def _drawable(description: str) -> str:
    """Of a description the words that scenes are described with: of others the generator was taught nothing."""
    from plantain.operators.scenes import (
        descriptions,
    )  # renders with compiled code: loaded where pictures are drawn

    return Vocabulary.of(descriptions.all_words()).known(description)


def _cores() -> int:
    """Cores that this process may use.

    Torch is not asked: in a thread that begins after any other has set its number, it says that one's.
    """
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdigit() and int(said) > 0:
        return int(said)
    return num_cores()
