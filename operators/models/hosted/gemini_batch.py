"""Gemini's models as they answer in batches: what a store holds is an answer, what it lacks is noted there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from plantain.operators.models.base import ModelSpec
from plantain.operators.models.hosted.batch import Batches, Store
from plantain.operators.models.hosted.desk import Told
from plantain.operators.models.hosted.gemini import Gemini, GeminiOptions, Part
from plantain.operators.models.hosted.gemini_image import GeminiImage
from plantain.operators.models.hosted.gemini_text import GeminiModel
from plantain.operators.types import Value

# Of the list price.
SHARE = 0.5
# Answers in the store were paid for when their batch was sent.
_UNBOUNDED: dict[str, Any] = {"max_usd_per_hour": 1e9, "ledger": ""}

BATCHED: dict[str, str] = {"gemini": f"{__name__}:BatchedText", "gemini-image": f"{__name__}:BatchedImage"}
"""Where each backend is found as one of batches."""


class Batched(Gemini[Any]):
    """Asks the store.

    Args:
        store: Its folder.
        options: Those of the backend; an hour's budget bounds no batch.
    """

    def __init__(self, *, store: str, **options: Any) -> None:
        super().__init__(**{**options, **_UNBOUNDED})
        self._store = Store(Path(store))

    @classmethod
    def spec_for(cls, options: Mapping[str, Any]) -> ModelSpec:
        """See Hosted."""
        told = {name: value for name, value in options.items() if name != "store"}
        return super().spec_for({**told, **_UNBOUNDED})

    def generate(self, request: dict[str, Any]) -> Any:
        """What the store holds.

        Raises:
            ModelError: If it holds nothing yet.
        """
        return self._store.reply_to(request)

    def told(self, reply: Any, meaning: Callable[[list[Part]], Value]) -> Told:
        """As of all, at the price of batches."""
        told = super().told(reply, meaning)
        return told._replace(usd=told.usd * SHARE)

    def batches(self) -> Batches:
        """What sends and takes."""
        options: GeminiOptions = self.options
        return Batches(self._api, f"/{options.api_version}", options.model, self._store)

    def max_usd(self) -> float:
        """What all that is wanted can cost, US dollars."""
        options: GeminiOptions = self.options
        requests = map(self._store.request, self._store.wanted())
        return SHARE * sum(options.max_usd(each["contents"][0]["parts"][1]["text"]) for each in requests)


class BatchedText(Batched, GeminiModel):
    """Words."""


class BatchedImage(Batched, GeminiImage):
    """Drawings."""
