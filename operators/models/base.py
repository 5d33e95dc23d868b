"""The contract of every model: pictures and prompts in, drawings out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from plantain.operators.prompts import Prompt, Task

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What can be said about a backend without loading it.

    Attributes:
        target: `"module:Class"` of the backend.
        summary: One line for `plantain models`.
        tasks: What it can draw.
        licence: Of the weights.
        needs: Modules that must be importable.
        model_hw: The canvas it likes best, height and width in pixels.
        handful: Frames that it draws together on one core of the CPU, where copies of it in one process share the
            weights: a copy for each core is quicker then than one for all. 0 for a model that takes all cores itself.
        keeps_streams: It keeps something about each stream (a memory of objects, for instance), so that the frames of a
            stream go to one copy, in order.
        warms_up: Its first drawings are slow, and cost nothing: each copy makes some before it counts as there.
    """

    target: str
    summary: str
    tasks: tuple[Task, ...]
    licence: str
    needs: tuple[str, ...] = ()
    model_hw: tuple[int, int] = (256, 256)
    handful: int = 0
    keeps_streams: bool = False
    warms_up: bool = False


class ModelBackend(Protocol):
    """Draws answers.

    Attributes:
        name: What users call it; written into every row.
        fingerprint: Changes whenever the same input may be drawn differently (weights, code version).
    """

    name: str
    fingerprint: str

    def render(self, images: Pixels, image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
        """One drawing for each prompt.

        Args:
            images: (M, H, W, 3) uint8 RGB; each is encoded once, however many prompts ask about it.
            image_of: Index into `images` for each prompt, N of them.
            prompts: N prompts.

        Returns:
            (N, H, W, 3) uint8 RGB.

        Raises:
            ModelError: If the backend cannot draw one of them.
        """
        ...

    def close(self) -> None:
        """Gives back what it holds (GPU memory, connections)."""
        ...
