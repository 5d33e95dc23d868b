"""A model that looks and speaks, behind `POST /v1/chat/completions`: vLLM, SGLang, Ollama, any server like OpenAI's.

Whether something is there is one token, A or B, and how surely it is there follows from its probabilities where the
server tells them: p(A) / (p(A) + p(B)).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from plantain.operators.answers.text.value import Text
from plantain.operators.errors import ModelError
from plantain.operators.models.base import Answer
from plantain.operators.models.hosted.api import bearer
from plantain.operators.models.hosted.base import Hosted, Picture
from plantain.operators.models.hosted.desk import Job, Told
from plantain.operators.models.hosted.options import OwnPrice, number
from plantain.operators.models.presence import Likelihood, is_there, read
from plantain.operators.prompts import Prompt
from plantain.operators.types import Frame

TOP_LOGPROBS = 5


@dataclass(frozen=True, kw_only=True)
class ChatOptions(OwnPrice):
    """Of a model that speaks.

    Attributes:
        model: As the server calls it.
        max_tokens: An answer is no longer.
        temperature: 0 for the likeliest words.
        seed: Of the sampler, for servers that heed it.
    """

    model: str
    max_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        OwnPrice.__post_init__(self)
        number("max_tokens", self.max_tokens)
        number("temperature", self.temperature, or_none=True)


class ChatModel(Hosted[ChatOptions]):
    """See the module."""

    name = "chat"
    options_type = ChatOptions
    header = staticmethod(bearer)

    def job(self, frame: Frame, prompt: Prompt, picture: Picture) -> Job:
        """The request for an answer in words.

        Raises:
            ModelError: If the prompt asks for something else.
        """
        del frame
        return self._job_for(words_of(prompt, self.name), picture, self._text)

    def presence(
        self, frames: Sequence[Frame], image_of: Sequence[int], phrases: Sequence[str]
    ) -> list[Answer]:
        """How surely each phrase is there; see Presence."""
        pictures = {k: Picture(self.picture(frames[k])) for k in sorted({*image_of})}
        more = {"max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": TOP_LOGPROBS}
        return self._desk.answers(
            [
                self._job_for(is_there(phrase), pictures[k], self._likelihood, **more)
                for k, phrase in zip(image_of, phrases, strict=True)
            ]
        )

    def _job_for(self, words: str, picture: Picture, meaning: Callable[[Any], Told], **more: Any) -> Job:
        body = {
            "model": self.options.model,
            "max_tokens": self.options.max_tokens,
            "temperature": self.options.temperature,
            "seed": self.options.seed,
            **more,
        }

        def ask() -> Any:
            content = [
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture.base64}"}},
                {"type": "text", "text": words},
            ]
            messages = [{"role": "user", "content": content}]
            return self._api.post("/chat/completions", json={**body, "messages": messages})

        return Job(ask, meaning, self.options.usd_per_answer)

    def _text(self, reply: Any) -> Told:
        return Told(Text(self._choice(reply)["message"]["content"].strip()), self.options.usd_per_answer)

    def _likelihood(self, reply: Any) -> Told:
        choice = self._choice(reply)
        surely = _of_logprobs(choice)
        if surely is None:
            surely = read(choice["message"]["content"], self.options.place)
        return Told(Likelihood(surely), self.options.usd_per_answer)

    def _choice(self, reply: Any) -> dict[str, Any]:
        """The answer, if it is one.

        Raises:
            ModelError: If it is none.
        """
        try:
            choice = reply["choices"][0]
            message = choice["message"]
            content, refusal = message.get("content"), message.get("refusal")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise ModelError(
                f"{self.options.place} answers without choices[0].message: it speaks another API"
            ) from error
        if refusal or choice.get("finish_reason") == "content_filter":
            raise ModelError(f"{self.options.place} refuses to answer (content_filter)")
        if not isinstance(content, str) or not content.strip():
            reason = choice.get("finish_reason")
            raise ModelError(
                f"{self.options.place} answers without words (finish_reason {reason}): raise max_tokens"
            )
        return dict(choice)


def words_of(prompt: Prompt, model: str) -> str:
    """The question in a prompt.

    Raises:
        ModelError: If it is none.
    """
    if prompt.codec != "text":
        raise ModelError(f"model {model} only speaks, and cannot answer '{prompt}': ask it ask:...")
    return prompt.text


def _of_logprobs(choice: dict[str, Any]) -> float | None:
    """p(A) / (p(A) + p(B)) of the first token; None where the server does not tell."""
    try:
        tops = choice["logprobs"]["content"][0]["top_logprobs"]
        told = [
            (str(top["token"]).strip().upper(), math.exp(min(0.0, float(top["logprob"])))) for top in tops
        ]
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    yes, no = (sum(p for token, p in told if token == letter) for letter in "AB")
    return yes / (yes + no) if yes + no > 0 else None
