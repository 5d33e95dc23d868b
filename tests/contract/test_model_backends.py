"""Every backend of a library's network: what holds of all of them, on tiny checkpoints of the real architectures.

Tolerances: dense values may differ by 1e-4 of their range between a batch and a single call (5e-6 to 6e-5 were met), or
by 1e-3 of themselves (of depth that is drawn as its inverse, what is far differs by 7e-4), and
label maps in 1 pixel of 200, those whose two likeliest classes are equally likely.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from plantain.operators.answers import kind_of
from plantain.operators.answers.boxes.value import Boxes
from plantain.operators.answers.masks.value import Masks
from plantain.operators.errors import ModelError, UsageError
from plantain.operators.geometry import Letterbox
from plantain.operators.models import load_model, spec_of
from plantain.operators.models.base import Answering, Forgetful
from plantain.operators.models.catalogue import LIBRARY
from plantain.operators.models.drawn import Drawn
from plantain.operators.models.specialists.base import Specialist
from plantain.operators.prompts import Prompt
from plantain.operators.types import Failure, Frame, FrameInfo, Header, Value
from tests.checkpoints.apart import small_da3  # noqa: F401 - a fixture of every test here
from tests.checkpoints.backends import CASES, Case
from tests.checkpoints.coded import own_modules  # noqa: F401 - a fixture of every test here
from tests.checkpoints.drawing import small_looks  # noqa: F401 - a fixture of every test here
from tests.checkpoints.making import one_thread  # noqa: F401 - a fixture of every test here

DENSE_TOLERANCE, RELATIVE_TOLERANCE, LABEL_TOLERANCE = 1e-4, 1e-3, 0.005
DRAWN_TOLERANCE = 0.02
"""Pixels of a drawing that may be another level."""


@dataclass(frozen=True)
class Loaded:
    case: Case
    options: dict[str, Any]
    model: Any
    prompts: list[Prompt]

    @property
    def network(self) -> Any:
        """Of the library: a module, or a pipeline of several."""
        held = self.model.model if isinstance(self.model, Drawn) else self.model
        return (
            held.parts.network
            if isinstance(held, Specialist)
            else getattr(held, "_pipeline", None) or held._network
        )


@pytest.fixture(scope="module", params=["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
def device(request) -> str:
    """Each that is here."""
    return str(request.param)


@pytest.fixture(scope="module", params=CASES)
def loaded(request, device, tmp_path_factory) -> Loaded:
    case = CASES[request.param]
    options = {**case.made(tmp_path_factory.mktemp("checkpoints")), "device": device}
    model = load_model(case.backend, options)
    return Loaded(case, options, model, [Prompt.parse(each) for each in case.prompts])


def frame(number: int, source_hw: tuple[int, int] = (90, 160)) -> Frame:
    """Coloured squares in a letterbox."""
    fit = Letterbox.fit(source_hw, (96, 128))
    rng = np.random.default_rng(number)
    squares = rng.integers(0, 255, (-(-fit.height // 8), -(-fit.width // 8), 3)).astype(np.uint8)
    picture = squares.repeat(8, axis=0).repeat(8, axis=1)[: fit.height, : fit.width]
    placed = np.ascontiguousarray(fit.place(picture))
    placed.flags.writeable = False
    return Frame(
        Header(f"c{number}", 0, number), FrameInfo(number, Fraction(1, 25), None, "file", fit), placed
    )


FRAMES = [frame(0), frame(1, (160, 90)), frame(2)]


def asked(model: Answering, frames: list[Frame], prompts: list[Prompt]) -> list[Value | Failure]:
    """Every prompt of every frame, each the first of its stream, in one call."""
    for each in frames if isinstance(model, Forgetful) else ():
        model.forget(each.header.stream_id)
    image_of = [k for k in range(len(frames)) for _ in prompts]
    return [each.value for each in model.answer(frames, image_of, prompts * len(frames))]


def modules_of(network: Any) -> list[torch.nn.Module]:
    """The networks in what a backend holds of its library."""
    held = [network] if isinstance(network, torch.nn.Module) else network.components.values()
    return [each for each in held if isinstance(each, torch.nn.Module)]


def content(value: Any, prompt: Prompt) -> Any:
    """What an answer consists of: its boxes, its array, or itself."""
    held = value.xyxy if isinstance(value, Boxes) else kind_of(prompt).array(value)
    return value if held is None else held


def assert_same(one: Value | Failure, other: Value | Failure, prompt: Prompt) -> None:
    """Bitwise; numbers of things that are followed are each session's own."""
    kind = kind_of(prompt)
    assert isinstance(one, kind.value), one
    assert repr(kind.summary(one)) == repr(kind.summary(other))
    if isinstance(one, Boxes | Masks):
        assert one.names == other.names
        np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(content(one, prompt), content(other, prompt))


