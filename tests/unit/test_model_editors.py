"""Image editors as models that draw: many frames in one batch, each drawing as the library's pipeline makes it."""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import Flux2KleinPipeline, QwenImageEditPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

from plantain.operators.errors import ModelError, ModelUnavailableError, UsageError
from plantain.operators.models import load_drawing, load_model
from plantain.operators.models.drawn import Drawn
from plantain.operators.prompts import Prompt
from tests import checkpoints
from tests.checkpoints.drawing import small_looks  # noqa: F401 - a fixture of every test here
from tests.checkpoints.making import one_thread  # noqa: F401 - a fixture of every test here
from tests.contract.test_model_backends import frame

CARS, WET = Prompt.parse("semantic:car,road"), Prompt.parse("generate:a wet street")
LEVELS = 1
"""A batch may differ from single calls by so many of 255."""
QWEN_STEPS = 2
ASKED = {
    "klein": (Flux2KleinPipeline, {"num_inference_steps": 4, "guidance_scale": 1.0}),
    "qwen-image-edit": (
        QwenImageEditPipeline,
        {
            "negative_prompt": " ",
            "true_cfg_scale": 4.0,
            "num_inference_steps": QWEN_STEPS,
            "height": 64,
            "width": 96,
        },
    ),
}
"""How the library's own pipelines are asked for the drawing that each of ours makes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return checkpoints.klein(tmp_path_factory.mktemp("klein") / "klein")


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load_drawing("klein", {"checkpoint": str(folder)})


@pytest.fixture(scope="module")
def qwen_folder(tmp_path_factory) -> Path:
    return checkpoints.qwen_edit(tmp_path_factory.mktemp("qwen") / "qwen")


@pytest.fixture(scope="module")
def qwen(qwen_folder: Path) -> Any:
    return load_drawing("qwen-image-edit", {"checkpoint": str(qwen_folder), "steps": QWEN_STEPS})


@pytest.fixture(params=["klein", "qwen-image-edit"])
def either(request: pytest.FixtureRequest) -> Any:
    """Each of the two, and the folder of its checkpoint."""
    of = {"klein": ("model", "folder"), "qwen-image-edit": ("qwen", "qwen_folder")}[request.param]
    return tuple(request.getfixturevalue(name) for name in of)


def pictures(count: int) -> np.ndarray:
    squares = np.random.default_rng(0).integers(0, 255, (count, 4, 6, 3)).astype(np.uint8)
    return squares.repeat(16, axis=1).repeat(16, axis=2)


def test_a_drawing_is_that_of_the_librarys_pipeline(either: tuple[Any, Path]) -> None:
    model, folder = either
    library, options = ASKED[model.name]
    (image,) = pictures(1)
    theirs = library.from_pretrained(folder)(
        image=Image.fromarray(image),
        prompt=CARS.instruction(),
        generator=torch.Generator().manual_seed(zlib.crc32(str(CARS).encode())),
        output_type="np",
        **options,
    ).images[0]
    ours = model.render(image[None], [0], [CARS])[0]
    assert np.abs(ours / 255 - theirs).max() < 1.01 / 255
    assert np.ptp(ours) > 50


def test_a_batch_of_frames_and_prompts_is_drawn_as_each_alone(either: tuple[Any, Path]) -> None:
    model, _ = either
    images, image_of, prompts = pictures(3), [0, 1, 2, 1], [CARS, CARS, WET, WET]
    together = model.render(images, image_of, prompts).astype(int)
    for row, (index, prompt) in enumerate(zip(image_of, prompts, strict=True)):
        alone = model.render(images[index : index + 1], [0], [prompt])[0]
        assert np.abs(together[row] - alone).max() <= LEVELS
    assert np.abs(together[0] - together[1]).max() > 3 * LEVELS, "each row sees its own frame"
    assert np.abs(together[1] - together[3]).max() > 4 * LEVELS, "and its own words"


def test_a_frame_is_encoded_once_and_a_text_once_ever(folder: Path) -> None:
    model, frames, texts = load_drawing("klein", {"checkpoint": str(folder)}), [], []
    vae, words = model._pipeline.vae, model._pipeline.text_encoder  # type: ignore[attr-defined]
    vae.encoder.register_forward_hook(lambda _, inputs, __: frames.append(len(inputs[0])))
    words.register_forward_hook(lambda *_: texts.append(1))
    for _ in range(2):
        model.render(pictures(2), [0, 0, 1], [CARS, WET, CARS])
    assert frames == [2, 2]
    assert sum(texts) == 1


@pytest.fixture(scope="module")
def base_folder(folder: Path) -> Path:
    """Of weights that are not distilled."""
    base = Path(shutil.copytree(folder, folder.parent / "base"))
    said = json.loads((base / "model_index.json").read_text())
    (base / "model_index.json").write_text(json.dumps({**said, "is_distilled": False}))
    return base


def test_weights_that_are_not_distilled_are_guided_and_nothing_is_read_but_once(base_folder: Path) -> None:
    model, texts = load_drawing("klein", {"checkpoint": str(base_folder), "steps": 2, "guidance": 4.0}), []
    hook = model._pipeline.text_encoder.register_forward_hook(lambda _, inputs, __: texts.append(inputs))  # type: ignore[attr-defined]
    (image,) = pictures(1)
    for _ in range(2):
        ours = model.render(np.stack([image, image]), [0, 1], [CARS, CARS])
    assert len(texts) == 2, "the words, and no words"
    hook.remove()
    told = {
        "image": Image.fromarray(image),
        "prompt": CARS.instruction(),
        "output_type": "np",
        "num_inference_steps": 2,
    }
    theirs, unguided = (
        Flux2KleinPipeline.from_pretrained(base_folder)(
            generator=torch.Generator().manual_seed(zlib.crc32(str(CARS).encode())),
            guidance_scale=guidance,
            **told,
        ).images[0]
        for guidance in (4.0, 1.0)
    )
    for each in ours:
        assert np.abs(each / 255 - theirs).max() < 2.01 / 255
    assert np.abs(theirs - unguided).max() > 0.1
    whole = load_drawing("klein", {"checkpoint": str(base_folder)})
    assert (whole._steps, whole._guidance) == (50, 4.0), "the library's own"  # type: ignore[attr-defined]


def test_guidance_that_distilled_weights_do_not_heed_is_refused(folder: Path, model: Any) -> None:
    with pytest.raises(
        UsageError, match="klein are distilled, and the library ignores guidance with them: leave"
    ):
        load_drawing("klein", {"checkpoint": str(folder), "guidance": 4.0})
    same = load_drawing("klein", {"checkpoint": str(folder), "guidance": 1})
    assert same.fingerprint == model.fingerprint


def test_more_drawings_than_fit_are_made_one_part_after_the_other(folder: Path, model: Any) -> None:
    small = load_drawing("klein", {"checkpoint": str(folder), "at_once": 2})
    arguments = pictures(3), [0, 1, 2, 0, 1], [CARS, CARS, CARS, WET, WET]
    whole, parts = model.render(*arguments).astype(int), small.render(*arguments)
    assert np.abs(whole - parts).max() <= LEVELS


def test_memory_that_runs_out_halves_the_batch_and_it_goes_on(model: Any, monkeypatch) -> None:
    draw, sizes = model._draw, []

    def scarce(references, sample, prompts):
        sizes.append(len(prompts))
        if len(prompts) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return draw(references, sample, prompts)

    expected = model.render(pictures(3), [0, 1, 2], [CARS] * 3).astype(int)
    monkeypatch.setattr(model, "_draw", scarce)
    monkeypatch.setattr(model, "_at_once", 4)
    found = model.render(pictures(3), [0, 1, 2], [CARS] * 3)
    assert sizes == [3, 1, 1, 1]
    assert np.abs(found - expected).max() <= LEVELS

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(model, "_draw", full)
    with pytest.raises(
        ModelError, match="klein has not enough memory for one drawing: give it a smaller canvas"
    ):
        model.render(pictures(1), [0], [CARS])


def test_its_drawings_are_decoded_as_those_of_any_model_that_draws(folder: Path) -> None:
    made = load_model("klein", {"checkpoint": str(folder)})
    assert isinstance(made, Drawn)
    answers = made.answer([frame(0)], [0, 0, 0], [CARS, Prompt.parse("depth"), WET])
    assert [type(each.value).__name__ for each in answers] == ["Masks", "DepthMap", "Image"]
    parts = made.model._pipeline  # type: ignore[attr-defined]
    made.close()
    assert {each.device.type for each in parts.transformer.parameters()} == {"meta"}


def test_low_rank_weights_are_added_and_change_the_fingerprint(
    either: tuple[Any, Path], tmp_path: Path
) -> None:
    model, folder = either
    generator = torch.Generator().manual_seed(1)
    name = "transformer_blocks.0.attn.to_q"
    width = model._pipeline.transformer.get_submodule(name).weight.shape
    weights = {
        f"transformer.{name}.lora_A.weight": torch.randn(2, width[1], generator=generator),
        f"transformer.{name}.lora_B.weight": torch.randn(width[0], 2, generator=generator),
    }
    save_file(weights, tmp_path / "lora.safetensors")
    options = {
        "checkpoint": str(folder),
        "lora": str(tmp_path / "lora.safetensors"),
        "steps": model._steps,
    }
    added, none = load_drawing(model.name, options), load_drawing(model.name, {**options, "lora_scale": 0.0})
    plain = model.render(pictures(1), [0], [CARS]).astype(int)
    assert np.abs(added.render(pictures(1), [0], [CARS]) - plain).max() > LEVELS
    assert np.abs(none.render(pictures(1), [0], [CARS]) - plain).max() <= LEVELS
    assert len({added.fingerprint, none.fingerprint, model.fingerprint}) == 3
    save_file(weights, tmp_path / "another.safetensors")
    again = load_drawing(model.name, options)
    assert again.fingerprint == added.fingerprint, "what lies beside it is no matter"
    save_file({"unet.somewhere.weight": torch.zeros(2, 2)}, tmp_path / "lora.safetensors")
    with pytest.raises(ModelUnavailableError, match=r"lora.safetensors"):
        load_drawing(model.name, options)


def test_a_canvas_that_drawings_would_not_lie_on_is_refused(either: tuple[Any, Path]) -> None:
    model, _ = either
    said = f"{model.name} draws on a canvas whose sides are multiples of 16 and that has at most a megapixel, not"
    for size_hw in ((40, 64), (1024, 1040)):
        with pytest.raises(ModelError, match=said):
            model.render(np.zeros((1, *size_hw, 3), np.uint8), [0], [CARS])


def test_weights_that_are_missing_are_never_random(folder: Path, qwen_folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    file = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    del weights["proj_out.weight"]
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(ModelUnavailableError, match=r"proj_out.weight|cannot be loaded"):
        load_drawing("klein", {"checkpoint": str(copy)})
    (copy / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(ModelUnavailableError, match="of the type 'StableDiffusionPipeline', and klein needs"):
        load_drawing("klein", {"checkpoint": str(copy)})
    with pytest.raises(ModelUnavailableError, match="and klein needs Flux2KleinPipeline"):
        load_drawing("klein", {"checkpoint": str(qwen_folder)})


def test_half_precision_that_draws_black_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="black in float16"):
        load_drawing("klein", {"checkpoint": str(folder), "dtype": "float16"})
