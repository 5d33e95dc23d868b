"""What every generator does: sees each frame once, draws so many at once as memory holds, on a canvas that fits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from PIL import Image

from plantain.operators.errors import ModelError, UsageError
from plantain.operators.models.base import Pixels
from plantain.operators.prompts import Prompt

S = TypeVar("S")

# The autoencoders halve a picture three times, and the transformers take 2 x 2 of what is left.
GRID = 16
MAX_PIXELS = 1024 * 1024
"""Larger pictures are made smaller by the library, so that the drawing would not lie on the frame."""


class Editor(ABC, Generic[S]):
    """A pipeline of the diffusers library that draws what `Prompt.instruction` says about a frame.

    Args:
        pipeline: With its weights, on its device.
        device: Where it computes.
        at_once: Drawings of one batch.
    """

    name: ClassVar[str]

    def __init__(self, pipeline: Any, device: torch.device, at_once: int) -> None:
        self._pipeline, self._device = pipeline, device
        self._at_once = max(1, int(at_once))

    def render(self, images: Pixels, image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
        """One drawing for each prompt; see ModelBackend.

        Raises:
            ModelError: If the canvas is none that a drawing would lie on.
        """
        height, width = images.shape[1:3]
        if height % GRID or width % GRID or height * width > MAX_PIXELS:
            raise ModelError(
                f"{self.name} draws on a canvas whose sides are multiples of {GRID} and that has at most a megapixel, "
                f"not {width} x {height}: set canvas"
            )
        drawn = np.empty((len(prompts), height, width, 3), np.uint8)
        if not len(prompts):
            return drawn
        with torch.inference_mode():
            used = sorted(set(image_of))
            seen = dict(zip(used, self._seen(images[used]), strict=True))
            first = 0
            while first < len(prompts):
                rows = slice(first, first + self._at_once)
                references = [seen[index] for index in image_of[rows]]
                try:
                    drawn[rows] = self._draw(references, Image.fromarray(images[used[0]]), prompts[rows])
                except torch.OutOfMemoryError as error:
                    self._make_do_with_less(len(references), error)
                else:
                    first += len(references)
        return drawn

    def close(self) -> None:
        """Gives back the weights' memory; draws no more."""
        self._pipeline.to("meta")
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    @abstractmethod
    def _seen(self, images: Pixels) -> Sequence[S]:
        """What is made of each of the frames (M, H, W, 3), once however many drawings follow."""

    @abstractmethod
    def _draw(self, references: Sequence[S], sample: Image.Image, prompts: Sequence[Prompt]) -> Pixels:
        """Drawings (N, H, W, 3).

        Args:
            references: What was made of each one's frame.
            sample: A picture of the size of all.
            prompts: What each is to show.
        """

    def _make_do_with_less(self, count: int, error: torch.OutOfMemoryError) -> None:
        """Draws half as many at once from now on.

        Raises:
            ModelError: If it was one.
        """
        if count == 1:
            raise ModelError(
                f"{self.name} has not enough memory for one drawing: give it a smaller canvas"
            ) from error
        self._at_once = count // 2
        torch.cuda.empty_cache()


def precision_of(name: str, device: torch.device) -> torch.dtype:
    """What to compute in: `bfloat16`, `float32`, or empty for bfloat16 on a GPU.

    Raises:
        UsageError: If it is none of them.
    """
    known = {"bfloat16": torch.bfloat16, "float32": torch.float32}
    if name and name not in known:
        why = ": its autoencoder is black in float16" if name == "float16" else ""
        raise UsageError(f"dtype '{name}' is none of {' and '.join(known)}{why}")
    return known[name] if name else (torch.bfloat16 if device.type == "cuda" else torch.float32)
