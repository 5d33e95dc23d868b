"""MoGe-2 (arXiv:2507.02546): metric depth and surface directions from one pass, through a lens told or estimated."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot
from typing import Any

import torch
from torch import Tensor

from plantain.operators.answers.depth.value import Lens
from plantain.operators.errors import ModelUnavailableError, UsageError
from plantain.operators.models.hub import PICKLED
from plantain.operators.models.loading import Checkpoint, filled, located, made, unpickled
from plantain.operators.models.specialists.base import (
    Answers,
    Asked,
    Parts,
    Picture,
    Specialist,
    device_called,
    dtype_called,
)
from plantain.operators.models.specialists.depth import depth_of, normals_of
from plantain.operators.models.specialists.families import fingerprint_of, version_of
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Value


class MoGe(Specialist):
    """MoGe-2 by the copy of its code that is on PyPI.

    Args:
        checkpoint: Folder, or repository, `owner/name`.
        num_tokens: Patches that it sees a picture as: fewer are quicker and coarser; 0 for the checkpoint's most.
        revision: Of the repository; the newest if empty.
        device: `cpu`, `cuda`; the GPU if empty and there is one.
        dtype: `float32` or `bfloat16`.
        offline: Only what is on this machine.

    Raises:
        UsageError: If an option makes no sense.
        ModelUnavailableError: If the weights cannot be had, are damaged, or another model's.
    """

    tasks = (Task.DEPTH, Task.NORMALS)

    def __init__(
        self,
        checkpoint: str,
        *,
        num_tokens: int = 0,
        revision: str = "",
        device: str = "",
        dtype: str = "",
        offline: bool = False,
    ) -> None:
        if not isinstance(num_tokens, int) or num_tokens < 0:
            raise UsageError(f"num_tokens is '{num_tokens}': it must be a whole number, 0 or more")
        found = located(checkpoint, revision, offline=offline)
        found.expect((PICKLED,), "moge-2")
        where, precision = device_called(device), dtype_called(dtype)
        network = _network_of(found)
        print_of = fingerprint_of(found, [version_of("moge"), num_tokens, str(precision)])
        super().__init__(Parts("moge-2", print_of, network.to(where), None, where, precision))
        self._num_tokens = num_tokens or int(network.num_tokens_range[1])

    def refusal(self, prompt: Prompt) -> str:
        """Directions, of a checkpoint that was published without."""
        if prompt.task is not Task.NORMALS or hasattr(self.parts.network, "normal_head"):
            return ""
        return f"this checkpoint of model {self.name} has no answer to '{prompt}': take one with normal in its name"

    def look(self, pictures: Sequence[Picture], asked: Asked) -> Answers:
        """One pass for all pictures and tasks."""
        pixels = torch.stack([picture.pixels for picture in pictures]).float() / 255
        outputs = self.forward(image=pixels, num_tokens=self._num_tokens)
        answers: Answers = []
        for k, (picture, prompts) in enumerate(zip(pictures, asked, strict=True)):
            read = _read({name: each[k] for name, each in outputs.items()}, picture.info.hfov_deg)
            answers.append([read[prompt.task] for prompt in prompts])
        return answers


def _network_of(found: Checkpoint) -> Any:
    """The network of a checkpoint, with its weights.

    Raises:
        ModelUnavailableError: If it is another model's, or not metric.
    """
    from moge.model.v2 import MoGeModel

    held = unpickled(found)
    config, weights = (
        (held.get(each) for each in ("model_config", "model")) if isinstance(held, dict) else (0, 0)
    )
    if not isinstance(config, dict) or not isinstance(weights, dict):
        raise ModelUnavailableError(
            f"{PICKLED} of {found.name} does not hold model_config and model: it is no checkpoint of MoGe-2"
        )
    network = filled(found, made(found, lambda: MoGeModel(**config)), weights)
    if not hasattr(network, "points_head") or not hasattr(network, "scale_head"):
        raise ModelUnavailableError(
            f"{found.name} knows only what is nearer than what, not how far it is: take a metric checkpoint"
        )
    return network


def _read(outputs: dict[str, Tensor], hfov_deg: float | None) -> dict[Task, Value]:
    """What the network puts out about one picture, as its library reads it (`MoGeModel.infer`).

    Args:
        outputs: `points` (H, W, 3), in which distances lack a shift and a scale, `metric_scale` (), and where the
            checkpoint has them `mask` (H, W), how sure it is that there is something, and `normal` (H, W, 3).
        hfov_deg: Horizontal field of view, degrees; None to estimate it.
    """
    from moge.utils.geometry_torch import recover_focal_shift

    points = outputs["points"]
    height, width, _ = points.shape
    there = outputs["mask"] > 0.5 if "mask" in outputs else torch.ones_like(points[..., 0], dtype=torch.bool)
    # Its focal lengths are in halves of the diagonal.
    halves = 2 * width / hypot(width, height)
    lens = None if hfov_deg is None else Lens(hfov_deg, 0.0)
    told = None if lens is None else points.new_tensor([lens.focal * halves])
    focal, shift = recover_focal_shift(points[None], there[None], focal=told)
    distances = points[..., 2] + shift[0]
    there = there & (distances > 0)
    if lens is None and there.any() and float(focal[0]) > 0:
        lens = Lens.of_focal(float(focal[0]) / halves)
    metres = torch.where(there, distances * outputs["metric_scale"], torch.inf)
    read: dict[Task, Value] = {Task.DEPTH: depth_of(metres, lens)}
    if "normal" in outputs:
        read[Task.NORMALS] = normals_of((outputs["normal"] * there[..., None]).permute(2, 0, 1))
    return read
