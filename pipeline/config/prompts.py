"""Prompts as the file writes them, and how often each is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from plantain.operators.errors import PromptError
from plantain.operators.prompts import Prompt
from plantain.pipeline.config.section import Section

# depth@1fps, normals@every5
CADENCE = re.compile(r"^(?P<prompt>.+)@(?:(?P<fps>\d+(?:\.\d+)?)fps|every(?P<every>\d+))$", re.DOTALL)


class CadenceConfig(Section):
    """How often a prompt is asked, of the frames that are looked at."""

    fps: float | None = Field(default=None, gt=0, description="At most this many times per second.")
    every: int = Field(default=1, ge=1, description="Of every n-th of them.")


def split_cadences(data: Any) -> Any:
    """Prompts with a cadence (`{prompt: depth, fps: 1}`, `depth@1fps`, `depth@every5`) as prompts and cadences."""
    if not isinstance(data, Mapping) or not isinstance(data.get("prompts"), list | tuple):
        return data
    prompts: list[object] = []
    cadences: dict[str, object] = {}
    for written in data["prompts"]:
        text, how = _cadence(written)
        try:
            prompt = _prompt(text)
        except ValueError:
            prompts.append(text)  # said with its place when that is checked
            continue
        prompts.append(prompt)
        if how:
            cadences[str(prompt)] = how
    return {**data, "prompts": prompts, "cadences": {**dict(data.get("cadences") or {}), **cadences}}


def _cadence(written: object) -> tuple[object, dict[str, object]]:
    """A prompt, and how often it is asked."""
    if isinstance(written, Mapping) and "prompt" in written:
        return written["prompt"], {str(key): value for key, value in written.items() if key != "prompt"}
    if isinstance(written, str) and (found := CADENCE.match(written)):
        return found["prompt"], {"fps": found["fps"]} if found["fps"] else {"every": found["every"]}
    return written, {}


def _prompt(written: object) -> object:
    if isinstance(written, Mapping):
        raise ValueError("a prompt with a cadence is written {prompt: depth, fps: 1}, or with every")
    if not isinstance(written, str):
        return written
    try:
        return Prompt.parse(written)
    except PromptError as error:
        raise ValueError(str(error)) from error


PromptField = Annotated[Prompt, BeforeValidator(_prompt)]
