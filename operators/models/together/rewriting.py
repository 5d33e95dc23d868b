"""Lets a model that looks and speaks turn questions into descriptions, which models that find things understand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from plantain.operators.answers.masks.value import Masks
from plantain.operators.answers.text.value import Text
from plantain.operators.errors import UsageError
from plantain.operators.models.base import Answer
from plantain.operators.models.together.base import Parts, Together, between, nothing, plus
from plantain.operators.models.together.inner import Asked, Choice
from plantain.operators.models.together.memory import Memory
from plantain.operators.prompts import Prompt, Task
from plantain.operators.types import Failure, Frame, Value

INSTRUCTION = (
    'Look at the picture. What in it is meant by "{question}"? Answer with one short noun phrase in English that '
    "describes it by what can be seen, such as: the red car on the left. If it is not there, answer: none"
)
MAX_CHARACTERS = 200


@dataclass(frozen=True, kw_only=True)
class RewritingParts(Parts):
    """Of a rewriting.

    Attributes:
        model: Who finds what is described.
        rewriter: Who describes it: any model that answers `ask:`.
        what: `questions`, those that end with a question mark, or `all`.
        every_s: A description is used for so long, in the stream's own time, seconds.

    Raises:
        UsageError: If one is not possible.
    """

    model: Any
    rewriter: Any
    what: str = "questions"
    every_s: float = 0.0

    def __post_init__(self) -> None:
        if self.what not in ("questions", "all"):
            raise UsageError(f"what is '{self.what}': write questions or all")
        between("every_s", self.every_s, 0.0, 86_400.0)
        _ = self.choices

    @property
    def choices(self) -> list[Choice]:
        """Who finds and who describes."""
        return [Choice.of(self.model, "model"), Choice.of(self.rewriter, "rewriter")]

    @property
    def rules(self) -> list[Any]:
        """What is rewritten, and how."""
        return [INSTRUCTION, self.what, self.every_s]


class Rewriting(Together[RewritingParts]):
    """Rewrites what `refer:` asks; rows keep the prompt that was asked.

    Args:
        options: Those of `RewritingParts`.
    """

    name = "rewriting"
    parts_type: ClassVar[type[Parts]] = RewritingParts

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._model, self._rewriter = self.inner
        self.memory: Memory[Text] = Memory(self.parts.every_s)

    def answer(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> list[Answer]:
        """One answer for each prompt; see Answering."""
        described = self._described(frames, image_of, prompts)
        told: dict[int, Answer] = {}
        meant = list(prompts)
        for k, answer in described.items():
            phrase = _phrase(answer.value)
            if phrase is None:
                told[k] = answer
            elif not phrase:
                told[k] = replace(answer, value=nothing(frames[image_of[k]], prompts[k]))
            else:
                meant[k] = replace(prompts[k], classes=(phrase,))
        asked = [k for k in range(len(prompts)) if k not in told]
        for k, answer in self._model.ask(Asked(frames, image_of, meant, asked)).items():
            told[k] = answer
            if k in described:
                told[k] = replace(plus(answer, described[k]), value=_named(answer.value, prompts[k]))
        return [told[k] for k in range(len(prompts))]

    def _described(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> dict[int, Answer]:
        """What the rewriter makes of each prompt that is rewritten."""
        wanted = [k for k, prompt in enumerate(prompts) if self._is_rewritten(prompt)]
        kept = {k: self.memory.get(frames[image_of[k]], prompts[k].classes[0]) for k in wanted}
        known = {k: self._rewriter.signed(Answer(text)) for k, text in kept.items() if text is not None}
        questions = list(prompts)
        for k in wanted:
            words = INSTRUCTION.format(question=prompts[k].classes[0])
            questions[k] = Prompt(Task.ASK, text=words, codec="text")
        asked = [k for k in wanted if k not in known]
        said = self._rewriter.ask(Asked(frames, image_of, questions, asked))
        for k, answer in said.items():
            if isinstance(answer.value, Text):
                self.memory.put(frames[image_of[k]], prompts[k].classes[0], answer.value)
            elif not isinstance(answer.value, Failure):
                reason = f"{answer.model} describes nothing in words: name another model as rewriter"
                said[k] = replace(answer, value=Failure("infer", reason, retryable=False))
        return known | said

    def _is_rewritten(self, prompt: Prompt) -> bool:
        if prompt.task is not Task.REFER:
            return False
        return self.parts.what == "all" or prompt.classes[0].rstrip().endswith("?")


def _phrase(value: Value | Failure) -> str | None:
    """The description in what a rewriter said; empty where it sees nothing of the kind, None where it failed."""
    if not isinstance(value, Text):
        return None
    phrase = " ".join(value.text.split()).strip(" .\"'*`")[:MAX_CHARACTERS].strip()
    return "" if phrase.lower() == "none" else phrase


def _named(value: Value | Failure, prompt: Prompt) -> Value | Failure:
    """The answer under the words that were asked."""
    if not isinstance(value, Masks):
        return value
    return replace(value, names=(prompt.classes[0],) * len(value.names))
