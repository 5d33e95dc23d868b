"""Qwen-Image-Edit: an image editor of 20 B with a text encoder of 7 B that sees the frame, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from plantain.operators.models.base import Pixels
from plantain.operators.models.generators.base import MAX_PIXELS, Editor
from plantain.operators.prompts import Prompt


class QwenEdit(Editor[Image.Image]):
    """Reads words and frame together, so that neither is kept; see Editor.

    The library brings what it looks at to about a megapixel, whatever the canvas is; the drawing has the canvas's size.
    """

    name, kind, code_version = "qwen-image-edit", "QwenImageEditPipeline", "1"
    # What its makers show; with low-rank weights for few steps (Lightning) 4 or 8, and a guidance of 1.
    own = (40, 4.0, 2)

    def _classes(self) -> tuple[Any, Any]:
        import diffusers
        import transformers

        return diffusers.QwenImageEditPipeline, transformers.Qwen2_5_VLForConditionalGeneration

    def _seen(self, images: Pixels) -> list[Image.Image]:
        """The frames as the library looks at them; of several together it would leave them as they are."""
        from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit as library

        height, width = images.shape[1:3]
        seen_width, seen_height, _ = library.calculate_dimensions(MAX_PIXELS, width / height)
        resize = self._pipeline.image_processor.resize
        return [
            resize(Image.fromarray(np.ascontiguousarray(each)), seen_height, seen_width) for each in images
        ]

    def _draw(self, references: Sequence[Image.Image], sample: Image.Image, prompts: Sequence[Prompt]) -> Any:
        guided = {"negative_prompt": [" "] * len(prompts)} if self._guidance > 1 else {}
        return self._pipeline(
            image=list(references),
            prompt=[prompt.instruction() for prompt in prompts],
            true_cfg_scale=self._guidance,
            **self._told(sample, prompts),
            **guided,
        ).images
