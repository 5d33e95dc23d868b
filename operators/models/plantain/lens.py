"""The field of view: one camera in which depth is learnt, and the way from there to any other.

A picture does not say how far a thing of unknown size is: one twice as far through a lens twice as long looks the
same. So the network draws depth as the canonical camera, with a focal length of F0, would see it, and what it
draws is multiplied by f / F0 afterwards (Metric3D, arXiv:2307.10984, "canonical camera space"). The focal length f
comes from whoever knows it, otherwise from the network's own estimate.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers.depth.value import Lens
from plantain.operators.models.plantain.fields import STRIDE
from plantain.operators.types import Frame

F0 = 0.7
"""Focal length of the canonical camera in widths of the canvas, a field of view of 71 degrees: about the training
scenes' mean, so that weights which learnt metres without being told the lens are right on average, too."""


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


NUM_SEEN = 100
"""Frames of a stream whose estimates are averaged; then its camera is taken to be known."""

_MAX_STREAMS = 1024
"""Streams that are remembered; those seen longest ago are forgotten first."""


class Lenses:
    """What the cameras of streams were taken for so far. Several threads may use it.

    One picture says little about the lens and the next one says something else, so that depth would jump; the mean
    over a stream's first frames, the surer ones counting more, is better and stays.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[str, tuple[int, float, float]] = OrderedDict()

    def of(self, stream_id: str, log_focal: float, log_spread: float) -> tuple[float, float]:
        """Logarithm of a stream's focal length over the canonical one, and its mean error.

        The errors of one camera's pictures are much alike: their mean has the error of each, not a smaller one.

        Args:
            stream_id: The stream; "" for a picture of none.
            log_focal: As estimated from its present picture.
            log_spread: Logarithm of that estimate's mean error.
        """
        if not stream_id:
            return log_focal, math.exp(log_spread)
        weight = math.exp(-2 * log_spread)
        with self._lock:
            count, total, weights = self._held.pop(stream_id, (0, 0.0, 0.0))
            if count < NUM_SEEN:
                count, total, weights = count + 1, total + weight * log_focal, weights + weight
            self._held[stream_id] = count, total, weights
            if len(self._held) > _MAX_STREAMS:
                self._held.popitem(last=False)
        return total / weights, (weights / count) ** -0.5


@dataclass(frozen=True, slots=True)
class Camera:
    """Through what a picture was taken.

    Attributes:
        stream_id: Whose camera; "" for nobody's.
        hfov_deg: Horizontal field of view of its picture, degrees; None where it is not known.
        share: The picture's width over the canvas's, as it is padded.
    """

    stream_id: str = ""
    hfov_deg: float | None = None
    share: float = 1.0

    @classmethod
    def of(cls, frame: Frame) -> Camera:
        """The camera of a frame."""
        fit = frame.info.fit
        return cls(
            frame.header.stream_id, frame.info.hfov_deg, fit.width / (-(-fit.model_hw[1] // STRIDE) * STRIDE)
        )

    def focal(self, lenses: Lenses, seen: NDArray[np.float32]) -> tuple[float, Lens]:
        """Logarithm of the focal length over the canonical one, and the lens: as told, or as it is seen.

        Args:
            lenses: What cameras were taken for so far.
            seen: (2,), the network's estimate from the present picture, see `Fields.lens`.
        """
        if self.hfov_deg is not None:
            return log_focal(self.hfov_deg, self.share), Lens(self.hfov_deg, 0.0)
        focal, error = lenses.of(self.stream_id, float(seen[0]), float(seen[1]))
        return focal, Lens(hfov_deg(focal, self.share), error)
