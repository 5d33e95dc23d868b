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


Cadences = Annotated[
    dict[str, CadenceConfig],
    Field(description="By prompt, how often it is asked; shorter: {prompt: depth, fps: 1} in `prompts`."),
]
AskedOf = Annotated[
    dict[str, str],
    Field(
        description="By prompt, which of `models` answers; shorter: {prompt: depth, model: NAME} in `prompts`."
    ),
]


def split_prompts(data: Any) -> Any:
    """Prompts that say more (`{prompt: depth, fps: 1, model: strong}`, `depth@1fps`, `depth@every5`), taken apart."""
    if not isinstance(data, Mapping) or not isinstance(data.get("prompts"), list | tuple):
        return data
    prompts: list[object] = []
    cadences: dict[str, object] = {}
    asked_of: dict[str, object] = {}
    for written in data["prompts"]:
        text, how = _cadence(written)
        try:
            prompt = _prompt(text)
        except ValueError:
            prompts.append(text)  # said with its place when that is checked
            continue
        prompts.append(prompt)
        if "model" in how:
            asked_of[str(prompt)] = how.pop("model")
        if how:
            cadences[str(prompt)] = how
    more = {"cadences": cadences, "asked_of": asked_of}
    return {**data, "prompts": prompts, **{k: {**dict(data.get(k) or {}), **v} for k, v in more.items()}}


def _cadence(written: object) -> tuple[object, dict[str, object]]:
    """A prompt, and how often it is asked."""
    if isinstance(written, Mapping) and "prompt" in written:
        return written["prompt"], {str(key): value for key, value in written.items() if key != "prompt"}
    if isinstance(written, str) and (found := CADENCE.match(written)):
        return found["prompt"], {"fps": found["fps"]} if found["fps"] else {"every": found["every"]}
    return written, {}


def _prompt(written: object) -> object:
    if isinstance(written, Mapping):
        raise ValueError(
            "a prompt that says more is written {prompt: depth, fps: 1, model: NAME}, or with every"
        )
    if not isinstance(written, str):
        return written
    try:
        return Prompt.parse(written)
    except PromptError as error:
        raise ValueError(str(error)) from error


PromptField = Annotated[Prompt, BeforeValidator(_prompt)]
