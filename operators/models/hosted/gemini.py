"""Gemini's HTTP, `POST {base}/{version}/models/{id}:generateContent`, and what its answers cost.

Spoken by httpx: Google's own SDK brings another HTTP client, never retries unless it is told to, and then does not
heed `Retry-After` (python-genai#1875); what is needed of it is this page.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from plantain.operators.errors import ModelError, PlantainError, UsageError
from plantain.operators.models.drawn import failure_of
from plantain.operators.models.hosted.base import Hosted, Picture
from plantain.operators.models.hosted.desk import Told
from plantain.operators.models.hosted.options import Hosting, affordable, number
from plantain.operators.models.hosted.prices import Price, price_of
from plantain.operators.types import Value

# A picture that is sent counts at most so many tokens.
INPUT_PICTURE_TOKENS = 1120
_MILLION = 1_000_000
_CODE = re.compile(r"[A-Z][A-Z_]{0,59}")

Part = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class GeminiOptions(Hosting):
    """Of a model of Gemini's.

    Attributes:
        model: As the API calls it.
        api_version: Of the API.
        max_usd_per_hour: As of all, but never left out.
        usd_per_answer: What an answer costs; by the list of prices if left out.
        max_tokens: That come back, the thoughts among them, a picture's own not.
        image_size: Of what is drawn; empty for words.
    """

    model: str
    base_url: str = "https://generativelanguage.googleapis.com"
    key_env: str = "GEMINI_API_KEY"
    api_version: str = "v1"
    usd_per_answer: float | None = None
    max_tokens: int = 1024
    image_size: str = ""

    def __post_init__(self) -> None:
        Hosting.__post_init__(self)
        number("max_tokens", self.max_tokens)
        if self.max_usd_per_hour is None:
            raise UsageError("every answer costs money: give max_usd_per_hour, what may be spent in an hour")
        if self.usd_per_answer is not None:
            number("usd_per_answer", self.usd_per_answer)
        price = self.price
        if price is not None and self.image_size and self.image_size not in price.image_usd:
            known = ", ".join(price.image_usd) or "none"
            raise UsageError(
                f"the price of {self.image_size} from '{self.model}' is not known here, of {known}"
            )
        affordable(self.max_usd(""), self.max_usd_per_hour)

    @property
    def price(self) -> Price | None:
        """By the list, today; None where an answer has one of its own."""
        return None if self.usd_per_answer is not None else price_of(self.model)

    def max_usd(self, words: str) -> float:
        """What an answer to `words` about a picture can cost, US dollars; a token has at least one byte."""
        sent = INPUT_PICTURE_TOKENS + len(words.encode())
        return self.cost(sent, self.max_tokens, num_images=1)

    def cost(self, sent: int, written: int, num_images: int) -> float:
        """What an answer costs, US dollars.

        Args:
            sent: Tokens.
            written: Tokens of words and thoughts.
            num_images: That were drawn.
        """
        price = self.price
        if price is None:
            return self.usd_per_answer or 0.0
        words_usd = (sent * price.input_usd + written * price.output_usd) / _MILLION
        return words_usd + num_images * price.image_usd.get(self.image_size, 0.0)


G = TypeVar("G", bound=GeminiOptions)


class Gemini(Hosted[G]):
    """What Gemini's models have in common."""

    @staticmethod
    def header(key: str) -> dict[str, str]:
        """What opens the API."""
        return {"x-goog-api-key": key}

    def generate(self, request: dict[str, Any]) -> Any:
        """What a request is answered with.

        Raises:
            ModelError: See `Api`.
        """
        options = self.options
        return self._api.post(f"/{options.api_version}/models/{options.model}:generateContent", json=request)

    def told(self, reply: Any, meaning: Callable[[list[Part]], Value]) -> Told:
        """What a reply means, and what it cost: a refusal may cost something, too."""
        usd = cost_of(reply, self.options)
        try:
            return Told(meaning(parts_of(reply, self.options.model)), usd)
        except PlantainError as error:
            return Told(failure_of(error), usd)


def request_of(words: str, picture: Picture, **config: Any) -> dict[str, Any]:
    """The body of a request about a picture.

    Args:
        words: What is asked.
        picture: What is looked at.
        config: The `generationConfig`; what is None is left out.
    """
    parts = [{"inlineData": {"mimeType": "image/png", "data": picture.base64}}, {"text": words}]
    told = {name: value for name, value in config.items() if value is not None}
    return {"contents": [{"role": "user", "parts": parts}], "generationConfig": {"candidateCount": 1, **told}}


def parts_of(reply: Any, model: str) -> list[Part]:
    """The parts of an answer that are no thoughts.

    Raises:
        ModelError: If there is none; of a refusal it says the reason's code alone.
    """
    if not isinstance(reply, dict):
        raise ModelError(f"{model} answers with JSON of another form")
    candidates = reply.get("candidates")
    if not candidates:
        feedback = reply.get("promptFeedback")
        raise ModelError(f"{model} refuses what it is asked: {_code(feedback, 'blockReason')}")
    candidate = candidates[0] if isinstance(candidates, list) else None
    content = candidate.get("content") if isinstance(candidate, dict) else None
    parts = content.get("parts") if isinstance(content, dict) else None
    kept = [part for part in parts or () if isinstance(part, dict) and not part.get("thought")]
    if not kept:
        raise ModelError(f"{model} gives no answer: {_code(candidate, 'finishReason')}")
    return kept


def cost_of(reply: Any, options: GeminiOptions) -> float:
    """What a reply cost, US dollars; as much as it can where it does not say.

    Tokens of pictures are in their price by the piece.
    """
    usage = reply.get("usageMetadata") if isinstance(reply, dict) else None
    if not isinstance(usage, dict):
        return options.max_usd("")
    details = usage.get("candidatesTokensDetails")
    drawn = sum(
        _count(detail, "tokenCount")
        for detail in (details if isinstance(details, list) else [])
        if isinstance(detail, dict) and detail.get("modality") == "IMAGE"
    )
    images = sum("inlineData" in part for part in _all_parts(reply))
    written = _count(usage, "candidatesTokenCount") + _count(usage, "thoughtsTokenCount")
    if images and not drawn:  # the picture's tokens are not told apart: as many as may be count as words, too
        written = min(written, options.max_tokens)
    return options.cost(_count(usage, "promptTokenCount"), max(0, written - drawn), images or (drawn > 0))


def _all_parts(reply: dict[str, Any]) -> list[Part]:
    try:
        return [part for part in reply["candidates"][0]["content"]["parts"] if isinstance(part, dict)]
    except (KeyError, IndexError, TypeError):
        return []


def _count(told: dict[str, Any], name: str) -> int:
    value = told.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def _code(told: Any, name: str) -> str:
    code = told.get(name) if isinstance(told, dict) else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else "no reason is told"
