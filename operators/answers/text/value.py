"""Words."""

from __future__ import annotations

from dataclasses import dataclass

from plantain.operators.types import Value


@dataclass(frozen=True, slots=True)
class Text(Value):
    """What a model says.

    Attributes:
        text: As the model wrote it.
    """

    text: str
