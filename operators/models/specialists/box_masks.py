"""Masks in boxes: what SAM 2 is asked when another model has found where things are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from plantain.operators.models.specialists.base import Parts, in_float32


class BoxMasks:
    """A SAM 2 checkpoint that is given boxes.

    Args:
        parts: Its own.
    """

    def __init__(self, parts: Parts) -> None:
        self.fingerprint = parts.fingerprint
        self._parts = parts

    def look(self, pictures: Sequence[Tensor]) -> list[list[Tensor]]:
        """What the vision encoder makes of pictures (3, H, W): a list of levels for each."""
        inputs = self._parts.processor(images=list(pictures), return_tensors="pt")
        with torch.inference_mode():
            levels = self._parts.network.get_image_embeddings(inputs["pixel_values"].to(self._parts.device))
        return [[level[k : k + 1] for level in levels] for k in range(len(pictures))]

    def of(self, seen: list[Tensor], boxes: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """A mask (N, H, W) in each of the boxes (N, 4), which are in pixels of the picture."""
        if not len(boxes):
            return torch.zeros((0, *size_hw), dtype=torch.bool, device=self._parts.device)
        words: Any = self._parts.processor(
            input_boxes=[boxes.cpu().tolist()], original_sizes=[list(size_hw)], return_tensors="pt"
        )
        with torch.inference_mode():
            outputs = in_float32(
                self._parts.network(
                    image_embeddings=seen,
                    input_boxes=words["input_boxes"].to(self._parts.device),
                    multimask_output=False,
                )
            )
        masks: Tensor = self._parts.processor.post_process_masks(outputs.pred_masks, [list(size_hw)])[0]
        return masks.bool().reshape(-1, *size_hw)

    def close(self) -> None:
        """Gives back the network's memory."""
        self._parts.network.to("meta")
