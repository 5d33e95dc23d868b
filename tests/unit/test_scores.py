"""Scores of regions and boxes: what a model says of itself, what it is worth, and how sure a user wants it to be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from plantain.deploy.cli.app import app
from plantain.operators.answers import kind_of
from plantain.operators.answers.boxes.value import Boxes
from plantain.operators.answers.masks.regions import means_of, medians_of
from plantain.operators.answers.masks.value import Masks
from plantain.operators.errors import PromptError
from plantain.operators.infer import Infer
from plantain.operators.models.base import Answer, Told
from plantain.operators.models.drawn import Drawn
from plantain.operators.models.fake import FakeModel
from plantain.operators.models.plantain import weights
from plantain.operators.models.plantain.calibration import likelihoods, terms, uncalibrated
from plantain.operators.models.plantain.evaluation.asking import frame_of
from plantain.operators.models.plantain.evaluation.reliability import bins_of, calibration_error, verdicts
from plantain.operators.models.plantain.model import WEIGHTS, EmbeddedModel
from plantain.operators.models.plantain.training.fitting import fitted
from plantain.operators.prompts import Prompt
from plantain.operators.scenes import Scene
from plantain.operators.types import Request

THREE = Masks(
    np.array([[1, 1, 0, 2], [0, 3, 3, 2]], np.uint16),
    ("car", "car", "car"),
    np.array([0.9, 0.2, 0.6], np.float32),
    0.0,
    (7, None, 9),
    (4.0, 5.0, None),
)


@pytest.mark.parametrize(
    "written", ["instances[score=0.5]:car", "semantic[score=0.25]:car,road", "refer[score=1.0]:a bus",
                "detect[score=0.3]:car", "prompt[codec=instances;score=0.5]:cars"],
)  # fmt: skip
def test_a_prompt_says_how_sure_an_answer_must_be(written: str) -> None:
    prompt = Prompt.parse(written)
    assert prompt.score > 0
    assert str(prompt) == written
    assert Prompt.parse(str(prompt)) == prompt


@pytest.mark.parametrize("score", ["-0.1", "1.01", "nan", "inf", "half", "0.5.1"])
def test_a_score_that_is_no_share_is_refused(score: str) -> None:
    with pytest.raises(PromptError, match="score is a number from 0 to 1"):
        Prompt.parse(f"instances[score={score}]:car")


@pytest.mark.parametrize("task", ["depth[score=0.5]", "normals[score=0.5]", "ask[score=0.5]:how many?"])
def test_what_has_no_scores_takes_none(task: str) -> None:
    with pytest.raises(PromptError, match="has no option score"):
        Prompt.parse(task)


def test_regions_that_are_less_sure_are_left_out_and_the_others_numbered_anew() -> None:
    kept = kind_of(Prompt.parse("instances:car")).at_least(THREE, 0.5)
    assert isinstance(kept, Masks)
    assert kept.labels.tolist() == [[1, 1, 0, 0], [0, 2, 2, 0]]
    assert (kept.names, kept.track_ids, kept.distances_m) == (("car", "car"), (7, 9), (4.0, None))
    assert kept.scores.tolist() == pytest.approx([0.9, 0.6])
    assert not kind_of(Prompt.parse("semantic:car")).at_least(THREE, 0.95).labels.any()  # type: ignore[attr-defined]


def test_boxes_that_are_less_sure_are_left_out() -> None:
    boxes = Boxes(np.arange(8, dtype=np.float32).reshape(2, 4), ("a", "b"), np.array([0.3, 0.7], np.float32))
    kept = kind_of(Prompt.parse("detect:a,b")).at_least(boxes, 0.5)
    assert isinstance(kept, Boxes)
    assert (kept.names, kept.xyxy.tolist(), kept.track_ids) == (("b",), [[4, 5, 6, 7]], ())


class Three:
    """Answers three cars of different scores."""

    name, fingerprint = "three", "3"

    def answer(self, frames, image_of, prompts):  # type: ignore[no-untyped-def]
        return [Answer(THREE) for _ in prompts]

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("written", "count"), [("instances:car", 3), ("instances[score=0.5]:car", 2)])
def test_every_model_is_held_to_the_score_of_the_prompt(written: str, count: int) -> None:
    frame = frame_of(np.zeros((2, 4, 3), np.uint8))
    request = Request(frame.header, frame, (Prompt.parse(written),))
    (result,) = Infer(Three())([request])
    value = result.predictions[0].value
    assert isinstance(value, Masks)
    assert len(value.names) == count


class Half(FakeModel):
    """Is half sure of the left of each picture, and wholly of the right."""

    def draw_told(self, frames, image_of, prompts):  # type: ignore[no-untyped-def]
        drawn = self.render(np.stack([frame.image for frame in frames]), image_of, prompts)
        sure = np.full(drawn.shape[:3], 255, np.uint8)
        sure[:, :, : sure.shape[2] // 2] = 51
        return drawn, [Told(each) for each in sure]

    def scores(self, prompt, sure, shares):  # type: ignore[no-untyped-def]
        assert np.all((shares > 0) & (shares <= 1))
        return sure


def test_regions_have_the_scores_of_a_model_that_draws_and_says_how_sure_it_is() -> None:
    prompt = Prompt.parse("semantic:left,right")
    left, right = prompt.palette
    drawing = np.zeros((1, 8, 8, 3), np.uint8)
    drawing[:, :, :4], drawing[:, :, 4:] = left, right
    model = Half()
    model.render = lambda images, image_of, prompts: drawing  # type: ignore[method-assign]
    (answer,) = Drawn(model).answer([frame_of(drawing[0])], [0], [prompt])
    assert isinstance(answer.value, Masks)
    assert answer.value.scores.tolist() == pytest.approx([0.2, 1.0])


def test_means_and_medians_of_regions_are_those_of_their_pixels() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 6, (40, 56)).astype(np.uint16)
    values, metres = rng.integers(0, 256, labels.shape).astype(np.uint8), rng.random(labels.shape, np.float32)
    valid = rng.random(labels.shape) < 0.5
    valid[labels == 2] = False
    means, shares = means_of(labels, values, 6)
    medians = medians_of(labels, metres, valid, 6)
    for k in range(5):
        assert means[k] == pytest.approx(values[labels == k + 1].mean() / 255)
        assert shares[k] == pytest.approx((labels == k + 1).mean())
        inside = metres[(labels == k + 1) & valid]
        assert medians[k] == (pytest.approx(float(np.median(inside))) if inside.size else None)
    assert medians[1] is None
    assert (means[5], shares[5], medians[5]) == (0, 0, None)


def test_a_thing_is_right_if_it_overlaps_by_half_with_one_that_no_other_took() -> None:
    true = np.zeros((10, 20), np.uint16)
    true[:, :8], true[:2, 18:] = 1, 2
    found = np.zeros_like(true)
    found[:, :6], found[:, 6:8], found[:2, 18:], found[5:, 12:14] = 1, 2, 3, 4
    value = Masks(found, ("car",) * 4, np.array([0.9, 0.8, 0.7, 0.6], np.float32), 0.0)
    there = Masks(true, ("car",) * 2, np.ones(2, np.float32), 0.0)
    scores, right, shares = verdicts(value, there, are_things=True)
    assert right.tolist() == [True, False, True, False]
    assert shares.tolist() == pytest.approx([0.3, 0.1, 0.02, 0.05])
    scores, right, _ = verdicts(value, there, are_things=True, min_area=0.03)
    assert scores.tolist() == pytest.approx([0.9, 0.8, 0.6]), (
        "what lies on a thing too small to ask for is not judged"
    )


def test_a_class_is_right_where_the_class_of_its_name_is() -> None:
    labels = np.array([[1, 1, 2, 2]], np.uint16)
    value = Masks(labels, ("car", "road"), np.array([0.5, 0.6], np.float32), 0.0)
    other = Masks(labels, ("car", "wall"), np.ones(2, np.float32), 0.0)
    assert verdicts(value, other, are_things=False)[1].tolist() == [True, False]
    nothing = Masks(np.zeros_like(labels), (), np.zeros(0, np.float32), 0.0)
    assert verdicts(value, nothing, are_things=False)[1].tolist() == [False, False]
    assert verdicts(nothing, value, are_things=True)[1].tolist() == []


def test_the_calibration_error_is_the_distance_of_scores_from_what_is_right() -> None:
    scores = np.repeat([0.05, 0.85, 1.0], [10, 20, 10])
    right = np.array([True] * 2 + [False] * 8 + [True] * 15 + [False] * 5 + [True] * 10)
    error = calibration_error({"reliability": bins_of(scores, right)})
    assert float(error) == pytest.approx((10 * 0.15 + 20 * 0.10 + 0) / 40)
    assert np.isnan(calibration_error({"reliability": bins_of(np.zeros(0), np.zeros(0, np.bool_))}))


def test_a_calibration_is_found_again_from_what_it_makes() -> None:
    rng = np.random.default_rng(3)
    sure, shares = rng.uniform(0.3, 0.99, 20_000), np.exp(rng.uniform(-7, -1, 20_000))
    numbers = np.array([[1.7, 0.4, 0.8]] * 3)
    likely = likelihoods(numbers, "instances", sure, shares)
    right = rng.random(20_000) < likely
    found = fitted(terms(sure, shares), right)
    again = likelihoods(np.tile(found, (3, 1)), "instances", sure, shares)
    assert np.abs(again - likely).max() < 0.05
    assert float(calibration_error({"reliability": bins_of(again, right)})) < 0.02
    one_sided = fitted(terms(sure[:40], shares[:40]), np.ones(40, np.bool_))
    assert np.isfinite(one_sided).all()


@pytest.mark.parametrize("seed", range(6))
def test_regions_that_are_much_alike_are_right_as_often_as_they_say(seed: int) -> None:
    """As those of `refer` are, whole things that the network is sure of: there Newton's steps once flew off."""
    rng = np.random.default_rng(seed)
    sure, shares = 1 - 10.0 ** rng.uniform(-5, -1, 200), 10.0 ** rng.uniform(-4, -1, 200)
    right = rng.random(200) < 0.4
    numbers = fitted(terms(sure, shares), right)
    assert np.abs(numbers).max() < 10
    told = likelihoods(np.tile(numbers, (3, 1)), "refer", sure, shares)
    assert told.mean() == pytest.approx(right.mean(), abs=0.05)


