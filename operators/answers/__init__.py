"""Drawings to values and back: one codec for each kind of value, all of them pure functions of a prompt.

A codec is imported when it is first asked for, so that reading prompts and building graphs stays cheap.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import cast

from plantain.operators.answers.codec import Codec
from plantain.operators.errors import CodecError
from plantain.operators.prompts import Prompt

CODECS: dict[str, str] = {
    "masks": "plantain.operators.answers.masks.semantic:MasksCodec",
    "instances": "plantain.operators.answers.masks.instances:InstancesCodec",
    "depth": "plantain.operators.answers.depth.codec:DepthCodec",
    "normals": "plantain.operators.answers.normals.codec:NormalsCodec",
    "image": "plantain.operators.answers.image.codec:ImageCodec",
}
"""Where each codec of `Prompt.codec` is found, as "module:Class"."""


def codec_for(prompt: Prompt) -> Codec:
    """The codec that reads and makes the drawings of `prompt`.

    Raises:
        CodecError: If no codec has the name that the prompt gives.
    """
    return _load(prompt.codec)


@cache
def _load(name: str) -> Codec:
    """The one object of the codec called `name`."""
    if name not in CODECS:
        raise CodecError(f"codec '{name}' is unknown: use one of {', '.join(CODECS)}")
    module, _, attribute = CODECS[name].partition(":")
    return cast(Codec, getattr(importlib.import_module(module), attribute)())
