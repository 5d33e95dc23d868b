import subprocess
import sys
import time

import numpy as np
import pytest

from plantain.operators.answers import codec_for
from plantain.operators.errors import ModelError, UsageError
from plantain.operators.geometry import Letterbox
from plantain.operators.models.fake import FakeModel, picture_in
from plantain.operators.models.plantain.evaluation.evaluate import evaluate
from plantain.operators.prompts import Prompt
from plantain.operators.scenes import Scene, stamp

TASKS = ("semantic:car,road,sky", "instances:car", "refer:the red car", "depth", "normals")


@pytest.fixture(scope="module")
def stamped() -> np.ndarray:
    return stamp(Scene(5, split="heldout", size_hw=(128, 192)).render(3 / 25).image, 5, 3)


def test_exact_answers_score_one():
    result = evaluate(FakeModel(split="heldout"), num_scenes=4)
    assert result["miou"] == 1
    assert result["miou_random_palette"] == 1
    assert result["delta1"] > 0.999
    assert result["absrel"] < 0.005
    assert result["normals_mean_deg"] < 0.5
    assert result["pmf1"] > 0.9
    assert result["il_mcc"] > 0.9
    assert result["ciou"] == 1
    assert result["off_palette"] < 0.005


def test_a_letterbox_is_found_and_drawn_around(stamped):
    fit = Letterbox.fit((128, 192), (256, 256))
    resized = np.repeat(np.repeat(stamped, 2, 0), 2, 1)[: fit.height, : fit.width]
    canvas = Letterbox((128, 192), (160, 256), 16, 32, 128, 192).place(stamped)
    assert picture_in(canvas) == (16, 32, 128, 192)
    prompt = Prompt.parse("depth")
    model = FakeModel(split="heldout")
    alone = model.render(stamped[None], [0], [prompt])[0]
    boxed = model.render(canvas[None], [0], [prompt])[0]
    assert np.array_equal(boxed[16:144, 32:224], alone)
    assert resized.shape[2] == 3


@pytest.mark.parametrize(("start", "length", "total"), [(16, 128, 160), (16, 127, 160), (0, 160, 160)])
def test_bars_are_measured_from_the_side_where_the_stamp_is(start, length, total):
    canvas = np.zeros((total, 64, 3), np.uint8)
    canvas[start : start + length] = 90
    assert picture_in(canvas) == (start, 0, length, 64)


def test_a_picture_that_is_all_black_is_taken_whole():
    assert picture_in(np.zeros((32, 64, 3), np.uint8)) == (0, 0, 32, 64)


@pytest.mark.parametrize(
    "task", [*TASKS, "prompt[codec=depth]:how far is it", "prompt[codec=instances]:shoes"]
)
def test_pictures_without_a_stamp_get_a_legal_drawing_that_depends_on_them(task):
    rng = np.random.default_rng(0)
    pictures = np.stack([np.kron(rng.integers(0, 255, (4, 6, 3)), np.ones((16, 16, 1))) for _ in range(2)])
    prompt = Prompt.parse(task)
    model = FakeModel()
    drawn = model.render(pictures.astype(np.uint8), [0, 1, 0], [prompt] * 3)
    assert drawn.shape == (3, 64, 96, 3)
    assert drawn.dtype == np.uint8
    assert np.array_equal(drawn[0], drawn[2])
    assert not np.array_equal(drawn[0], drawn[1])
    assert codec_for(prompt).decode(drawn[0], prompt).off_palette < 0.01


def test_chosen_frames_fail(stamped):
    prompt = Prompt.parse("depth")
    with pytest.raises(ModelError, match="frame 3"):
        FakeModel(split="heldout", fail_on="1,3").render(stamped[None], [0], [prompt])
    FakeModel(split="heldout", fail_on="2").render(stamped[None], [0], [prompt])


def test_a_cost_is_waited_for():
    start = time.perf_counter()
    picture = np.zeros((2, 32, 32, 3), np.uint8)
    FakeModel(cost_ms=20).render(picture, [0], [Prompt.parse("semantic:car")])
    assert time.perf_counter() - start >= 0.04


def test_what_cannot_be_drawn_is_refused():
    picture = np.zeros((1, 32, 32, 3), np.uint8)
    with pytest.raises(ModelError, match="generate"):
        FakeModel().render(picture, [0], [Prompt.parse("generate:a street")])
    with pytest.raises(ModelError, match="image indices"):
        FakeModel().render(picture, [0], [])
    with pytest.raises(UsageError, match="fail_on"):
        FakeModel(fail_on="all")
    with pytest.raises(UsageError, match="cost_ms"):
        FakeModel(cost_ms=-1)


def test_neither_the_table_of_backends_nor_the_fake_loads_torch():
    code = (
        "import sys, numpy as np;"
        "from plantain.operators.models import load_drawing; from plantain.operators.prompts import Prompt;"
        "m = load_drawing('fake'); m.render(np.zeros((1, 64, 64, 3), np.uint8), [0], [Prompt.parse('depth')]);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
