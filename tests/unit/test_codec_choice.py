"""Which codec a prompt gets, and what all of them refuse."""

from __future__ import annotations

import numpy as np
import pytest

from plantain.operators.answers import KINDS, codec_for
from plantain.operators.answers.depth.codec import DepthCodec
from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.image.codec import ImageCodec
from plantain.operators.answers.image.value import Image
from plantain.operators.answers.masks.instances import InstancesCodec
from plantain.operators.answers.masks.semantic import MasksCodec
from plantain.operators.answers.masks.value import Masks
from plantain.operators.answers.normals.codec import NormalsCodec
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.errors import CodecError
from plantain.operators.prompts import CODECS as NAMES
from plantain.operators.prompts import Prompt
from plantain.operators.types import Value

PROMPTS = {
    "semantic:car,road": MasksCodec,
    "refer:the red car": MasksCodec,
    "instances:car": InstancesCodec,
    "depth": DepthCodec,
    "depth[colormap=plasma]": DepthCodec,
    "normals": NormalsCodec,
    "generate:a wet street": ImageCodec,
    "prompt[codec=depth]:how far is it": DepthCodec,
}


@pytest.mark.parametrize(("written", "kind"), PROMPTS.items())
def test_each_task_has_its_codec(written: str, kind: type) -> None:
    assert isinstance(codec_for(Prompt.parse(written)), kind)


def test_every_kind_of_the_task_language_exists() -> None:
    assert set(KINDS) == set(NAMES)


def test_a_codec_is_made_once() -> None:
    assert codec_for(Prompt.parse("depth")) is codec_for(Prompt.parse("depth[curve=street]"))


@pytest.mark.parametrize("written", PROMPTS)
@pytest.mark.parametrize(
    "drawing",
    [
        np.zeros((4, 5), np.uint8),
        np.zeros((4, 5, 4), np.uint8),
        np.zeros((1, 4, 5, 3), np.uint8),
        np.zeros((4, 5, 3), np.float32),
        [[[1, 2, 3]]],
    ],
    ids=["gray", "rgba", "batch", "float", "list"],
)
def test_a_drawing_of_another_form_is_refused_in_one_sentence(written: str, drawing: object) -> None:
    prompt = Prompt.parse(written)
    with pytest.raises(CodecError, match=r"^a drawing must be \(H, W, 3\) uint8 RGB, not [^\n]+$"):
        codec_for(prompt).decode(drawing, prompt)  # type: ignore[arg-type]


@pytest.mark.parametrize("written", PROMPTS)
def test_a_value_of_another_kind_is_refused(written: str) -> None:
    prompt = Prompt.parse(written)
    other: Value = Image(np.zeros((2, 2, 3), np.uint8))
    if codec_for(prompt) is codec_for(Prompt.parse("generate:x")):
        other = DepthMap(np.zeros((2, 2), np.float32), np.zeros((2, 2), np.bool_), 0.0)
    with pytest.raises(CodecError, match=f"draws .*, not {type(other).__name__}"):
        codec_for(prompt).encode(other, prompt)


@pytest.mark.parametrize("written", PROMPTS)
def test_any_memory_layout_gives_the_same_value(written: str) -> None:
    prompt = Prompt.parse(written)
    codec = codec_for(prompt)
    rng = np.random.default_rng(3)
    drawing = np.repeat(np.repeat(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8), 4, axis=0), 4, axis=1)
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 10:38] = drawing
    locked = drawing.copy()
    locked.flags.writeable = False
    bgr = np.ascontiguousarray(drawing[..., ::-1])[..., ::-1]
    expected = codec.decode(drawing, prompt)
    for same in (wide[:, 10:38], locked, np.asfortranarray(drawing), bgr):
        assert_equal(codec.decode(same, prompt), expected)


@pytest.mark.parametrize("written", PROMPTS)
@pytest.mark.parametrize("size_hw", [(1, 1), (1, 9), (9, 1), (0, 5), (5, 0)])
def test_odd_sizes_keep_their_shape(written: str, size_hw: tuple[int, int]) -> None:
    prompt = Prompt.parse(written)
    codec = codec_for(prompt)
    value = codec.decode(np.zeros((*size_hw, 3), np.uint8), prompt)
    assert codec.encode(value, prompt).shape == (*size_hw, 3)
    assert 0.0 <= value.off_palette <= 1.0


def test_an_image_is_its_own_answer() -> None:
    prompt = Prompt.parse("generate:rain")
    drawing = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    value = codec_for(prompt).decode(drawing, prompt)
    assert isinstance(value, Image)
    assert value.rgb is drawing
    assert value.off_palette == 0.0
    assert codec_for(prompt).encode(value, prompt) is drawing


def assert_equal(actual: Value, expected: Value) -> None:
    assert type(actual) is type(expected)
    match actual, expected:
        case Masks(), Masks():
            np.testing.assert_array_equal(actual.labels, expected.labels)
            np.testing.assert_array_equal(actual.scores, expected.scores)
            assert actual.names == expected.names
        case DepthMap(), DepthMap():
            np.testing.assert_array_equal(actual.depth_m, expected.depth_m)
            np.testing.assert_array_equal(actual.valid, expected.valid)
        case NormalMap(), NormalMap():
            np.testing.assert_array_equal(actual.normals, expected.normals)
            np.testing.assert_array_equal(actual.valid, expected.valid)
        case Image(), Image():
            np.testing.assert_array_equal(actual.rgb, expected.rgb)
    assert actual.off_palette == expected.off_palette
