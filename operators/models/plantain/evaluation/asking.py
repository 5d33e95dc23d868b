"""A model that is measured: asked about one picture after the other, and what that came to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plantain.operators.geometry import Letterbox
from plantain.operators.models.base import Answering
from plantain.operators.prompts import Prompt
from plantain.operators.types import Failure, Frame, FrameInfo, Header, Value


class Asking:
    """Asks a model, and keeps its account.

    Args:
        model: Any, here or on a server; a budget is its own, and when it is spent nothing more is asked.

    Attributes:
        cost_usd: What the answers cost, US dollars.
        spent_s: Time that they took, seconds.
        num_asked: Questions so far.
        failed: How many have no answer, by why.
        stopped: Why nothing more is to be asked; empty as long as it may.
    """

    def __init__(self, model: Answering) -> None:
        self.model = model
        self.cost_usd = self.spent_s = 0.0
        self.num_asked = 0
        self.failed: Counter[str] = Counter()
        self.stopped = ""

    def values(
        self, frame: Frame, prompts: Sequence[Prompt], *, is_counted: bool = True
    ) -> list[Value | Failure]:
        """The answers to questions about a frame.

        Args:
            frame: What is looked at.
            prompts: The questions.
            is_counted: They count in `spent_s`.
        """
        start = time.perf_counter()
        answers = self.model.answer([frame], [0] * len(prompts), prompts)
        self.spent_s += (time.perf_counter() - start) * is_counted
        self.num_asked += len(prompts)
        self.cost_usd += sum(answer.cost_usd for answer in answers)
        for answer in answers:
            if isinstance(answer.value, Failure):
                self.failed[answer.value.error] += 1
                if answer.value.retryable:  # no money, or a server that is busy for longer than is waited
                    self.stopped = answer.value.error
        return [answer.value for answer in answers]

    @property
    def account(self) -> dict[str, Any]:
        """`cost_usd`, `num_asked`, `failed` and `stopped`, as JSON can hold them."""
        return {
            "cost_usd": self.cost_usd,
            "num_asked": self.num_asked,
            "failed": dict(self.failed),
            "stopped": self.stopped,
        }


def frame_of(image: NDArray[np.uint8], fit: Letterbox | None = None, hfov_deg: float | None = None) -> Frame:
    """A picture of nobody's stream.

    Args:
        image: (H, W, 3) uint8 RGB, the canvas.
        fit: Where the picture lies on it; all of it if left out.
        hfov_deg: Its horizontal field of view, degrees; None if that is not told.
    """
    placed = fit or Letterbox.fit(image.shape[:2], image.shape[:2])
    info = FrameInfo(0, Fraction(1), None, "file", placed, hfov_deg=hfov_deg)
    return Frame(Header("", 0, 0), info, image)
