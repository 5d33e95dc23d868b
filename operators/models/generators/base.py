"""What every generator does: sees each frame once, draws so many at once as memory holds, on a canvas that fits."""

from __future__ import annotations

import hashlib
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from PIL import Image

from plantain.operators.errors import ModelError, UsageError
from plantain.operators.models.base import Pixels
from plantain.operators.models.generators.weights import adapted, pipeline_of
from plantain.operators.models.loading import located, network_of
from plantain.operators.models.specialists.base import device_called
from plantain.operators.prompts import Prompt

S = TypeVar("S")

# The autoencoders halve a picture three times, and the transformers take 2 x 2 of what is left.
GRID = 16
MAX_PIXELS = 1024 * 1024
"""Larger pictures are made smaller by the library, so that the drawing would not lie on the frame."""


class Editor(ABC, Generic[S]):
    """A pipeline of the diffusers library that draws what `Prompt.instruction` says, in the paper's words.

    The noise that a drawing begins with follows from its prompt, so that the same frame is drawn the same in any batch.

    Args:
        checkpoint: Folder, or repository, `owner/name`.
        lora: Folder or repository, `owner/name@revision`, of weights that are added to it, such as those of an open
            replication.
        lora_scale: How strongly.
        steps: Of the denoising loop; the model's own if None.
        guidance: Above 1 each step takes a second pass; the model's own if None.
        seed: Another one draws otherwise.
        at_once: Drawings of one batch; the model's own if None.
        revision: Of the repository; the newest if empty.
        device: `cpu`, `cuda`; the GPU if empty and there is one.
        dtype: `bfloat16`, `float32`, or empty for bfloat16 on a GPU.
        offline: Only what is on this machine.

    Attributes:
        kind: Class of the library's pipeline, as the checkpoint names it.
        code_version: Raised whenever the same weights draw differently.
        own: Steps, guidance, and drawings of one batch, unless told otherwise.

    Raises:
        UsageError: If an option is unknown, or the checkpoint does not heed it.
        ModelUnavailableError: If the weights cannot be had, are damaged, or another model's.
    """

    name: ClassVar[str]
    kind: ClassVar[str]
    code_version: ClassVar[str]
    own: ClassVar[tuple[int, float, int]]

    def __init__(
        self,
        checkpoint: str,
        *,
        lora: str = "",
        lora_scale: float = 1.0,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int = 0,
        at_once: int | None = None,
        revision: str = "",
        device: str = "",
        dtype: str = "",
        offline: bool = False,
    ) -> None:
        self._device, precision = device_called(device), precision_of(dtype, device_called(device))
        found = located(checkpoint, revision, offline=offline)
        found.expect((self.kind,), self.name)
        own_steps, own_guidance, own_at_once = self._own_of(found.config, guidance)
        steps = own_steps if steps is None else steps
        guidance = own_guidance if guidance is None else guidance
        self._steps, self._guidance, self._seed = int(steps), float(guidance), int(seed)
        self._at_once = max(1, int(own_at_once if at_once is None else at_once))
        drawing, reading = self._classes()
        texts = network_of(found, reading, subfolder="text_encoder", dtype=precision)
        pipeline = pipeline_of(found, drawing, ("transformer", "vae"), text_encoder=texts, dtype=precision)
        added = adapted(pipeline, lora, float(lora_scale), offline=offline) if lora else ""
        self._pipeline = pipeline.to(self._device)
        told = (float(lora_scale), self._steps, self._guidance, self._seed)
        drawn_by = (found.digest(), added, *told, precision, self.code_version)
        self.fingerprint = hashlib.blake2b(repr(drawn_by).encode(), digest_size=6).hexdigest()

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
            seen: dict[int, S] = {}
            first = 0
            while first < len(prompts):
                rows = slice(first, first + self._at_once)
                try:
                    if new := [k for k in dict.fromkeys(image_of[rows]) if k not in seen]:
                        seen |= zip(new, self._seen(images[new]), strict=True)
                    references = [seen[k] for k in image_of[rows]]
                    made = self._draw(references, Image.fromarray(images[image_of[first]]), prompts[rows])
                    drawn[rows] = (np.asarray(made) * 255).round()
                except torch.OutOfMemoryError as error:
                    self._make_do_with_less(len(prompts[rows]), error)
                else:
                    first += len(references)
        return drawn

    def close(self) -> None:
        """Gives back the weights' memory; draws no more."""
        self._pipeline.to("meta")
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _own_of(self, config: Mapping[str, Any], guidance: float | None) -> tuple[int, float, int]:  # noqa: ARG002
        """`own`, of a checkpoint that says this about itself; or a UsageError for a guidance that it does not heed."""
        return self.own

    @abstractmethod
    def _classes(self) -> tuple[Any, Any]:
        """The library's pipeline, and the network of its text encoder."""

    @abstractmethod
    def _seen(self, images: Pixels) -> Sequence[S]:
        """What is made of each of the frames (M, H, W, 3), once however many drawings follow."""

    @abstractmethod
    def _draw(self, references: Sequence[S], sample: Image.Image, prompts: Sequence[Prompt]) -> Any:
        """Drawings (N, H, W, 3), float in [0, 1].

        Args:
            references: What was made of each one's frame.
            sample: A picture of the size of all.
            prompts: What each is to show.
        """

    def _told(self, sample: Image.Image, prompts: Sequence[Prompt]) -> dict[str, Any]:
        """What both libraries' pipelines are told of a drawing besides what it is to show."""
        seeds = [self._seed ^ zlib.crc32(str(prompt).encode()) for prompt in prompts]
        return {
            "num_inference_steps": self._steps,
            "height": sample.height,
            "width": sample.width,
            "generator": [torch.Generator().manual_seed(seed) for seed in seeds],
            "output_type": "np",
        }

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
