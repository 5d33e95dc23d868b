"""Gemini as one who looks and speaks: answers `ask:`, says whether something is there, rewrites questions."""

from __future__ import annotations

from dataclasses import dataclass

from plantain.operators.answers.text.value import Text
from plantain.operators.errors import ModelError
from plantain.operators.models.hosted.base import Picture
from plantain.operators.models.hosted.chat import words_of
from plantain.operators.models.hosted.desk import Job
from plantain.operators.models.hosted.gemini import Gemini, GeminiOptions, Part, request_of
from plantain.operators.prompts import Prompt
from plantain.operators.types import Frame


@dataclass(frozen=True, kw_only=True)
class TextOptions(GeminiOptions):
    """Of a model that speaks.

    Attributes:
        model: As of all.
        temperature: The model's own if left out, which Google advises.
        seed: Of the sampler; it is no promise.
    """

    model: str = "gemini-3.5-flash-lite"
    temperature: float | None = None
    seed: int = 0


class GeminiModel(Gemini[TextOptions]):
    """See the module."""

    name = "gemini"
    options_type = TextOptions

    def job(self, frame: Frame, prompt: Prompt, picture: Picture) -> Job:
        """The request for an answer in words.

        Raises:
            ModelError: If the prompt asks for something else.
        """
        del frame
        words, options = words_of(prompt, self.name), self.options
        request = request_of(
            words,
            picture,
            seed=options.seed,
            temperature=options.temperature,
            maxOutputTokens=options.max_tokens,
        )
        return Job(
            lambda: self.generate(request), lambda reply: self.told(reply, self._text), options.max_usd(words)
        )

    def _text(self, parts: list[Part]) -> Text:
        words = "".join(part["text"] for part in parts if isinstance(part.get("text"), str)).strip()
        if not words:
            raise ModelError(f"{self.options.model} answers without words: raise max_tokens")
        return Text(words)
