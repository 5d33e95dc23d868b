"""From a teacher's answers in Parquet to weights of the embedded model, over the commands that users have."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from plantain.deploy.cli.app import app
from plantain.deploy.job import run_job
from plantain.deploy.lab.lessons import collect
from plantain.operators.answers.boxes.value import Boxes
from plantain.operators.answers.masks.regions import boxes_of
from plantain.operators.answers.masks.value import Masks
from plantain.operators.errors import UsageError
from plantain.operators.geometry import iou
from plantain.operators.models import load_drawing, truth
from plantain.operators.models.plantain.training import lessons
from plantain.operators.prompts import Prompt
from plantain.operators.scenes import Scene, stamp
from plantain.operators.sinks.parquet.reading import read_frames
from plantain.operators.sources.clip import write_clip
from plantain.pipeline.commands import Add, Remove, Status
from plantain.pipeline.config import StreamConfig, check
from plantain.pipeline.control import Control
from tests.hosted_servers import Painting, images_edit, serving

SEED = 3
NUM_FRAMES = 11
PROMPTS = ["semantic:road,sky,building,car", "instances:car", "depth[curve=street]"]
BESIDE = ["detect:car", "ask:how many cars?"]
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which an ideal model answered about a clip."""
    folder = tmp_path_factory.mktemp("annotated")
    scene = Scene(SEED, size_hw=(216, 384))
    pictures = (
        stamp(scene.render(index / truth.FRAMES_PER_S).image, SEED, index) for index in range(NUM_FRAMES)
    )
    write_clip(folder / "pole.mp4", pictures)
    outcome = run_job(
        check(
            {
                "streams": [{"url": str(folder / "pole.mp4")}],
                "prompts": PROMPTS + BESIDE,
                "model": {"name": "fake"},
                "output": {"out": str(folder / "out")},
                "executor": "inline",
            }
        )
    )
    assert outcome.exit_code == 0, outcome
    return folder


def test_answers_meet_the_pictures_that_they_are_about(annotated: Path, tmp_path: Path) -> None:
    told: list[int] = []
    found = collect([annotated / "out"], tmp_path, on_progress=told.append)
    assert (found.num_learn, found.num_held, found.skipped) == (10, 1, {})
    assert found.unfit == {"ask: the network has no fields for such answers": NUM_FRAMES}
    assert told == list(range(1, 12))
    paths = sorted(found.learn.glob("*.npz"))
    scene = Scene(SEED, size_hw=(216, 384))
    for index in (0, 4, 9):
        lesson = lessons.load(paths[index])
        frame = scene.render(index / truth.FRAMES_PER_S)
        assert (
            np.abs(lesson.image.astype(int) - frame.image).mean() < 12
        )  # the codec of the clip lies between
        prompt, value = lesson.answers[0]
        assert prompt == Prompt.parse(PROMPTS[0])
        assert isinstance(value, Masks)
        true = truth.answer(frame, prompt)
        assert isinstance(true, Masks)
        assert value.names == true.names
        assert np.mean(value.labels == true.labels) > 0.99
        boxes = lesson.answers[-1][1]
        assert isinstance(boxes, Boxes)
        edges, _ = boxes_of(cars := truth.objects(frame, "car"), int(cars.max()))
        big = (edges[:, 2:] - edges[:, :2]).prod(axis=1) > 100
        assert all(overlaps.max() > 0.8 for overlaps in iou(edges[big], boxes.xyxy)), (
            "in pixels of the picture"
        )


