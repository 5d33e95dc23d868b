"""A model for which a machine has room once."""

from __future__ import annotations

from typing import ClassVar

from plantain.operators.errors import ModelUnavailableError
from plantain.operators.models.fake import FakeModel


class OnlyOnce(FakeModel):
    """Whoever makes a second one is told that there is no room.

    Attributes:
        made: How many there have been.
    """

    name = "only once"
    made: ClassVar[int] = 0

    def __init__(self, cost_ms: float = 0.0) -> None:
        OnlyOnce.made += 1
        if OnlyOnce.made > 1:
            raise ModelUnavailableError("there is no memory for another copy")
        super().__init__(cost_ms=cost_ms)
