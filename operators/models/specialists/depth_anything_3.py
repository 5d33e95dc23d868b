"""Depth Anything 3, metric (arXiv:2511.10647): distances that follow from the lens, which it must be told."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from plantain.operators.answers.depth.value import Lens
from plantain.operators.errors import UsageError
from plantain.operators.models.loading import filled, located, made
from plantain.operators.models.specialists.base import (
    Answers,
    Asked,
    Parts,
    Picture,
    Specialist,
    device_called,
    dtype_called,
)
from plantain.operators.models.specialists.depth import depth_of
from plantain.operators.models.specialists.families import fingerprint_of, version_of
from plantain.operators.prompts import Task
from plantain.operators.types import Failure, FrameInfo, Value

KIND = "da3metric-large"
"""The one of the family that knows metres of a single frame; what else a checkpoint says of it is never followed."""

PATCH = 14
"""Sides of what the network sees are multiples of so many pixels."""

FOCAL_PX = 300.0
"""Focal length of the camera that it sees metres through, pixels: metres = focal x out / 300 (its model card)."""

SKY = 0.3
"""From here on it takes a pixel for sky, as its library does."""

# Of ImageNet: what its library takes off pictures, and divides them by.
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def network_of_its_name() -> Any:
    """The network that its library has under the name of `KIND`, with random weights."""
    with warnings.catch_warnings():  # of its own code, when it is loaded
        warnings.simplefilter("ignore")
        from depth_anything_3 import model  # noqa: F401 - what the next one loads by its name
        from depth_anything_3.cfg import create_object, load_config
        from depth_anything_3.registry import MODEL_REGISTRY
        from depth_anything_3.utils.logger import LOG_LEVELS, logger
    logger.level = LOG_LEVELS["ERROR"]  # it prints how it makes a network
    return create_object(load_config(MODEL_REGISTRY[KIND]))


class DepthAnything3(Specialist):
    """DA3METRIC-LARGE, each frame by itself; sky is infinitely far.

    Metres follow from the focal length in pixels, so that a stream must tell its field of view (`hfov_deg`).

    Args:
        checkpoint: Folder, or repository, `owner/name`.
        assume_hfov: Horizontal field of view of streams that tell none, degrees; 0 to refuse those.
        revision: Of the repository; the newest if empty.
        device: `cpu`, `cuda`; the GPU if empty and there is one.
        dtype: `float32` or `bfloat16`; what is read off the features is computed in float32 with either.
        offline: Only what is on this machine.

    Raises:
        UsageError: If an option makes no sense.
        ModelUnavailableError: If the weights cannot be had, are damaged, or another model's.
    """

    tasks = (Task.DEPTH,)

    def __init__(
        self,
        checkpoint: str,
        *,
        assume_hfov: float = 0.0,
        revision: str = "",
        device: str = "",
        dtype: str = "",
        offline: bool = False,
    ) -> None:
        from safetensors.torch import load_file

        if assume_hfov and not (isinstance(assume_hfov, int | float) and 1 < assume_hfov < 170):
            raise UsageError(
                f"assume_hfov is '{assume_hfov}': it must be a number between 1 and 170, degrees"
            )
        found = located(checkpoint, revision, offline=offline)
        found.expect((KIND,), "depth-anything-3")
        where, precision = device_called(device), dtype_called(dtype)
        network = made(found, network_of_its_name)
        weights: dict[str, Tensor] = {}
        for file in sorted(found.folder.glob("*.safetensors")):
            weights |= {name.removeprefix("model."): each for name, each in load_file(file).items()}
        filled(found, network, weights)
        print_of = fingerprint_of(found, [version_of("depth_anything_3"), assume_hfov, str(precision)])
        super().__init__(Parts("depth-anything-3", print_of, network.to(where), None, where, precision))
        self._assumed = Lens(float(assume_hfov)) if assume_hfov else None

    def look(self, pictures: Sequence[Picture], asked: Asked) -> Answers:
        """Depth once for each picture whose lens is known."""
        lenses = [self._lens_of(picture.info) for picture in pictures]
        known = [(k, lens) for k, lens in enumerate(lenses) if lens is not None]
        told: dict[int, Value] = {}
        if known:
            depths, far = self._seen([pictures[k] for k, _ in known])
            size_hw = pictures[0].size_hw
            for (k, lens), depth, sky in zip(known, depths, far, strict=True):
                focal_px = _focal_px(lens, pictures[k].info, (depth.shape[0], depth.shape[1]))
                told[k] = depth_of(_resized(depth * (focal_px / FOCAL_PX), sky, size_hw), lens)
        return [
            [told.get(k) or self._without_lens(picture.info)] * len(prompts)
            for k, (picture, prompts) in enumerate(zip(pictures, asked, strict=True))
        ]

    def _seen(self, pictures: Sequence[Picture]) -> tuple[Tensor, Tensor]:
        """What the network puts out, and what is sky, (N, H, W) each, on a grid of whole patches."""
        pixels = torch.stack([picture.pixels for picture in pictures]).float() / 255
        seen_hw = [max(PATCH, (side + PATCH // 2) // PATCH * PATCH) for side in pictures[0].size_hw]
        pixels = interpolate(pixels, seen_hw, mode="bilinear", antialias=True)
        mean, spread = (pixels.new_tensor(each).reshape(3, 1, 1) for each in (_MEAN, _SPREAD))
        # Along the second dimension are views of one scene, which look at one another; frames are along the first.
        outputs: Any = self.forward(x=((pixels - mean) / spread)[:, None])
        return outputs["depth"][:, 0], outputs["sky"][:, 0] >= SKY

    def _lens_of(self, info: FrameInfo) -> Lens | None:
        return self._assumed if info.hfov_deg is None else Lens(info.hfov_deg, 0.0)

    def _without_lens(self, info: FrameInfo) -> Failure:
        width, height = info.fit.source_hw[::-1]
        return Failure(
            "infer",
            f"model {self.name} knows no metres of a picture of {width} x {height} whose field of view nobody tells: "
            "give the stream's hfov_deg, or the model's option assume_hfov (degrees)",
            retryable=False,
        )


def _focal_px(lens: Lens, info: FrameInfo, seen_hw: tuple[int, int]) -> float:
    """Focal length in pixels of what the network sees, which may be squeezed: the mean of both directions."""
    height, width = info.fit.source_hw
    return lens.focal * (seen_hw[1] + seen_hw[0] * width / height) / 2


def _resized(metres: Tensor, far: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Metres (H, W) on the picture's grid, infinite where most is far.

    What the library puts in place of the sky depends on the rest of the batch: nothing of it gets into its neighbours.
    """
    near = (~far).to(metres.dtype)
    both = interpolate(torch.stack([torch.where(far, 0, metres), near])[None], size_hw, mode="bilinear")[0]
    return torch.where(both[1] > 0.5, both[0] / both[1], torch.inf)
