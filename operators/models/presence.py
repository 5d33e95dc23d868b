"""Whether something is in a picture: a question that is cheaper than where it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from plantain.operators.errors import ModelError
from plantain.operators.models.base import Answer
from plantain.operators.types import Frame, Value

_LETTERS = {"A": 1.0, "YES": 1.0, "B": 0.0, "NO": 0.0}

# `A`, `(A)`, `**B**`, `Answer: A`, `The answer is B.`, `No, there is none`
_ANSWER = re.compile(r"\W*(?:(?:the )?answer(?: is)?\b\W*)?(a|b|yes|no)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Likelihood(Value):
    """How surely something is there.

    Attributes:
        of_presence: From 0, it is not, to 1, it is.
    """

    of_presence: float


def is_there(phrase: str) -> str:
    """The question, which is answered by one letter; `read` takes the answer."""
    return f'Is there "{phrase}" in this picture?\nA: yes\nB: no\nAnswer with the letter alone.'


def read(said: str, who: str) -> float:
    """How surely something is there, of what a model says to `is_there`; some say the word instead.

    Args:
        said: Its words.
        who: For the message.

    Raises:
        ModelError: If it says something else.
    """
    answer = _ANSWER.match(said)
    if answer is None:
        raise ModelError(f"{who} was asked for A or B, and answers neither: ask another model")
    return _LETTERS[answer[1].upper()]


@runtime_checkable
class Presence(Protocol):
    """A model that can say so."""

    def presence(
        self, frames: Sequence[Frame], image_of: Sequence[int], phrases: Sequence[str]
    ) -> list[Answer]:
        """One answer for each phrase, a `Likelihood` or a Failure.

        Args:
            frames: M frames.
            image_of: Index into `frames` for each phrase, N of them.
            phrases: What may be there, such as `red car`.
        """
        ...