def test_a_clip_that_has_moved_is_found_by_its_name(annotated: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    hidden = annotated / "pole.mp4.hidden"
    (annotated / "pole.mp4").rename(hidden)
    try:
        with pytest.raises(UsageError, match="--clips"):
            collect([annotated / "out"], tmp_path / "a")
        (moved / "pole.mp4").write_bytes(hidden.read_bytes())
        assert collect([annotated / "out"], tmp_path / "b", clips=[str(moved)], max_frames=4).num_learn == 3
    finally:
        hidden.rename(annotated / "pole.mp4")


def test_another_clip_of_the_same_name_is_refused(annotated: Path, tmp_path: Path) -> None:
    pictures = (np.full((120, 160, 3), 10 * index, np.uint8) for index in range(NUM_FRAMES))
    write_clip(tmp_path / "pole.mp4", pictures)
    with pytest.raises(UsageError, match="not the one that was annotated"):
        collect([annotated / "out"], tmp_path / "lessons", clips=[str(tmp_path)])


def test_train_from_answers_writes_weights_that_a_run_loads(annotated: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app,
        ["train", "--from", str(annotated / "out"), "--mix", "0", "--steps", "2", "--batch", "2", "--calibrate", "2",
         "--processes", "1", "--out", str(tmp_path)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "11 answers are left out: ask: the network has no fields" in result.stderr
    assert "10 annotated frames to learn from, 1 held back" in result.stderr
    assert "boxes F1" in result.stderr
    assert "agreement with the teacher" in result.stderr
    option = f"weights={tmp_path / 'weights.safetensors'}"
    result = CliRunner().invoke(
        app,
        ["run", str(annotated / "pole.mp4"), "--task", "depth", "--max-frames", "2", "--executor", "inline",
         "--model-option", option, "--out", str(tmp_path / "run")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (used,) = set(read_frames(tmp_path / "run", ["model_fingerprint"])["model_fingerprint"])
    packaged = load_drawing("embedded")
    packaged.close()
    assert used != packaged.fingerprint


def test_a_strong_model_within_a_budget_teaches_weights_that_a_running_job_takes(
    annotated: Path, tmp_path: Path, no_log: None
) -> None:
    """The whole loop: some frames to a paid model, its answers learnt, and the weights given to what runs."""
    prompt, out, run = Prompt.parse(PROMPTS[0]), tmp_path / "strong", tmp_path / "run"
    small = {"width": 192, "height": 128}
    with serving(lambda asked: images_edit(Painting([prompt]), asked)) as server:
        paid = {"base_url": f"{server.url}/v1", "usd_per_answer": 0.01, "max_usd_per_hour": 0.05}
        outcome = run_job(
            check(
                {
                    "streams": [{"url": str(annotated / "pole.mp4")}],
                    "models": {
                        "always": {"name": "embedded", "canvas": small},
                        "strong": {
                            "name": "images-api",
                            "options": {**paid, "patience_s": 0.0},
                            "canvas": {"width": 384, "height": 224},
                        },
                    },
                    "prompts": ["depth", {"prompt": str(prompt), "model": "strong", "every": 2}],
                    "output": {"out": str(out)},
                }
            )
        )
        assert len(server.asked) == 5, "of six, the budget allows"
    assert sum(outcome.streams[0].account.failed.values()) == 1
    result = CliRunner().invoke(
        app,
        ["train", "--from", str(out), "--mix", "0", "--steps", "1", "--batch", "1", "--processes", "1",
         "--calibrate", "0", "--out", str(tmp_path / "taught")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "4 annotated frames to learn from, 1 held back" in result.stderr, (
        "not what the student says itself"
    )
    assert re.search(r"semantic mIoU\W+\d\.\d+\W+\d\.\d+\W+1\b", result.stderr), "before and after"

    street = {"url": "synthetic://street?seed=1&frames=2000&width=96&height=64", "id": "gate"}
    config = {
        "streams": [],
        "prompts": ["depth"],
        "model": {"name": "embedded", "canvas": small, "cpus": 1},
        "output": {"out": str(run), "rasters": False, "segment_frames": 5},
    }
    control = Control(check(config, may_be_idle=True))
    job = threading.Thread(
        target=run_job,
        args=(check(config, may_be_idle=True),),
        kwargs={"control": control, "socket": tmp_path / "s"},
    )
    job.start()
    try:
        control.do(Add(StreamConfig(**street)))
        until(lambda: control.do(Status("gate")).results >= 2)
        words = ["models", "swap", f"weights={tmp_path / 'taught' / 'weights.safetensors'}"]
        result = CliRunner().invoke(app, [*words, "--control", str(tmp_path / "s")])
        assert result.exit_code == 0, result.output
        swapped_at = control.do(Status("gate")).results
        until(lambda: control.do(Status("gate")).results >= swapped_at + 20)
        assert not control.do(Remove("gate")).failed
    finally:
        control.stop()
        job.join(PATIENCE_S)
    rows = read_frames(run, ["frame_index", "model_fingerprint"])
    assert rows["frame_index"].tolist() == list(range(len(rows["frame_index"]))), "no frame is lost"
    assert len(set(rows["model_fingerprint"].tolist())) == 2


def until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--clips", "somewhere"), "give --from as well"),
        (("--init", "none.safetensors"), "--init none.safetensors is no file"),
        (("--from", "nowhere"), "nowhere holds no results"),
    ],
)
def test_mistakes_are_named(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["train", "--out", str(tmp_path), *words])
    assert said in str(result.exception)


def test_an_option_of_the_model_has_a_name_and_a_value() -> None:
    result = CliRunner().invoke(app, ["run", "a.mp4", "--task", "depth", "--model-option", "weights"])
    assert "write NAME=VALUE" in str(result.exception)
