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

from plantain.operators.models.base import Pixels
from plantain.operators.models.generators.base import Editor, precision_of
from plantain.operators.models.generators.weights import adapted, pipeline_of
from plantain.operators.models.loading import located, network_of
from plantain.operators.models.specialists.base import device_called
from plantain.operators.models.specialists.phrases import Phrases
from plantain.operators.prompts import Prompt

CODE_VERSION = "1"
"""Raised whenever the same weights draw differently."""

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


class Klein(Editor[Tensor]):
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

        where = device_called(device)
        precision = precision_of(dtype, where)
        found = located(checkpoint, revision, offline=offline)
        found.expect(("Flux2KleinPipeline",), self.name)
        self._steps, self._guidance, self._seed = int(steps), float(guidance), int(seed)
        texts = network_of(found, transformers.Qwen3ForCausalLM, subfolder="text_encoder", dtype=precision)
        pipeline = pipeline_of(found, _Rows, ("transformer", "vae"), text_encoder=texts, dtype=precision)
        added = adapted(pipeline, lora, float(lora_scale), offline=offline) if lora else ""
        super().__init__(pipeline.to(where), where, at_once)
        self._texts = Phrases(self._encode)
        drawn_by = (found.digest(), added, lora_scale, steps, guidance, seed, precision, CODE_VERSION)
        self.fingerprint = hashlib.blake2b(repr(drawn_by).encode(), digest_size=6).hexdigest()

    def _seen(self, images: Pixels) -> Sequence[Tensor]:
        """What the autoencoder makes of frames (M, H, W, 3): latents (C, h, w) of each."""
        vae = self._pipeline.vae
        pixels = torch.from_numpy(np.array(images)).to(self._device).permute(0, 3, 1, 2).to(vae.dtype)
        latents: Tensor = self._pipeline._encode_vae_image(pixels / 127.5 - 1, generator=None)
        return tuple(latents)

    def _draw(self, references: Sequence[Tensor], sample: Image.Image, prompts: Sequence[Prompt]) -> Pixels:
        pipeline, latents = self._pipeline, torch.stack([*references])
        places = pipeline._prepare_image_ids([latents[:1]]).to(self._device)
        packed = pipeline._pack_latents(latents)
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
