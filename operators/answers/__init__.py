"""Kinds of answers, a room for each: what a prompt may be answered with, and all that depends on it.

A room is imported when it is first asked for, so that reading prompts and building graphs stays cheap.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import cast

from plantain.operators.answers.base import Kind
from plantain.operators.answers.codec import Codec
from plantain.operators.errors import CodecError
from plantain.operators.prompts import Prompt
from plantain.operators.types import Value

KINDS: dict[str, str] = {
    "masks": "plantain.operators.answers.masks.kind:ClassMasks",
    "instances": "plantain.operators.answers.masks.kind:Instances",
    "depth": "plantain.operators.answers.depth.kind:Depth",
    "normals": "plantain.operators.answers.normals.kind:Normals",
    "image": "plantain.operators.answers.image.kind:Pictures",
    "text": "plantain.operators.answers.text.kind:Words",
    "boxes": "plantain.operators.answers.boxes.kind:Detections",
}
"""Where each kind of `Prompt.codec` is found, as "module:Class"."""


def kind_of(prompt: Prompt) -> Kind[Value]:
    """The kind of answer that a prompt asks for.

    Raises:
        CodecError: If there is none of the name that the prompt gives.
    """
    return kind_called(prompt.codec)


def codec_for(prompt: Prompt) -> Codec:
    """The codec that reads and makes the drawings of `prompt`.

    Raises:
        CodecError: If its answer cannot be drawn.
    """
    codec = kind_of(prompt).codec
    if codec is None:
        raise CodecError(f"the answer to '{prompt}' is no drawing: ask a model that gives {prompt.codec}")
    return codec


@cache
def kind_called(name: str) -> Kind[Value]:
    """The one object of the kind called `name`.

    Raises:
        CodecError: If there is none.
    """
    if name not in KINDS:
        raise CodecError(f"kind of answer '{name}' is unknown: use one of {', '.join(KINDS)}")
    module, _, attribute = KINDS[name].partition(":")
    return cast("Kind[Value]", getattr(importlib.import_module(module), attribute)())
