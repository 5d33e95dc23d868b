"""What is made of the answers over time."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from plantain.pipeline.config.section import Section


class AnalyticConfig(Section):
    """One analytic."""

    name: str = Field(min_length=1, description="`presence`, or module:Class.")
    options: dict[str, Any] = Field(default={}, description="Passed to the analytic.")


def _analytic(written: object) -> object:
    """A name is short for an analytic without options."""
    return {"name": written} if isinstance(written, str) else written


AnalyticField = Annotated[AnalyticConfig, BeforeValidator(_analytic)]