def test_without_a_calibration_a_score_is_the_mean_likelihood() -> None:
    sure = np.array([0.01, 0.5, 0.9], np.float32)
    shares = np.full(3, 0.1, np.float32)
    assert likelihoods(uncalibrated().numpy(), "refer", sure, shares).tolist() == pytest.approx(sure.tolist())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_embedded_model_gives_each_region_a_score_and_draws_as_much_as_is_wanted(dtype: str) -> None:
    frame = frame_of(Scene(3, split="heldout", size_hw=(128, 192)).render(1.0).image)
    model = Drawn(EmbeddedModel(device="cpu", dtype=dtype))

    def asked(written: str) -> Masks:
        prompt = Prompt.parse(written)
        (answer,) = model.answer([frame], [0], [prompt])
        assert isinstance(answer.value, Masks)
        kept = kind_of(prompt).at_least(answer.value, prompt.score)
        assert isinstance(kept, Masks)
        return kept

    try:
        classes = asked("semantic:road,sky,building,car,person,vegetation")
        assert np.all((classes.scores > 0) & (classes.scores < 1))
        assert len(set(classes.scores.tolist())) == len(classes.names)
        assert classes.scores[classes.names.index("road")] > 0.5
        everything, sure = asked("instances[score=0.001]:car"), asked("instances[score=0.9]:car")
        assert len(everything.names) >= len(asked("instances:car").names) >= 1
        assert len(everything.names) > len(sure.names)
        assert np.all(sure.scores >= 0.9)
    finally:
        model.close()


