"""Every backend of a library's network: what holds of all of them, on tiny checkpoints of the real architectures.

Tolerances: dense values may differ by 1e-4 of their range between a batch and a single call (5e-6 to 6e-5 were met), or
by 1e-3 of themselves (of depth that is drawn as its inverse, what is far differs by 7e-4), and
label maps in 1 pixel of 200, those whose two likeliest classes are equally likely.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plantain.operators.answers import kind_of
from plantain.operators.answers.boxes.value import Boxes
from plantain.operators.answers.masks.value import Masks
from plantain.operators.errors import ModelError, UsageError
from plantain.operators.geometry import Letterbox
from plantain.operators.models import load_model
from plantain.operators.models.base import Answering
from plantain.operators.prompts import Prompt
from plantain.operators.types import Failure, Frame, FrameInfo, Header, Value
from tests import checkpoints
from tests.checkpoints.making import one_thread  # noqa: F401 - a fixture of every test here

DENSE_TOLERANCE, RELATIVE_TOLERANCE, LABEL_TOLERANCE = 1e-4, 1e-3, 0.005


@dataclass(frozen=True)
class Case:
    """A backend to be tested.

    Attributes:
        make: Writes its checkpoint.
        prompts: What it answers.
        encoder: Finds what must run once a picture, however many prompts there are; None where words are part of it.
        options: Of the backend.
        backend: Its name.
        make_masks: Writes the checkpoint of the option `masks`.
    """

    make: Callable[[Path], Path]
    prompts: tuple[str, ...]
    encoder: Callable[[Any], torch.nn.Module] | None
    options: dict[str, Any] = field(default_factory=dict)
    backend: str = "transformers"
    make_masks: Callable[[Path], Path] | None = None


def vision_of_dino(net: Any) -> torch.nn.Module:
    return net.model.backbone.encoder


WORDS = ("semantic:car,bus", "refer:the red car")
CASES = {
    "depth-anything": Case(checkpoints.depth_anything, ("depth",), lambda net: net.backbone),
    "zoedepth": Case(checkpoints.zoedepth, ("depth",), lambda net: net.backbone),
    "depth-pro": Case(checkpoints.depth_pro, ("depth",), lambda net: net.head),
    "tipsv2": Case(
        checkpoints.tips, ("depth", "normals", "semantic:car,tree", "semantic:road"), lambda net: net.backbone
    ),
    "normals": Case(checkpoints.tips_normals, ("normals",), lambda net: net.backbone),
    "segformer": Case(
        checkpoints.segformer, ("semantic:car,person", "semantic:road"), lambda net: net.segformer
    ),
    "mask2former": Case(
        checkpoints.mask2former,
        ("semantic:car,tree,road,person", "instances:car", "instances:road"),
        lambda net: net.model.pixel_level_module,
        {"threshold": 0.1},
    ),
    "oneformer": Case(
        checkpoints.oneformer,
        ("semantic:car,tree", "semantic:road,person"),
        lambda net: net.model.pixel_level_module,
        {"threshold": 0.1},
    ),
    "eomt": Case(
        checkpoints.eomt,
        ("semantic:car,tree", "instances:car", "instances:road"),
        lambda net: net.embeddings,
        {"threshold": 0.1},
    ),
    "eomt-splitting": Case(
        checkpoints.eomt_splitting, ("semantic:car,tree", "semantic:road"), lambda net: net.embeddings
    ),
    "rf-detr": Case(
        checkpoints.rf_detr,
        ("instances:car", "detect:car,road", "instances:road"),
        lambda net: net.model.model.backbone,
        {"threshold": 0.3},
    ),
    "rt-detr": Case(checkpoints.rt_detr, ("detect:car,road", "detect:tree"), lambda net: net.model.backbone),
    "grounding-dino": Case(checkpoints.grounding_dino, ("detect:car,red bus", "detect:tree"), vision_of_dino),
    "grounding-dino-sam2": Case(
        checkpoints.grounding_dino,
        ("detect:car", "instances:car", *WORDS),
        vision_of_dino,
        {"threshold": 0.9},
        make_masks=checkpoints.sam2,
    ),
    "florence-2": Case(
        checkpoints.florence,
        ("detect:car,bus", "refer:the red car", "refer:a bus"),
        lambda net: net.model.vision_tower,
        {"max_tokens": 24},
    ),
    "marigold": Case(
        checkpoints.marigold, ("normals",), lambda net: net.vae.encoder, {"steps": 2}, "marigold-normals"
    ),
    "owlv2": Case(
        checkpoints.owlv2, ("detect:car,bus", "detect:bus,tree"), lambda net: net.owlv2.vision_model
    ),
    "clipseg": Case(checkpoints.clipseg, WORDS, lambda net: net.clip.vision_model, {"threshold": 0.45}),
    "sam3": Case(
        checkpoints.sam3,
        ("instances:car", "detect:bus", *WORDS),
        lambda net: net.vision_encoder,
        {"threshold": 0.1},
    ),
}


@dataclass(frozen=True)
class Loaded:
    case: Case
    folder: Path
    model: Any
    prompts: list[Prompt]

    def options(self, **more: Any) -> dict[str, Any]:
        return {"checkpoint": str(self.folder), **self.case.options, **more}


@pytest.fixture(scope="module", params=CASES)
def loaded(request, tmp_path_factory) -> Loaded:
    case = CASES[request.param]
    torch.manual_seed(0)  # what is not widened is drawn, too
    folder = case.make(tmp_path_factory.mktemp("checkpoints") / request.param)
    made = Loaded(case, folder, None, [Prompt.parse(each) for each in case.prompts])
    masks = {}
    if case.make_masks is not None:
        masks = {"masks": str(case.make_masks(folder.with_name("masks")))}
    model = load_model(case.backend, made.options(**masks))
    return Loaded(case, folder, model, made.prompts)


def frame(number: int, source_hw: tuple[int, int] = (90, 160)) -> Frame:
    """Coloured squares in a letterbox."""
    fit = Letterbox.fit(source_hw, (96, 128))
    rng = np.random.default_rng(number)
    squares = rng.integers(0, 255, (-(-fit.height // 8), -(-fit.width // 8), 3)).astype(np.uint8)
    picture = squares.repeat(8, axis=0).repeat(8, axis=1)[: fit.height, : fit.width]
    placed = np.ascontiguousarray(fit.place(picture))
    placed.flags.writeable = False
    return Frame(Header("c", 0, number), FrameInfo(number, Fraction(1, 25), None, "file", fit), placed)


FRAMES = [frame(0), frame(1, (160, 90)), frame(2)]


def asked(model: Answering, frames: list[Frame], prompts: list[Prompt]) -> list[Value | Failure]:
    """Every prompt of every frame, in one call."""
    image_of = [k for k in range(len(frames)) for _ in prompts]
    return [each.value for each in model.answer(frames, image_of, prompts * len(frames))]


def assert_alike(one: Value | Failure, other: Value | Failure, prompt: Prompt) -> None:
    kind = kind_of(prompt)
    assert isinstance(one, kind.value), one
    assert isinstance(other, kind.value), other
    if isinstance(one, Boxes) and isinstance(other, Boxes):
        assert one.names == other.names
        np.testing.assert_allclose(one.xyxy, other.xyxy, atol=0.05)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-3)
    elif isinstance(one, Masks) and isinstance(other, Masks):
        assert (one.labels != other.labels).mean() <= LABEL_TOLERANCE
        assert one.names == other.names
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-2)
    elif (left := kind.array(one)) is not None:
        right = kind.array(other)
        span = max(1.0, float(np.abs(right).max()))
        np.testing.assert_allclose(left, right, rtol=RELATIVE_TOLERANCE, atol=DENSE_TOLERANCE * span)
    else:
        assert one == other


def test_answers_are_of_the_prompts_kind_and_size_and_differ_from_picture_to_picture(loaded: Loaded) -> None:
    values = asked(loaded.model, FRAMES, loaded.prompts)
    found = 0
    for k, value in enumerate(values):
        prompt, fit = loaded.prompts[k % len(loaded.prompts)], FRAMES[k // len(loaded.prompts)].info.fit
        kind = kind_of(prompt)
        assert isinstance(value, kind.value), value
        assert kind.size_hw(value) in (None, (fit.height, fit.width))
        assert set(kind.summary(value)) <= {column.name for column in kind.frame_columns}
        found += not kind.is_empty(value)
        if isinstance(value, Boxes):
            assert (value.xyxy >= 0).all()
            assert (value.xyxy <= np.array(fit.source_hw[::-1] * 2) + 1e-3).all(), "in source pixels"
    assert found > len(values) // 3, "tiny weights are drawn so wide that something is found"
    first, third = values[: len(loaded.prompts)], values[-len(loaded.prompts) :]
    assert any(
        repr(kind_of(p).summary(a)) != repr(kind_of(p).summary(b))
        or not np.array_equal(
            kind_of(p).array(a) if kind_of(p).array(a) is not None else a.xyxy,
            kind_of(p).array(b) if kind_of(p).array(b) is not None else b.xyxy,
        )
        for p, a, b in zip(loaded.prompts, first, third, strict=True)
    )


def test_a_batch_of_frames_and_tasks_is_answered_as_each_by_itself(loaded: Loaded) -> None:
    together = iter(asked(loaded.model, FRAMES, loaded.prompts))
    for each in FRAMES:
        for prompt in loaded.prompts:
            (alone,) = asked(loaded.model, [each], [prompt])
            assert_alike(next(together), alone, prompt)


def test_a_picture_is_encoded_once_however_many_prompts_ask_about_it(loaded: Loaded) -> None:
    if loaded.case.encoder is None:
        pytest.skip("the network reads picture and words together")
    encoder, seen = loaded.case.encoder(loaded.model.parts.network), []
    hook = encoder.register_forward_hook(lambda *_: seen.append(1))
    try:
        asked(loaded.model, [FRAMES[0], FRAMES[2]], loaded.prompts)
    finally:
        hook.remove()
    assert len(seen) == 1, "one pass for two frames of one size and all their prompts"


def test_what_it_cannot_answer_fails_alone_and_says_what_it_can(loaded: Loaded) -> None:
    prompts = [Prompt.parse("generate:a street"), loaded.prompts[0]]
    refused, value = asked(loaded.model, [FRAMES[0]], prompts)
    assert isinstance(refused, Failure)
    assert "it answers" in refused.error
    assert not isinstance(value, Failure)


def test_memory_that_runs_out_halves_the_batch_and_it_goes_on(loaded: Loaded, monkeypatch) -> None:
    look = type(loaded.model).look
    sizes: list[int] = []

    def scarce(self, pictures, asked):
        sizes.append(len(pictures))
        if len(pictures) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return look(self, pictures, asked)

    frames = [frame(k) for k in range(3)]
    expected = asked(loaded.model, frames, loaded.prompts)
    monkeypatch.setattr(type(loaded.model), "look", scarce)
    monkeypatch.setattr(loaded.model, "_at_once", {})
    found = asked(loaded.model, frames, loaded.prompts)
    assert sizes == [3, 1, 1, 1]
    for k, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert_alike(one, other, loaded.prompts[k % len(loaded.prompts)])
    sizes.clear()
    asked(loaded.model, frames[:2], loaded.prompts)
    assert sizes == [1, 1], "it remembers"


def test_memory_that_is_short_for_one_picture_is_said(loaded: Loaded, monkeypatch) -> None:
    def full(self, pictures, asked):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(type(loaded.model), "look", full)
    monkeypatch.setattr(loaded.model, "_at_once", {})
    with pytest.raises(
        ModelError, match="not enough memory for one picture of 128 x 72: give it a smaller canvas"
    ):
        asked(loaded.model, [FRAMES[0]], loaded.prompts)


def test_an_option_that_nobody_takes_is_refused_before_anything_is_loaded(loaded: Loaded) -> None:
    with pytest.raises(UsageError, match=r"does not take .*speed"):
        load_model(loaded.case.backend, loaded.options(speed=3))


def test_what_is_closed_holds_no_weights(loaded: Loaded) -> None:
    network = loaded.model.parts.network
    parts = [network] if isinstance(network, torch.nn.Module) else [network.unet, network.vae]
    loaded.model.close()  # the last of these tests
    assert {each.device.type for part in parts for each in part.parameters()} == {"meta"}
