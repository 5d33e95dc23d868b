"""What goes in and out of the decoder: a frame's features, and a prompt's fields."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

STRIDE = 32
"""Canvas sides must be multiples of this."""

TASKS = ("semantic", "instances", "refer", "depth", "normals")
"""Order of the learned task words."""

EMBED = 32
"""Channels of a pixel's embedding, which phrase queries are compared with."""

OFFSET_UNIT_PX = 32.0
"""Full-resolution pixels per unit of the offset field."""


@dataclass(frozen=True, slots=True)
class Features:
    """What a frame is encoded to.

    Attributes:
        fine: (B, 32, H/2, W/2).
        dense: (B, 64, H/4, W/4).
        tokens: (B, H*W/256 + H*W/1024, 128), the coarse levels as a set of vectors with their places.
    """

    fine: Tensor
    dense: Tensor
    tokens: Tensor

    def of(self, index: Tensor) -> Features:
        """The features of the frames `index` (N,), repeated as asked."""
        return Features(self.fine[index], self.dense[index], self.tokens[index])

    def at(self, index: int) -> Features:
        """The features of one frame, in the same memory."""
        rows = slice(index, index + 1)
        return Features(self.fine[rows], self.dense[rows], self.tokens[rows])

    def repeated(self, times: int) -> Features:
        """The frames' features `times` times over; cheaper to differentiate than `of`."""
        return Features(*(_repeated(part, times) for part in (self.fine, self.dense, self.tokens)))


@dataclass(frozen=True, slots=True)
class Fields:
    """What a prompt is decoded to, all at half resolution; a task reads those it needs.

    Attributes:
        pixels: (N, EMBED, H/2, W/2), what queries are compared with.
        queries: (N, K + 1, EMBED + 1), the background's first, then one for each phrase; the last value is a
            bias.
        log_depth: (N, H/2, W/2), logarithm of metres as the canonical camera sees them (`lens`).
        sky: (N, H/2, W/2), logit of "infinitely far".
        normals: (N, 3, H/2, W/2), not normalised.
        centre: (N, H/2, W/2), logit of "an object's centre is here".
        offset: (N, 2, H/2, W/2), (dx, dy) to the object's centre in units of OFFSET_UNIT_PX.
        lens: (N, 2), logarithm of the focal length over the canonical one, as the picture lets guess it, and of the
            guess's mean error.
    """

    pixels: Tensor
    queries: Tensor
    log_depth: Tensor
    sky: Tensor
    normals: Tensor
    centre: Tensor
    offset: Tensor
    lens: Tensor

    def logits(self) -> Tensor:
        """(N, K + 1, H/2, W/2): how well each pixel fits the background and each phrase."""
        count, _, height, width = self.pixels.shape
        flat = self.pixels.flatten(2)
        scores = torch.baddbmm(self.queries[..., EMBED:], self.queries[..., :EMBED], flat, alpha=EMBED**-0.5)
        return scores.view(count, -1, height, width)


def _repeated(x: Tensor, times: int) -> Tensor:
    wide = x[None].expand(times, *x.shape).reshape(-1, *x.shape[1:])
    return wide.contiguous(memory_format=torch.channels_last) if wide.dim() == 4 else wide
