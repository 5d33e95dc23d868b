"""List prices, US dollars, as of 29 November 2026; a model that is not here needs its price as an option.

Read in September to November 2026: ai.google.dev (image models' output, gemini-3.8-flash, gemini-3.5-flash-lite), and
for the image models' input and words the price lists of Vertex AI and Vercel's gateway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from plantain.operators.errors import UsageError

AS_OF = date(2026, 11, 29)


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs.

    Attributes:
        input_usd: A million tokens in, words and pictures.
        output_usd: A million tokens out, words and what it thinks.
        image_usd: A picture out, by its size; empty for a model that draws none.
        since: From this day on.
    """

    input_usd: float
    output_usd: float
    image_usd: Mapping[str, float] = field(default_factory=dict)
    since: date = date.min


PRICES: dict[str, tuple[Price, ...]] = {
    "gemini-3-pro-image": (Price(2.00, 12.00, {"1K": 0.134, "2K": 0.134, "4K": 0.24}),),
    "gemini-3.1-flash-image": (Price(0.50, 3.00, {"1K": 0.067, "2K": 0.101, "4K": 0.151}),),
    # Input and words as of the larger model: an upper bound, since its own are not in what was read.
    "gemini-3.1-flash-lite-image": (Price(0.50, 3.00, {"1K": 0.0336}),),
    "gemini-3.8-flash": (Price(0.75, 3.75), Price(1.50, 7.50, since=date(2027, 1, 1))),
    "gemini-3.5-flash-lite": (Price(0.30, 2.50),),
}
"""By model; the later price of one that changes stands behind."""

GONE: dict[str, tuple[date, str]] = {
    "gemini-2.5-pro": (date(2026, 12, 1), "gemini-3.8-flash"),
    "gemini-2.5-flash": (date(2026, 12, 1), "gemini-3.5-flash-lite"),
    "gemini-2.5-flash-image": (date(2026, 10, 2), "gemini-3.1-flash-image"),
    "gemini-3-pro-image-preview": (date(2026, 6, 25), "gemini-3-pro-image"),
    "gemini-3.1-flash-image-preview": (date(2026, 6, 25), "gemini-3.1-flash-image"),
}
"""Models that end: when, and what to name instead. Requests for some are then answered, and charged, as the other."""


def price_of(model: str) -> Price:
    """The list price of a model, as the API calls it, today.

    Raises:
        UsageError: If it has none here, or the model ends.
    """
    if model in GONE:
        end, instead = GONE[model]
        raise UsageError(f"model '{model}' ends on {end:%d %B %Y}: name {instead}")
    if model not in PRICES:
        raise UsageError(
            f"the price of '{model}' is not known here (prices as of {AS_OF:%d %B %Y}): say what an answer costs "
            "at most, usd_per_answer"
        )
    return [price for price in PRICES[model] if price.since <= date.today()][-1]
