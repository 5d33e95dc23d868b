"""What SAM 3's library would fetch from the hub as compiled code while it runs: overlaps and small pieces, done here.

Without it the library leaves duplicates, holes and sprinkles in, and says so once in a log.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

_EIGHT = np.ones((3, 3), np.int8)


class CvUtils:
    """The two functions of `kernels-community/cv-utils` that the library calls."""

    def generic_nms(self, ious: Tensor, scores: Tensor, threshold: float, *, use_iou_matrix: bool) -> Tensor:
        """Which detections stay, the surest first: none overlaps one before it by more than the threshold.

        Args:
            ious: (N, N) overlaps.
            scores: (N,).
            threshold: Of the overlap.
            use_iou_matrix: Always true: `ious` are no boxes.
        """
        del use_iou_matrix
        overlaps = ious.float().cpu().numpy()
        kept: list[int] = []
        for k in torch.argsort(scores, descending=True, stable=True).tolist():
            if not kept or overlaps[k, kept].max() <= threshold:
                kept.append(k)
        return torch.tensor(kept, dtype=torch.int64, device=scores.device)

    def cc_2d(self, masks: Tensor, *, get_counts: bool) -> tuple[Tensor, Tensor]:
        """Number of the piece that each pixel belongs to, and the pixels of that piece; 0 and 0 outside.

        Args:
            masks: (N, 1, H, W) uint8.
            get_counts: Always true.
        """
        del get_counts
        labels = np.zeros(masks.shape, np.int32)
        counts = np.zeros(masks.shape, np.int32)
        for k, mask in enumerate(masks[:, 0].cpu().numpy()):
            labels[k, 0], _ = ndimage.label(mask, _EIGHT)
            sizes = np.bincount(labels[k, 0].ravel())
            sizes[0] = 0
            counts[k, 0] = sizes[labels[k, 0]]
        return torch.from_numpy(labels).to(masks.device), torch.from_numpy(counts).to(masks.device)