def test_scores_alone_are_fitted_to_given_weights(tmp_path: Path) -> None:
    words = ["train", "--steps", "0", "--init", str(WEIGHTS), "--calibrate", "2", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    before, _ = weights.load(WEIGHTS)
    after, _ = weights.load(tmp_path / "weights.safetensors")
    assert weights.notes(tmp_path / "weights.safetensors") == weights.notes(WEIGHTS)
    changed = {
        name
        for name, each in after.state_dict().items()
        if not np.array_equal(each.numpy(), before.state_dict()[name].numpy())
    }
    assert changed == {"calibration"}
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


@pytest.mark.parametrize(
    "words", [("--steps", "0"), ("--steps", "0", "--init", str(WEIGHTS), "--calibrate", "0")]
)
def test_nothing_to_train_and_nothing_to_fit_is_a_mistake(words: tuple[str, ...], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["train", "--out", str(tmp_path), *words])
    assert isinstance(result.exception, Exception)
    assert "fits the scores of --init" in str(result.exception)


def test_a_value_without_regions_is_left_as_it_is() -> None:
    nothing = replace(
        THREE, labels=THREE.labels * 0, names=(), scores=np.zeros(0, np.float32), track_ids=(), distances_m=()
    )
    assert kind_of(Prompt.parse("instances:car")).at_least(nothing, 0.5) == nothing
