"""What specialists are asked in comparisons with their libraries: one picture, one prompt, answered alone."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

from plantain.operators.geometry import Letterbox
from plantain.operators.models import load_model
from plantain.operators.prompts import Prompt
from plantain.operators.types import Failure, Frame, FrameInfo, Header


def frame(number: int = 0, size_hw: tuple[int, int] = (72, 128)) -> Frame:
    """Coloured squares on a canvas without bars."""
    rng = np.random.default_rng(number)
    picture = rng.integers(0, 255, (size_hw[0] // 8, size_hw[1] // 8, 3)).astype(np.uint8)
    picture = np.ascontiguousarray(picture.repeat(8, axis=0).repeat(8, axis=1))
    fit = Letterbox.fit(size_hw, size_hw)
    return Frame(Header("c", 0, number), FrameInfo(number, Fraction(1, 25), None, "file", fit), picture)


FRAME = frame()
PICTURE = Image.fromarray(FRAME.image)
SIZE = [(72, 128)]


def ours(path: Path, prompt: str, **options: Any) -> Any:
    """What our backend answers to a prompt about the picture."""
    model = load_model("transformers", {"checkpoint": str(path), **options})
    (answer,) = model.answer([FRAME], [0], [Prompt.parse(prompt)])
    assert not isinstance(answer.value, Failure), answer.value
    return answer.value


def theirs(path: Path, cls: str, **words: Any) -> tuple[Any, Any]:
    """The library's processor of a checkpoint, and what its network, of this class, puts out about the picture."""
    network = getattr(transformers, cls).from_pretrained(path).eval()
    processor = (transformers.AutoProcessor if words else transformers.AutoImageProcessor).from_pretrained(
        path
    )
    with torch.inference_mode():
        return processor, network(**processor(images=PICTURE, return_tensors="pt", **words))
