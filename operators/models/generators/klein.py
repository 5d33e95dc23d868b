"""FLUX.2 klein: an image editor that draws answers in four steps, for many frames and prompts at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import Flux2KleinPipeline
from PIL import Image
from torch import Tensor

from plantain.operators.errors import UsageError
from plantain.operators.models.base import Pixels
from plantain.operators.models.generators.base import Editor
from plantain.operators.models.phrases import Phrases
from plantain.operators.prompts import Prompt


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
    """Encodes each frame once, however many prompts ask about it, and each text once ever; see Editor."""

    name, kind, code_version = "klein", "Flux2KleinPipeline", "1"
    # What the distilled weights were made for.
    own = (4, 1.0, 8)

    def _own_of(self, config: Mapping[str, Any], guidance: float | None) -> tuple[int, float, int]:
        """The library's own steps and guidance for weights that are not distilled; the others have no use for one."""
        if not config.get("is_distilled"):
            return 50, 4.0, 4
        if guidance not in (None, 1):
            raise UsageError(
                f"these weights of {self.name} are distilled, and the library ignores guidance with them: "
                "leave it out, or give a base checkpoint"
            )
        return self.own

    def _classes(self) -> tuple[Any, Any]:
        import transformers

        self._texts = Phrases(self._encode)
        return _Rows, transformers.Qwen3ForCausalLM

    def _seen(self, images: Pixels) -> Sequence[Tensor]:
        """What the autoencoder makes of frames (M, H, W, 3): latents (C, h, w) of each."""
        vae = self._pipeline.vae
        pixels = torch.from_numpy(np.array(images)).to(self._device).permute(0, 3, 1, 2).to(vae.dtype)
        latents: Tensor = self._pipeline._encode_vae_image(pixels / 127.5 - 1, generator=None)
        return tuple(latents)

    def _draw(self, references: Sequence[Tensor], sample: Image.Image, prompts: Sequence[Prompt]) -> Any:
        pipeline, latents = self._pipeline, torch.stack([*references])
        places = pipeline._prepare_image_ids([latents[:1]]).to(self._device)
        packed = pipeline._pack_latents(latents)
        pipeline.references = packed, places.expand(len(packed), *places.shape[1:])
        (texts,) = self._texts.of([prompt.instruction() for prompt in prompts])
        # What guidance leads away from is no text at all; the library would encode that on each call.
        against = (
            {"negative_prompt_embeds": self._texts.of([""] * len(prompts))[0]} if self._guidance > 1 else {}
        )
        return pipeline(
            image=sample,
            prompt_embeds=texts,
            guidance_scale=self._guidance,
            **against,
            **self._told(sample, prompts),
        ).images

    def _encode(self, texts: list[str]) -> tuple[Tensor]:
        """Embeddings (P, 512, C): the padding is attended to, so that its length is part of the text."""
        embeddings, _ = self._pipeline.encode_prompt(texts, device=self._device)
        return (embeddings,)
