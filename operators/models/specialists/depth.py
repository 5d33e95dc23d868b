"""Metric depth and surface directions: one estimator for each checkpoint whose library reads its outputs."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plantain.operators.answers.depth.value import DepthMap, Lens
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.errors import ModelUnavailableError
from plantain.operators.models.specialists.base import Answers, Asked, Parts, Picture, Specialist
from plantain.operators.prompts import Task

# Depth Pro says 10 km (the inverse of its least inverse depth) where there is nothing.
FARTHEST_M = 1e4

METRIC = ("depth_pro", "glpn", "tipsv2_dpt", "zoedepth")
"""Types of models that are metric whenever they are published; others must say so in their configuration."""


class DepthEstimator(Specialist):
    """Any checkpoint of the library's depth estimation.

    Args:
        parts: The checkpoint's.
        scale: Metres that its unit stands for; None for a checkpoint that is known to be metric.

    Raises:
        ModelUnavailableError: If its depth is relative, or nobody says that it is not.
    """

    tasks = (Task.DEPTH,)

    def __init__(self, parts: Parts, *, scale: float | None = None) -> None:
        super().__init__(parts)
        self._scale = 1.0 if scale is None else float(scale)
        config = parts.network.config
        said = getattr(config, "depth_estimation_type", "metric" if config.model_type in METRIC else "")
        if said == "relative":
            raise ModelUnavailableError(
                f"{parts.name} knows only what is nearer than what, not how far it is: take a metric checkpoint"
            )
        if said != "metric" and scale is None:
            raise ModelUnavailableError(
                f"{parts.name} does not say that its depth is metric, and most of the type '{config.model_type}' is "
                "relative: take a metric checkpoint, or give the metres of its unit with the option scale"
            )

    def look(self, pictures: Sequence[Picture], asked: Asked) -> Answers:
        """Depth once for each picture."""
        sizes = [picture.size_hw for picture in pictures]
        inputs = self.parts.processor(images=[picture.pixels for picture in pictures], return_tensors="pt")
        found = _read(self.parts.processor, "depth", self.forward(**inputs), sizes)
        return [
            [depth_of(each["predicted_depth"] * self._scale, _lens_of(each))] * len(prompts)
            for each, prompts in zip(found, asked, strict=True)
        ]


class NormalEstimator(Specialist):
    """Any checkpoint of the library's normal estimation."""

    tasks = (Task.NORMALS,)

    def look(self, pictures: Sequence[Picture], asked: Asked) -> Answers:
        """Directions once for each picture."""
        sizes = [picture.size_hw for picture in pictures]
        inputs = self.parts.processor(images=[picture.pixels for picture in pictures], return_tensors="pt")
        found = _read(self.parts.processor, "normal", self.forward(**inputs), sizes)
        return [
            [normals_of(each["normals"])] * len(prompts) for each, prompts in zip(found, asked, strict=True)
        ]


def _read(
    processor: Any, what: str, outputs: Any, sizes: Sequence[tuple[int, int]]
) -> list[dict[str, Tensor]]:
    """The maps in outputs, brought to the sizes of their pictures.

    A processor that pads what it sees (ZoeDepth's, Sapiens2's) takes that off again by the size of the source.
    """
    read = getattr(processor, f"post_process_{what}_estimation")
    is_padded = getattr(processor, "do_pad", False) and "source_sizes" in inspect.signature(read).parameters
    found: list[dict[str, Tensor]] = read(
        outputs, target_sizes=sizes, **({"source_sizes": sizes} if is_padded else {})
    )
    return found


def _lens_of(read: dict[str, Tensor]) -> Lens | None:
    """The lens that a model which estimates it (Depth Pro) reckoned with."""
    hfov_deg = read.get("field_of_view")
    return None if hfov_deg is None else Lens(float(hfov_deg))


def depth_of(metres: Tensor, lens: Lens | None = None) -> DepthMap:
    """Depth (H, W) in metres; what is at no distance, or at none that can be told, is invalid.

    Args:
        metres: (H, W).
        lens: That they follow from; None where the model asks for none.
    """
    depth_m = metres.float().cpu().numpy()
    valid = np.isfinite(depth_m) & (depth_m > 0) & (depth_m < FARTHEST_M)
    return DepthMap(np.where(valid, depth_m, np.float32(0)), valid, 0.0, lens)


def normals_of(vectors: Tensor) -> NormalMap:
    """Directions (3, H, W) of OpenCV's axes (x right, y down, z away) as ours (x right, y up, z to the viewer)."""
    turned = torch.nn.functional.normalize(vectors.float(), dim=0) * vectors.new_tensor(
        [1.0, -1.0, -1.0]
    ).reshape(3, 1, 1)
    normals = turned.permute(1, 2, 0).contiguous().cpu().numpy()
    valid = np.square(normals).sum(axis=-1) > 0.25
    return NormalMap(normals, valid, 0.0)
