"""What tests of hosted models ask, and what their servers say when all is well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plantain.operators.models import load_model
from plantain.operators.prompts import Prompt
from plantain.operators.types import Failure
from tests.hosted_frames import frame
from tests.hosted_servers import KEY_ENV, Asked, Painting, Reply, chat, gemini, gemini_picture, images_edit

DRAWN = [
    Prompt.parse(text) for text in ("semantic:car,road", "instances:car", "depth", "normals", "refer:a car")
]
DEPTH = DRAWN[2]
QUESTION = Prompt.parse("ask:how many cars are waiting?")
PAINTING = Painting(DRAWN)
USAGE = {
    "promptTokenCount": 600,
    "candidatesTokenCount": 1130,
    "thoughtsTokenCount": 20,
    "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}],
}


def options_of(name: str, url: str, **more: Any) -> dict[str, Any]:
    own: dict[str, dict[str, Any]] = {
        "images-api": {"base_url": f"{url}/v1"},
        "chat": {"base_url": f"{url}/v1", "model": "qwen"},
        "gemini": {"base_url": url, "max_usd_per_hour": 5.0},
        "gemini-image": {"base_url": url, "max_usd_per_hour": 5.0},
    }
    return {"key_env": KEY_ENV, "timeout_s": 5.0, **own[name], **more}


def ask(name: str, url: str, *prompts: Prompt, frames: int = 1, **more: Any) -> list[Any]:
    """Answers of a fresh backend to all prompts about each frame."""
    model = load_model(name, options_of(name, url, **more))
    try:
        shown = [frame(k) for k in range(frames)]
        image_of = [k for k in range(frames) for _ in prompts]
        return model.answer(shown, image_of, list(prompts) * frames)
    finally:
        model.close()


def said(answers: list[Any]) -> list[str]:
    return [answer.value.error if isinstance(answer.value, Failure) else "ok" for answer in answers]


def good(name: str) -> Callable[[Asked], Reply]:
    return {
        "images-api": lambda asked: images_edit(PAINTING, asked),
        "chat": lambda asked: chat("three cars"),
        "gemini": lambda asked: gemini({"text": "three cars"}, promptTokenCount=600, candidatesTokenCount=4),
        "gemini-image": lambda asked: gemini_picture(PAINTING, asked, **USAGE),
    }[name]


def prompt_for(name: str) -> Prompt:
    return DEPTH if name in ("images-api", "gemini-image") else QUESTION


NAMES = ["images-api", "chat", "gemini", "gemini-image"]
