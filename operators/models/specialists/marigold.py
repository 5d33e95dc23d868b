"""Marigold: surface directions from a diffusion model; its depth has no unit, and is not asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.models.generators.weights import pipeline_of
from plantain.operators.models.loading import located, network_of
from plantain.operators.models.specialists.base import (
    Answers,
    Asked,
    Parts,
    Picture,
    Specialist,
    device_called,
    dtype_called,
)
from plantain.operators.models.specialists.families import fingerprint_of
from plantain.operators.prompts import Task


class Marigold(Specialist):
    """Draws directions out of noise, which is the same for every picture, so that a frame is answered the same.

    Its axes are ours: x to the right, y up, z to the viewer.

    Args:
        checkpoint: Folder, or repository, `owner/name`.
        steps: Of the denoising loop.
        resolution: Longer side of what it computes on, pixels; 0 for the checkpoint's own.
        revision: Of the repository; the newest if empty.
        device: `cpu`, `cuda`; the GPU if empty and there is one.
        dtype: `float32` or `bfloat16`.
        offline: Only what is on this machine.

    Raises:
        ModelUnavailableError: If the weights cannot be had, are damaged, or another model's.
    """

    tasks = (Task.NORMALS,)

    def __init__(
        self,
        checkpoint: str,
        *,
        steps: int = 4,
        resolution: int = 0,
        revision: str = "",
        device: str = "",
        dtype: str = "",
        offline: bool = False,
    ) -> None:
        import diffusers
        import transformers

        found = located(checkpoint, revision, offline=offline)
        found.expect(("MarigoldNormalsPipeline",), "marigold-normals")
        where, precision = device_called(device), dtype_called(dtype)
        texts = network_of(found, transformers.CLIPTextModel, subfolder="text_encoder", dtype="float32")
        pipeline = pipeline_of(found, diffusers.MarigoldNormalsPipeline, ("unet", "vae"), text_encoder=texts)
        print_of = fingerprint_of(found, [diffusers.__version__, steps, resolution, str(precision)])
        super().__init__(Parts("marigold-normals", print_of, pipeline.to(where), None, where, precision))
        self._steps, self._resolution = int(steps), int(resolution)

    def look(self, pictures: Sequence[Picture], asked: Asked) -> Answers:
        """Directions once for each picture."""
        pixels = torch.stack([picture.pixels for picture in pictures]).float() / 255
        with self.computing():
            drawn = self.parts.network(
                pixels,
                num_inference_steps=self._steps,
                ensemble_size=1,
                batch_size=len(pictures),
                processing_resolution=self._resolution or None,
                output_type="np",
                # One for each row: of a shared one the second row would get other noise than alone.
                generator=[torch.Generator().manual_seed(0) for _ in pictures],
            ).prediction
        return [[_map_of(each)] * len(prompts) for each, prompts in zip(drawn, asked, strict=True)]


def _map_of(vectors: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> NormalMap:
    """Directions (H, W, 3) of about unit length."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    valid = lengths[..., 0] > 0.5
    normals = np.where(valid[..., None], vectors / np.maximum(lengths, 1e-6), 0).astype(np.float32)
    return NormalMap(normals, valid, 0.0)
