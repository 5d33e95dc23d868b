"""Drawings to values and back: one codec for each kind of value, all of them pure functions of a prompt.

A codec is imported when it is first asked for, so that reading prompts and building graphs stays cheap.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import cast

from operators.codecs.base import Codec
from operators.errors import CodecError
from operators.prompts import Prompt

CODECS: dict[str, str] = {
    "masks": "operators.codecs.masks:MasksCodec",
    "instances": "operators.codecs.instances:InstancesCodec",
    "depth": "operators.codecs.depth:DepthCodec",
    "normals": "operators.codecs.normals:NormalsCodec",
    "image": "operators.codecs.image:ImageCodec",
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
