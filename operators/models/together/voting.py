"""Asks a model that draws several times in other colours, and takes what most drawings say.

A generator mistakes colours that lie next to one another, and is drawn to some of them: what it draws with every
palette is not the palette's doing. Each vote is a drawing, and costs as much: for annotation, and no live stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from plantain.operators import colours
from plantain.operators.answers.masks.regions import without_gaps
from plantain.operators.answers.masks.value import Masks
from plantain.operators.models.base import Answer
from plantain.operators.models.together.base import Parts, Together, between
from plantain.operators.models.together.inner import Asked, Choice
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Frame

MAX_VOTES = 15


@dataclass(frozen=True, kw_only=True)
class VotingParts(Parts):
    """Of a vote.

    Attributes:
        model: Who draws.
        votes: Drawings of each prompt, the first in the prompt's own colours.

    Raises:
        UsageError: If one is not possible.
    """

    model: Any
    votes: int = 3

    def __post_init__(self) -> None:
        between("votes", self.votes, 2, MAX_VOTES)
        _ = self.choices

    @property
    def choices(self) -> list[Choice]:
        """Who draws."""
        return [Choice.of(self.model, "model")]

    @property
    def rules(self) -> list[Any]:
        """How many vote."""
        return [int(self.votes)]


class Voting(Together[VotingParts]):
    """Votes on `semantic:` and `refer:`; all other prompts go through."""

    name = "voting"
    parts_type: ClassVar[type[Parts]] = VotingParts

    def answer(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> list[Answer]:
        """One answer for each prompt; see Answering. The model is asked once, for all votes."""
        asked: list[Prompt] = []
        places: list[list[int]] = []
        for prompt in prompts:
            ballots = (
                recoloured(prompt, int(self.parts.votes))
                if prompt.task in (Task.SEMANTIC, Task.REFER)
                else [prompt]
            )
            places.append(list(range(len(asked), len(asked) + len(ballots))))
            asked += ballots
        whose = [image_of[k] for k, each in enumerate(places) for _ in each]
        told = self.inner[0].ask(Asked(frames, whose, asked, range(len(asked))))
        return [
            elected([told[place] for place in each], prompt)
            for prompt, each in zip(prompts, places, strict=True)
        ]


def recoloured(prompt: Prompt, votes: int) -> list[Prompt]:
    """A prompt and copies in other colours: no two of them give a class the same, so a bad colour costs it one vote."""
    legal = colours.spread(max(votes, len(prompt.classes)), (prompt.background,))
    turned = [(*legal[turn:], *legal[:turn]) for turn in range(1, votes)]
    return [prompt, *(replace(prompt, palette=palette[: len(prompt.classes)]) for palette in turned)]


def elected(answers: Sequence[Answer], prompt: Prompt) -> Answer:
    """What most answers say; those that failed have no vote.

    A pixel that is a class's as often as another's, or nobody's, is the earlier one's, or nobody's. A region's score is
    the share of the votes that its pixels had.

    Args:
        answers: One or more to the same prompt, in whatever colours.
        prompt: As it was asked.
    """
    first = answers[0]
    if len(answers) == 1:
        return first
    first = replace(
        first,
        model_ms=sum(answer.model_ms for answer in answers),
        codec_ms=sum(answer.codec_ms for answer in answers),
        cost_usd=sum(answer.cost_usd for answer in answers),
    )
    drawn = [answer.value for answer in answers if isinstance(answer.value, Masks)]
    if not drawn:
        return first
    votes = np.stack([value.numbered_as(prompt.classes) for value in drawn])
    most: NDArray[np.uint8] = np.sum(votes == 0, axis=0, dtype=np.uint8)
    winner = np.zeros(most.shape, np.uint16)
    for number in range(1, len(prompt.classes) + 1):
        count: NDArray[np.uint8] = np.sum(votes == number, axis=0, dtype=np.uint8)
        winner[count > most] = number
        most = np.maximum(most, count)
    labels, present = without_gaps(winner)
    scores = [float(most[winner == number].mean()) / len(drawn) for number in present]
    off_palette = float(np.mean([value.off_palette for value in drawn]))
    names = tuple(prompt.classes[number - 1] for number in present)
    return replace(first, value=Masks(labels, names, np.array(scores, np.float32), off_palette))
