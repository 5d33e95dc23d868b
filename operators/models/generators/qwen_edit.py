"""Qwen-Image-Edit: an image editor of 20 B with a text encoder of 7 B that sees the frame, too."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from plantain.operators.models.base import Pixels
from plantain.operators.models.generators.base import MAX_PIXELS, Editor, precision_of
from plantain.operators.models.generators.weights import adapted, pipeline_of
from plantain.operators.models.loading import located, network_of
from plantain.operators.models.specialists.base import device_called
from plantain.operators.prompts import Prompt

CODE_VERSION = "1"
"""Raised whenever the same weights draw differently."""

# What its makers show; with low-rank weights that were made for few steps (Lightning) 4 or 8, and a guidance of 1.
STEPS, GUIDANCE = 40, 4.0


class QwenEdit(Editor[Image.Image]):
    """Draws what `Prompt.instruction` says, in the paper's words.

    The library brings what it looks at to about a megapixel, whatever the canvas is; the drawing has the canvas's size.
    Words and frame are read together, so that neither is kept. The noise that a drawing begins with follows from its
    prompt.

    Args:
        checkpoint: Folder, or repository, `owner/name`.
        lora: Folder or repository of weights that are added to it.
        lora_scale: How strongly.
        steps: Of the denoising loop.
        guidance: Above 1 each step takes a second pass.
        seed: Another one draws otherwise.
        at_once: Drawings of one batch.
        revision: Of the repository; the newest if empty.
        device: `cpu`, `cuda`; the GPU if empty and there is one.
        dtype: `bfloat16`, `float32`, or empty for bfloat16 on a GPU.
        offline: Only what is on this machine.

    Raises:
        UsageError: If an option is unknown.
        ModelUnavailableError: If the weights cannot be had, are damaged, or another model's.
    """

    name = "qwen-image-edit"

    def __init__(
        self,
        checkpoint: str,
        *,
        lora: str = "",
        lora_scale: float = 1.0,
        steps: int = STEPS,
        guidance: float = GUIDANCE,
        seed: int = 0,
        at_once: int = 2,
        revision: str = "",
        device: str = "",
        dtype: str = "",
        offline: bool = False,
    ) -> None:
        import diffusers
        import transformers

        where = device_called(device)
        precision = precision_of(dtype, where)
        found = located(checkpoint, revision, offline=offline)
        found.expect(("QwenImageEditPipeline",), self.name)
        self._steps, self._guidance, self._seed = int(steps), float(guidance), int(seed)
        texts = network_of(
            found,
            transformers.Qwen2_5_VLForConditionalGeneration,
            subfolder="text_encoder",
            dtype=precision,
        )
        pipeline = pipeline_of(
            found,
            diffusers.QwenImageEditPipeline,
            ("transformer", "vae"),
            text_encoder=texts,
            dtype=precision,
        )
        added = adapted(pipeline, lora, float(lora_scale), offline=offline) if lora else ""
        super().__init__(pipeline.to(where), where, at_once)
        drawn_by = (found.digest(), added, lora_scale, steps, guidance, seed, precision, CODE_VERSION)
        self.fingerprint = hashlib.blake2b(repr(drawn_by).encode(), digest_size=6).hexdigest()

    def _seen(self, images: Pixels) -> list[Image.Image]:
        """The frames as the library looks at them; of several together it would leave them as they are."""
        from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit as library

        height, width = images.shape[1:3]
        seen_width, seen_height, _ = library.calculate_dimensions(MAX_PIXELS, width / height)
        resize = self._pipeline.image_processor.resize
        return [
            resize(Image.fromarray(np.ascontiguousarray(each)), seen_height, seen_width) for each in images
        ]

    def _draw(
        self, references: Sequence[Image.Image], sample: Image.Image, prompts: Sequence[Prompt]
    ) -> Pixels:
        noise = [
            torch.Generator().manual_seed(self._seed ^ zlib.crc32(str(each).encode())) for each in prompts
        ]
        guided = {"negative_prompt": [" "] * len(prompts)} if self._guidance > 1 else {}
        pictures = self._pipeline(
            image=list(references),
            prompt=[prompt.instruction() for prompt in prompts],
            num_inference_steps=self._steps,
            true_cfg_scale=self._guidance,
            height=sample.height,
            width=sample.width,
            generator=noise,
            output_type="np",
            **guided,
        ).images
        drawn: Pixels = (np.asarray(pictures) * 255).round().astype(np.uint8)
        return drawn
