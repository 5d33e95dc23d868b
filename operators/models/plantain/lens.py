"""The field of view: one camera in which depth is learnt, and the way from there to any other.

A picture does not say how far a thing of unknown size is: one twice as far through a lens twice as long looks the
same. So the network draws depth as the canonical camera, with a focal length of F0, would see it, and what it
draws is multiplied by f / F0 afterwards (Metric3D, arXiv:2307.10984, "canonical camera space"). The focal length f
comes from whoever knows it, otherwise from the network's own estimate.
"""

from __future__ import annotations

import math

F0 = 0.8
"""Focal length of the canonical camera in widths of the canvas, a field of view of 64 degrees: about the training
scenes' mean."""


def log_focal(hfov_deg: float, share: float = 1.0) -> float:
    """Logarithm of a camera's focal length over the canonical one.

    Args:
        hfov_deg: Horizontal field of view of the picture, 0 to 180 degrees, both exclusive.
        share: The picture's width on the canvas over the canvas's.
    """
    return math.log(share / (2 * math.tan(math.radians(hfov_deg) / 2)) / F0)


def hfov_deg(log_focal: float, share: float = 1.0) -> float:
    """The inverse of `log_focal`."""
    return 2 * math.degrees(math.atan(share / (2 * F0 * math.exp(log_focal))))
