from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from plantain.deploy.cli.app import app
from plantain.operators.answers import codec_for
from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.masks.value import Masks
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.models.plantain.evaluation.steadiness import Answered, between
from plantain.operators.prompts import Prompt
from plantain.operators.scenes import Scene, stamp
from plantain.operators.sources.clip import write_clip
from plantain.operators.types import Value

SIZE = (40, 60)


def masks(labels: np.ndarray, *names: str) -> Masks:
    return Masks(labels.astype(np.uint16), names, np.ones(len(names), np.float32), 0.0)


def answered(picture: np.ndarray, **answers: Value) -> Answered:
    prompts = [
        Prompt.parse({"semantic": "semantic:road,car", "instances": "instances:car"}.get(t, t))
        for t in answers
    ]
    drawn = [
        codec_for(prompt).encode(value, prompt)
        for prompt, value in zip(prompts, answers.values(), strict=True)
    ]
    return Answered(picture, prompts, drawn, list(answers.values()))


@pytest.fixture
def gray() -> np.ndarray:
    return np.full((*SIZE, 3), 90, np.uint8)


def test_the_same_answers_are_steady(gray):
    labels = np.zeros(SIZE)
    labels[5:20, 5:20] = 1
    depth = DepthMap(np.full(SIZE, 7, np.float32), np.ones(SIZE, np.bool_), 0.0)
    up = NormalMap(np.tile(np.array([0, 1, 0], np.float32), (*SIZE, 1)), np.ones(SIZE, np.bool_), 0.0)
    one = answered(
        gray, semantic=masks(labels, "car"), instances=masks(labels, "car"), depth=depth, normals=up
    )
    means = between(one, one).means()
    assert means.pop("still") == 1
    assert set(means) == {
        "class_flicker", "depth_flicker", "normals_flicker_deg", "objects_lost", "colour_switches"
    }  # fmt: skip
    assert all(value == pytest.approx(0, abs=1e-3) for value in means.values())


def test_only_still_pixels_count(gray):
    first, second = np.zeros(SIZE), np.zeros(SIZE)
    second[:10] = 1  # a quarter changes its class
    moved = gray.copy()
    moved[:5] += 50  # half of which the world changed
    change = between(answered(gray, semantic=masks(first)), answered(moved, semantic=masks(second, "car")))
    assert change.means()["still"] == pytest.approx(35 / 40)
    assert change.means()["class_flicker"] == pytest.approx(5 / 35)


def test_depth_changes_are_shares_of_the_distance_and_turns_are_degrees(gray):
    everywhere = np.ones(SIZE, np.bool_)
    near, far = (DepthMap(np.full(SIZE, metres, np.float32), everywhere, 0.0) for metres in (10, 11))
    up, right = (
        NormalMap(np.tile(np.array(each, np.float32), (*SIZE, 1)), everywhere, 0.0)
        for each in ((0, 1, 0), (1, 0, 0))
    )
    means = between(answered(gray, depth=near, normals=up), answered(gray, depth=far, normals=right)).means()
    assert means["depth_flicker"] == pytest.approx(0.1, rel=1e-3)
    assert means["normals_flicker_deg"] == pytest.approx(90)


def test_objects_that_go_or_change_colour_are_counted(gray):
    labels = np.zeros(SIZE)
    labels[2:12, 2:12], labels[20:30, 2:12], labels[20:30, 40:50] = 1, 2, 3
    before = answered(gray, instances=masks(labels, "car", "car", "car"))
    other = np.where(labels == 1, 2, np.where(labels == 2, 1, 0))  # two swap colours, the third is gone
    after = answered(gray, instances=masks(other, "car", "car"))
    means = between(before, after).means()
    assert means["objects_lost"] == pytest.approx(1 / 3)
    assert means["colour_switches"] == 1


def test_sums_over_pairs_weigh_pixels_alike(gray):
    still = between(
        answered(gray, semantic=masks(np.zeros(SIZE))), answered(gray, semantic=masks(np.zeros(SIZE)))
    )
    assert (still + still).means() == still.means()


def test_eval_looks_at_clips_and_writes_a_page(tmp_path: Path):
    scene = Scene(3, size_hw=(108, 192))
    write_clip(tmp_path / "pole.mp4", (stamp(scene.render(k / 25).image, 3, k) for k in range(6)))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    result = CliRunner().invoke(
        app, ["eval", "--model", "fake", "--clips", str(tmp_path), "--out", str(tmp_path / "out"), "--json"]
    )
    assert result.exit_code == 0, result.output
    page = (tmp_path / "out" / "footage.html").read_text(encoding="utf-8")
    assert page.count("<figure") == 6  # the picture and five answers of the one run that fits
    assert "broken" in page
    assert '"class_flicker"' in result.stdout
    assert '"error"' in result.stdout
