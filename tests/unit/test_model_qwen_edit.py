"""Qwen-Image-Edit as a model that draws: each drawing as the library's pipeline makes it."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import QwenImageEditPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit
from PIL import Image

from plantain.operators.errors import ModelError, ModelUnavailableError
from plantain.operators.models import load_drawing
from plantain.operators.prompts import Prompt
from tests import checkpoints
from tests.checkpoints.making import one_thread  # noqa: F401 - a fixture of every test here

CARS, WET = Prompt.parse("semantic:car,road"), Prompt.parse("generate:a wet street")
STEPS = 2
LEVELS = 1
"""A batch may differ from single calls by so many of 255."""


@pytest.fixture(scope="module", autouse=True)
def _small() -> Any:
    """The library looks at a megapixel, which takes half a minute; here it looks at a four-hundredth of one."""
    with pytest.MonkeyPatch.context() as patch:
        dimensions = pipeline_qwenimage_edit.calculate_dimensions
        patch.setattr(
            pipeline_qwenimage_edit, "calculate_dimensions", lambda _area, ratio: dimensions(64 * 64, ratio)
        )
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return checkpoints.qwen_edit(tmp_path_factory.mktemp("qwen") / "qwen")


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load_drawing("qwen-image-edit", {"checkpoint": str(folder), "steps": STEPS})


def pictures(count: int) -> np.ndarray:
    squares = np.random.default_rng(0).integers(0, 255, (count, 4, 6, 3)).astype(np.uint8)
    return squares.repeat(16, axis=1).repeat(16, axis=2)


def test_a_drawing_is_that_of_the_librarys_pipeline(folder: Path, model: Any) -> None:
    pipeline = QwenImageEditPipeline.from_pretrained(folder)
    (image,) = pictures(1)
    theirs = pipeline(
        image=Image.fromarray(image),
        prompt=CARS.instruction(),
        negative_prompt=" ",
        true_cfg_scale=4.0,
        num_inference_steps=STEPS,
        height=64,
        width=96,
        generator=torch.Generator().manual_seed(zlib.crc32(str(CARS).encode())),
        output_type="np",
    ).images[0]
    ours = model.render(image[None], [0], [CARS])[0]
    assert np.abs(ours / 255 - theirs).max() < 1.01 / 255
    assert np.ptp(ours) > 50


def test_a_batch_of_frames_and_prompts_is_drawn_as_each_alone(model: Any) -> None:
    images, image_of, prompts = pictures(2), [0, 1, 1], [CARS, CARS, WET]
    together = model.render(images, image_of, prompts).astype(int)
    for row, (index, prompt) in enumerate(zip(image_of, prompts, strict=True)):
        alone = model.render(images[index : index + 1], [0], [prompt])[0]
        assert np.abs(together[row] - alone).max() <= LEVELS
    assert np.abs(together[0] - together[1]).max() > 3 * LEVELS, "each row sees its own frame"
    assert np.abs(together[1] - together[2]).max() > 4 * LEVELS, "and its own words"


def test_a_canvas_or_a_checkpoint_that_does_not_fit_is_refused(
    folder: Path, model: Any, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="qwen-image-edit draws on a canvas whose sides are multiples of 16"):
        model.render(np.zeros((1, 40, 64, 3), np.uint8), [0], [CARS])
    with pytest.raises(ModelUnavailableError, match="and klein needs Flux2KleinPipeline"):
        load_drawing("klein", {"checkpoint": str(folder)})