def assert_alike(
    one: Value | Failure, other: Value | Failure, prompt: Prompt, *, is_drawn: bool = False
) -> None:
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
        is_close = np.isclose(left, right, rtol=RELATIVE_TOLERANCE, atol=DENSE_TOLERANCE * span)
        assert is_close.mean() >= (1 - DRAWN_TOLERANCE if is_drawn else 1)
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
        not np.array_equal(content(a, p), content(b, p))
        for p, a, b in zip(loaded.prompts, first, third, strict=True)
    )


def test_a_batch_of_frames_and_tasks_is_answered_as_each_by_itself(loaded: Loaded) -> None:
    together = iter(asked(loaded.model, FRAMES, loaded.prompts))
    for each in FRAMES:
        for prompt in loaded.prompts:
            (alone,) = asked(loaded.model, [each], [prompt])
            assert_alike(next(together), alone, prompt, is_drawn=loaded.case.is_drawn)


# Some networks read picture and words together.
@pytest.mark.parametrize("loaded", [name for name, case in CASES.items() if case.encoder], indirect=True)
def test_a_picture_is_encoded_once_however_many_prompts_ask_about_it(loaded: Loaded) -> None:
    assert loaded.case.encoder is not None
    encoder, seen = loaded.case.encoder(loaded.network), []
    hook = encoder.register_forward_hook(lambda *_: seen.append(1))
    try:
        asked(loaded.model, [FRAMES[0], FRAMES[2]], loaded.prompts)
    finally:
        hook.remove()
    passes = 1 if loaded.case.batches else 2
    assert len(seen) == passes, "one pass for two frames of one size, or one for each, and all their prompts"


def test_what_it_cannot_answer_fails_alone_and_says_what_it_can(loaded: Loaded) -> None:
    tasks = spec_of(loaded.case.backend).tasks
    other = next(
        each for each in ("generate:a street", "ask:is it wet?") if Prompt.parse(each).task not in tasks
    )
    refused, value = asked(loaded.model, [FRAMES[0]], [Prompt.parse(other), loaded.prompts[0]])
    assert isinstance(refused, Failure)
    assert re.search("it answers|is no drawing: ask a model that gives text", refused.error)
    assert not isinstance(value, Failure)


# Others take one frame at a time, or draw: test_model_editors.
@pytest.mark.parametrize(
    "loaded", [name for name, case in CASES.items() if case.batches and not case.is_drawn], indirect=True
)
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
    """Whatever of the network it is that asks for more."""

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("out of memory")

    for module in modules_of(loaded.network):
        for each in module.modules():
            monkeypatch.setattr(each, "_call_impl", full)
    with pytest.raises(ModelError, match=r"not enough memory for .*: give it a smaller canvas"):
        asked(loaded.model, [FRAMES[0]], loaded.prompts[:1])
    monkeypatch.undo()
    if isinstance(loaded.model, Specialist):
        loaded.model._at_once.clear()
    value, *_ = asked(loaded.model, [FRAMES[0]], loaded.prompts[:1])
    assert not isinstance(value, Failure), "and it goes on"


def test_copies_answer_alike_also_at_the_same_time(loaded: Loaded) -> None:
    copy = load_model(loaded.case.backend, loaded.options)
    assert copy.fingerprint == loaded.model.fingerprint
    expected = asked(loaded.model, FRAMES, loaded.prompts)
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(asked, model, FRAMES, loaded.prompts) for model in (loaded.model, copy)]
        for found in (each.result() for each in both):
            for k, (one, other) in enumerate(zip(found, expected, strict=True)):
                assert_same(one, other, loaded.prompts[k % len(loaded.prompts)])
    copy.close()


def test_lower_precision_answers_under_another_fingerprint(loaded: Loaded) -> None:
    rough = load_model(loaded.case.backend, {**loaded.options, "dtype": "bfloat16"})
    assert rough.fingerprint != loaded.model.fingerprint
    found = 0
    for prompt, value in zip(loaded.prompts, asked(rough, FRAMES[:1], loaded.prompts), strict=True):
        kind = kind_of(prompt)
        assert isinstance(value, kind.value), value
        array = kind.array(value)
        assert array is None or np.isfinite(array).all()
        found += not kind.is_empty(value)
    assert found
    rough.close()


def test_an_option_that_nobody_takes_is_refused_before_anything_is_loaded(loaded: Loaded) -> None:
    with pytest.raises(UsageError, match=r"(does not take|has no option) .*speed"):
        load_model(loaded.case.backend, {**loaded.options, "speed": 3})


def test_what_is_closed_holds_no_weights(loaded: Loaded) -> None:
    modules = modules_of(loaded.network)
    loaded.model.close()  # the last of these tests
    assert {each.device.type for module in modules for each in module.parameters()} == {"meta"}


def test_every_row_of_the_catalogue_is_here_by_its_name() -> None:
    assert {case.backend for case in CASES.values()} == {*LIBRARY}


def test_every_type_of_checkpoint_that_a_row_takes_is_one_of_the_librarys() -> None:
    from transformers import CONFIG_MAPPING

    kinds = {kind for spec in LIBRARY.values() for kind in spec.preset.get("kinds", ())}
    assert "grounding-dino" in kinds
    assert not kinds - {*CONFIG_MAPPING.keys()}
