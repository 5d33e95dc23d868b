"""The commands that render streets: demo, eval, train."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from plantain.deploy.cli.app import app
from plantain.deploy.lab import demo
from plantain.deploy.lab.scoring import MEASURES
from plantain.operators.errors import UsageError
from plantain.operators.models import truth
from plantain.operators.models.plantain.evaluation.evaluate import BOXES, TOLD
from plantain.operators.scenes import Scene
from plantain.operators.sinks.parquet.reading import read_frames, read_objects


def plantain(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_an_exact_model_scores_one(tmp_path: Path) -> None:
    rendered: list[int] = []
    done = demo.run_demo(
        tmp_path / "demo",
        model="fake",
        executor="threads",
        num_frames=4,
        size_hw=(224, 384),
        on_rendered=rendered.append,
    )
    assert done.outcome.exit_code == 0
    assert rendered == [1, 2, 3, 4]
    assert done.num_scored == 4
    scores = {score.key: score.value for score in done.scores}
    for key in ("miou", "delta1", "pmf1", "ciou"):
        assert scores[key] > 0.98, key
    assert scores["absrel"] < 0.01
    assert scores["normals_mean_deg"] < 1
    assert scores["normals_median_deg"] < 1
    frames = read_frames(tmp_path / "demo", ["task", "status"])
    assert len(frames["task"]) == 20
    assert set(frames["status"]) == {"ok"}
    assert set(read_objects(tmp_path / "demo", ["task"])["task"]) == {"semantic", "instances", "refer"}
    with av.open(str(tmp_path / "demo" / "overlay" / "street.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 4
    assert done.report == tmp_path / "demo" / "report.html"
    page = done.report.read_text(encoding="utf-8")
    assert "semantic mIoU" in page
    assert "overlay/street.mp4" in page
    assert "4 frames were read back" in page
    assert "no longer there" not in page, "the clip is in the folder, so its pictures are on the page"


def test_the_street_is_worth_looking_at() -> None:
    scene = Scene(demo.SEED, split=demo.SPLIT, size_hw=(224, 384))
    for index in (0, 30, 59):
        cars = truth.objects(scene.render(index / truth.FRAMES_PER_S), "car")
        areas = np.bincount(cars.ravel())[1:]
        assert (areas > 0.001 * cars.size).sum() >= 3


def test_mistakes_of_a_demo_are_named_before_it_renders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="model 'banana' is unknown"):
        demo.run_demo(tmp_path / "demo", model="banana")
    with pytest.raises(UsageError, match="demo of 0 frames"):
        demo.run_demo(tmp_path / "demo", num_frames=0)
    assert not (tmp_path / "demo").exists()


def test_eval_prints_one_object_with_the_agreed_keys() -> None:
    result = plantain("eval", "--model", "fake", "--scenes", "1", "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    agreed = MEASURES.keys() - TOLD.keys() - BOXES.keys()  # it cannot be told a field of view, and draws
    account = {
        "num_scenes",
        "num_asked",
        "cost_usd",
        "failed",
        "stopped",
        "split",
        "model",
        "model_fingerprint",
    }
    account |= {"class_iou", "model_ms_per_frame"}
    assert set(figures) == {*agreed, *(f"{key}_ci" for key in agreed), *account}
    assert figures["miou"] > 0.99
    assert len(figures["miou_ci"]) == 2
    assert min(figures["class_iou"].values()) > 0.99


def test_report_command(tmp_path: Path) -> None:
    result = plantain("report", str(tmp_path))
    assert result.exit_code == 1
    assert "holds no results" in str(result.exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("eval", "--model", "fake", "--weights", "w.safetensors"), "--weights is for the embedded model"),
        (("eval", "--assets", "no/such/folder"), "--assets no/such/folder is no folder"),
        (("train", "--assets", "no/such/folder"), "--assets no/such/folder is no folder"),
        (("train", "--resume", "--out", "no/such/folder"), "holds no checkpoint"),
    ],
)
def test_mistakes_are_named(words: tuple[str, ...], said: str) -> None:
    result = plantain(*words)
    assert isinstance(result.exception, Exception)
    assert said in str(result.exception)


def test_train_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "last.pt").touch()
    assert "add --resume" in str(plantain("train", "--out", str(tmp_path)).exception)
