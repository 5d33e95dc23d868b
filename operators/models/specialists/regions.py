"""Masks of a library as regions that do not overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from plantain.operators.answers.masks.regions import without_gaps
from plantain.operators.answers.masks.value import Masks


def flatten(masks: Tensor, names: Sequence[str], scores: Tensor, track_ids: Sequence[int] = ()) -> Masks:
    """Masks that may overlap: the surest is on top, and what is wholly hidden is no region.

    Args:
        masks: (N, H, W), true where each is.
        names: What each shows.
        scores: (N,) in [0, 1].
        track_ids: Identity over time of each, where the model gives it.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    # The surest has the greatest number, so that the largest at a pixel is the one on top.
    heights = torch.arange(len(order), 0, -1, device=masks.device, dtype=torch.int32)
    stacked = masks[order].to(torch.int32) * heights[:, None, None]
    top = stacked.amax(dim=0) if len(order) else masks.new_zeros(masks.shape[1:], dtype=torch.int32)
    place = torch.where(top > 0, len(order) + 1 - top, 0)
    ranked = order.tolist()
    identities = [track_ids[k] for k in ranked] if track_ids else ()
    return numbered(place, [names[k] for k in ranked], [float(scores[k]) for k in ranked], identities)


def numbered(
    places: Tensor, names: Sequence[str], scores: Sequence[float], track_ids: Sequence[int] = ()
) -> Masks:
    """A map of regions, numbered anew without those that have no pixel.

    Args:
        places: (H, W), 0 for nothing, k for region k - 1.
        names: What each region shows.
        scores: Of each, in [0, 1].
        track_ids: Of each, or none.
    """
    labels, present = without_gaps(places.cpu().numpy())
    kept = [k - 1 for k in present]
    sure = np.clip(np.array([scores[k] for k in kept], np.float32), 0, 1)
    identities = tuple(track_ids[k] for k in kept) if track_ids else ()
    return Masks(labels, tuple(names[k] for k in kept), sure, 0.0, identities)
