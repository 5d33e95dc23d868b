"""FLUX.2 klein: an image editor that draws answers in four steps, for many frames and prompts at once."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import Flux2KleinPipeline
from PIL import Image
from torch import Tensor

from plantain.operators.errors import ModelError, UsageError
from plantain.operators.models.base import Pixels
from plantain.operators.models.generators.weights import adapted, pipeline_of
from plantain.operators.models.loading import located, network_of
from plantain.operators.models.specialists.base import device_called
from plantain.operators.models.specialists.phrases import Phrases
from plantain.operators.prompts import Prompt

CODE_VERSION = "1"
"""Raised whenever the same weights draw differently."""

# The autoencoder halves a picture three times, and the transformer takes 2 x 2 of what is left.
GRID = 16
MAX_PIXELS = 1024 * 1024
"""Larger pictures are made smaller by the library, so that the drawing would not lie on the frame."""

# What the distilled weights were made for; the library's own defaults, 50 and 4.0, are for others.
STEPS, GUIDANCE = 4, 1.0


class _Rows(Flux2KleinPipeline):  # type: ignore[misc]  # the library is not typed
    """The library's pipeline with a reference picture of its own for each row.

    A list of pictures would be several references of every row. Everything else, the loop above all, is the library's.

    Attributes:
        references: (N, L, C) latents of the reference pictures, row by row, and (N, L, 4) their places.
    """

    references: tuple[Tensor, Tensor]

    def prepare_image_latents(self, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        return self.references


class Klein:
    """Draws what `Prompt.instruction` says, in the paper's words.

    Each frame is encoded once, however many prompts ask about it, and each text once ever. The noise that a drawing
    begins with follows from its prompt, so that the same frame is drawn the same in any batch.

    Args:
        checkpoint: Folder, or repository, `owner/name`.
        lora: Folder or repository of weights that are added to it, such as those of an open replication.
        lora_scale: How strongly.
        steps: Of the denoising loop.
        guidance: Above 1 each step takes a second pass.
        seed: Another one draws otherwise.
        at_once: Drawings of one batch.
        revision: Of the repository; the newest if empty.
        device: `cpu`, `cuda`; the GPU if empty and there is one.
        dtype: `bfloat16`, `float32`, or empty for bfloat16 on a GPU. Its autoencoder is black in float16.
        offline: Only what is on this machine.

    Raises:
        UsageError: If an option is unknown.
        ModelUnavailableError: If the weights cannot be had, are damaged, or another model's.
    """

    name = "klein"

    def __init__(
        self,
        checkpoint: str,
        *,
        lora: str = "",
        lora_scale: float = 1.0,
        steps: int = STEPS,
        guidance: float = GUIDANCE,
        seed: int = 0,
        at_once: int = 8,
        revision: str = "",
        device: str = "",
        dtype: str = "",
        offline: bool = False,
    ) -> None:
        import transformers

        self._device = device_called(device)
        precision = _dtype(dtype, self._device)
        found = located(checkpoint, revision, offline=offline)
        found.expect(("Flux2KleinPipeline",), self.name)
        self._steps, self._guidance, self._seed = int(steps), float(guidance), int(seed)
        self._at_once = max(1, int(at_once))
        texts = network_of(found, transformers.Qwen3ForCausalLM, subfolder="text_encoder", dtype=precision)
        pipeline = pipeline_of(found, _Rows, ("transformer", "vae"), text_encoder=texts, dtype=precision)
        added = adapted(pipeline, lora, float(lora_scale), offline=offline) if lora else ""
        self._pipeline = pipeline.to(self._device)
        self._texts = Phrases(self._encode)
        drawn_by = (found.digest(), added, lora_scale, steps, guidance, seed, precision, CODE_VERSION)
        self.fingerprint = hashlib.blake2b(repr(drawn_by).encode(), digest_size=6).hexdigest()

    def render(self, images: Pixels, image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
        """One drawing for each prompt; see ModelBackend.

        Raises:
            ModelError: If the canvas is none that a drawing would lie on.
        """
        height, width = images.shape[1:3]
        if height % GRID or width % GRID or height * width > MAX_PIXELS:
            raise ModelError(
                f"klein draws on a canvas whose sides are multiples of {GRID} and that has at most a megapixel, "
                f"not {width} x {height}: set canvas"
            )
        drawn = np.empty((len(prompts), height, width, 3), np.uint8)
        if not len(prompts):
            return drawn
        with torch.inference_mode():
            used = sorted(set(image_of))
            seen = self._seen(images[used])
            place = {index: row for row, index in enumerate(used)}
            first = 0
            while first < len(prompts):
                rows = slice(first, first + self._at_once)
                references = seen[[place[index] for index in image_of[rows]]]
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

    def _make_do_with_less(self, count: int, error: torch.OutOfMemoryError) -> None:
        """Draws half as many at once from now on.

        Raises:
            ModelError: If it was one.
        """
        if count == 1:
            raise ModelError(
                "klein has not enough memory for one drawing: give it a smaller canvas"
            ) from error
        self._at_once = count // 2
        torch.cuda.empty_cache()

    def _seen(self, images: Pixels) -> Tensor:
        """What the autoencoder makes of frames (M, H, W, 3): latents (M, C, h, w)."""
        vae = self._pipeline.vae
        pixels = torch.from_numpy(np.array(images)).to(self._device).permute(0, 3, 1, 2).to(vae.dtype)
        latents: Tensor = self._pipeline._encode_vae_image(pixels / 127.5 - 1, generator=None)
        return latents

    def _draw(self, references: Tensor, sample: Image.Image, prompts: Sequence[Prompt]) -> Pixels:
        """Drawings (N, H, W, 3) of latents (N, C, h, w)."""
        pipeline = self._pipeline
        places = pipeline._prepare_image_ids([references[:1]]).to(self._device)
        packed = pipeline._pack_latents(references)
        pipeline.references = packed, places.expand(len(packed), *places.shape[1:])
        (texts,) = self._texts.of([prompt.instruction() for prompt in prompts])
        noise = [
            torch.Generator().manual_seed(self._seed ^ zlib.crc32(str(each).encode())) for each in prompts
        ]
        pictures = pipeline(
            image=sample,
            prompt_embeds=texts,
            num_inference_steps=self._steps,
            guidance_scale=self._guidance,
            height=sample.height,
            width=sample.width,
            generator=noise,
            output_type="np",
        ).images
        drawn: Pixels = (pictures * 255).round().astype(np.uint8)
        return drawn

    def _encode(self, texts: list[str]) -> tuple[Tensor]:
        """Embeddings (P, 512, C): the padding is attended to, so that its length is part of the text."""
        embeddings, _ = self._pipeline.encode_prompt(texts, device=self._device)
        return (embeddings,)


def _dtype(name: str, device: torch.device) -> torch.dtype:
    """What to compute in."""
    known = {"bfloat16": torch.bfloat16, "float32": torch.float32}
    if name and name not in known:
        why = ": its autoencoder is black in float16" if name == "float16" else ""
        raise UsageError(f"dtype '{name}' is none of {' and '.join(known)}{why}")
    return known[name] if name else (torch.bfloat16 if device.type == "cuda" else torch.float32)
