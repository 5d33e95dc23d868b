"""Rows of `plantain.operators.models.BACKENDS` for models on other machines."""

from __future__ import annotations

from typing import Any

from plantain.operators.models.base import ModelSpec, Weights
from plantain.operators.prompts import Task

_DRAWN = (Task.SEMANTIC, Task.INSTANCES, Task.REFER, Task.DEPTH, Task.NORMALS, Task.GENERATE)
_HOSTED: dict[str, Any] = {
    "needs": ("httpx",),
    "extra": "remote",
    "is_paid": True,
    "is_hosted": True,
    "by_options": True,
    "weights": Weights(shown="protocol only"),
}

HOSTED: dict[str, ModelSpec] = {
    "images-api": ModelSpec(
        target="plantain.operators.models.hosted.images:ImagesModel",
        summary="an image generator on a server: POST /v1/images/edits of vLLM-Omni, SGLang, Dynamo, DeepInfra",
        tasks=_DRAWN,
        licence="of the server's model",
        model_hw=(576, 1024),
        **_HOSTED,
    ),
    "chat": ModelSpec(
        target="plantain.operators.models.hosted.chat:ChatModel",
        summary="looks and speaks on a server: POST /v1/chat/completions of vLLM, SGLang, Ollama",
        tasks=(Task.ASK,),
        licence="of the server's model",
        model_hw=(576, 1024),
        **_HOSTED,
    ),
    "gemini": ModelSpec(
        target="plantain.operators.models.hosted.gemini_text:GeminiModel",
        summary="Gemini looks and speaks, within a budget; gemini-3.5-flash-lite unless told otherwise",
        tasks=(Task.ASK,),
        licence="Gemini API terms",
        model_hw=(576, 1024),
        **_HOSTED,
    ),
    "gemini-image": ModelSpec(
        target="plantain.operators.models.hosted.gemini_image:GeminiImage",
        summary="Gemini draws, within a budget; Nano Banana 2, gemini-3.1-flash-image, unless told otherwise; "
        "Nano Banana Pro is gemini-3-pro-image (option model)",
        tasks=_DRAWN,
        licence="Gemini API terms",
        model_hw=(768, 1344),
        **_HOSTED,
    ),
}
"""Each is asked over HTTP by httpx, within a budget, a rate and a patience."""
