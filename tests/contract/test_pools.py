"""Several models in one graph, wherever workers live: who is asked, who holds up whom, and who remembers what."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

import pytest

from plantain.deploy.job import run_job
from plantain.operators.answers.text.value import Text
from plantain.operators.errors import SinkError
from plantain.operators.prompts import Prompt
from plantain.operators.segments import Position
from plantain.operators.sinks.memory import MemorySink
from plantain.operators.sinks.parquet.reading import read_frames, read_objects, read_results
from plantain.operators.sources import open_source
from plantain.operators.streams import StreamSpec, View
from plantain.operators.types import Failure
from plantain.pipeline.commands import Add, Ask, Change
from plantain.pipeline.config import PipelineConfig, StreamConfig, check
from plantain.pipeline.control import Control
from plantain.pipeline.executor import Executor, ThreadExecutor
from plantain.pipeline.runner import run
from plantain.pipeline.video import build_graph, starts_of
from tests.assets.clips import make

QUESTION = "ask:which frame is this?"


def street(seed: int, frames: int) -> str:
    return f"synthetic://street?seed={seed}&frames={frames}&width=192&height=112&stamp=1"


def config_of(
    out: Path, *, prompts: list[object], models: dict[str, object], frames: int = 12
) -> PipelineConfig:
    streams = [{"url": street(seed, frames), "id": f"s{seed}"} for seed in (6, 7)]
    output = {"out": str(out), "segment_frames": 5}
    return check({"streams": streams, "prompts": prompts, "models": models, "output": output})


CANVAS = {"width": 192, "height": 112}


def test_a_model_that_keeps_streams_sees_each_frame_of_its_streams_in_order(
    executor: Executor, tmp_path: Path
) -> None:
    models = {
        "fast": {"name": "fake", "canvas": CANVAS},
        "video": {"name": "fake-video", "canvas": CANVAS, "replicas": 2},
    }
    config = config_of(
        tmp_path, prompts=["instances:car", {"prompt": QUESTION, "model": "video"}], models=models
    )
    assert run_job(config, executor=executor).exit_code == 0
    for name in ("s6", "s7"):
        said = [result.predictions[-1].value for result in read_results(tmp_path, name)]
        assert said == [Text(f"frame {k} of this session") for k in range(1, 13)]


def test_each_prompt_is_answered_by_its_model_on_its_own_canvas(executor: Executor, tmp_path: Path) -> None:
    models = {
        "fast": {"name": "fake", "canvas": CANVAS},
        "strong": {"name": "fake-video", "canvas": {"width": 320, "height": 192}},
    }
    prompts = ["instances:car", {"prompt": "depth", "model": "strong", "every": 3}]
    assert run_job(config_of(tmp_path, prompts=prompts, models=models), executor=executor).exit_code == 0
    rows = read_frames(tmp_path, ["stream_id", "frame_index", "prompt", "model", "status"])
    answered = set(zip(rows["prompt"], rows["model"], rows["status"], strict=True))
    assert answered == {("instances:car", "fake", "ok"), ("depth", "fake-video", "ok")}
    assert sorted(rows["frame_index"][rows["prompt"] == "depth"]) == sorted([*range(0, 12, 3)] * 2)
    objects = read_objects(tmp_path, ["frame_index", "distance_m"])
    has_distance = objects["distance_m"] == objects["distance_m"]
    assert set(objects["frame_index"][has_distance]) <= {0, 3, 6, 9}
    assert has_distance.any(), "the depth of one model gives the distances of the other's masks"


def test_a_question_is_put_to_a_model_that_keeps_streams_as_a_session_of_one_frame(tmp_path: Path) -> None:
    config = config_of(
        tmp_path, prompts=[QUESTION], models={"video": {"name": "fake-video", "canvas": CANVAS}}
    )
    source = open_source(StreamSpec("x", street(9, 3)), View((112, 192)), Position())
    frames = source.read(3)
    control = Control(config)
    runner = threading.Thread(
        target=lambda: run(
            build_graph(config, is_managed=True), ThreadExecutor(), starts_of(config, None), control=control
        )
    )
    runner.start()
    try:
        for _ in range(2):
            answers = control.do(Ask(frames[:1], (Prompt.parse(QUESTION),)))
            assert [each.predictions[0].value for each in answers] == [Text("frame 1 of this session")]
    finally:
        control.stop()
        runner.join(timeout=60)


def test_prompts_come_and_go_on_the_way_and_the_session_of_a_video_model_goes_on(
    executor: Executor, tmp_path: Path
) -> None:
    config = check(
        {
            "streams": [],
            "prompts": [QUESTION],
            "models": {"video": {"name": "fake-video", "canvas": {"width": 64, "height": 48}}},
            "output": {"out": str(tmp_path), "segment_frames": 5},
            "overload": {"ladder": []},  # a busy machine would leave prompts out
        },
        may_be_idle=True,
    )
    control = Control(config)
    runner = threading.Thread(target=lambda: run_job(config, control=control, executor=executor))
    runner.start()
    try:
        control.do(Add(StreamConfig(url="cam://10", id="cam", source="tests.plugins:Cam")))
        wait_until_answered(tmp_path, {QUESTION})
        for prompts in ([QUESTION, "instances:car"], ["refer:the red car", QUESTION], [QUESTION]):
            control.do(Change("cam", {"prompts": prompts}))
            wait_until_answered(tmp_path, set(prompts))
    finally:
        control.stop()
        runner.join(timeout=60)
    asked, numbers = [], []
    for result in read_results(tmp_path, "cam"):
        said = {str(each.prompt): each.value for each in result.predictions}
        assert not any(isinstance(value, Failure) for value in said.values())
        numbers.append(int(said[QUESTION].text.split()[1]))  # type: ignore[union-attr]  # a Text
        if not asked or asked[-1] != {*said}:
            asked.append({*said})
    assert asked == [{QUESTION}, {QUESTION, "instances:car"}, {QUESTION, "refer:the red car"}, {QUESTION}]
    assert numbers == sorted(set(numbers)), "it never began anew"


def wait_until_answered(folder: Path, prompts: set[str]) -> None:
    """Until the last result that is stored answers these: frames that were under way have come through."""
    deadline = time.monotonic() + 60
    while True:
        try:
            last = list(read_results(folder, "cam"))[-1:]
        except SinkError:  # nothing is stored yet
            last = []
        if any({str(each.prompt) for each in result.predictions} == prompts for result in last):
            return
        assert time.monotonic() < deadline, last
        time.sleep(0.05)


class Timed(MemorySink):
    """Notes how long after its capture each answer came."""

    def __init__(self) -> None:
        super().__init__()
        self.lags_s: defaultdict[str, list[float]] = defaultdict(list)

    def write(self, segment, rows) -> None:
        for result in rows.results:
            for prediction in result.predictions:
                self.lags_s[str(prediction.prompt)].append(time.time() - result.info.captured_ns / 1e9)
        super().write(segment, rows)


def watched(clip: str, models: dict[str, object], prompts: list[object], **output: object) -> Timed:
    """A clip that plays at its own pace, as a camera; a busy machine leaves no prompt of it out."""
    sink = Timed()
    options = {"realtime": "1", "max_staleness_s": "10"}
    config = check(
        {
            "streams": [{"url": str(clip), "id": "cam", "options": options}],
            "prompts": prompts,
            "models": models,
            "output": output,
            "overload": {"ladder": []},
        }
    )
    executor: Executor = ThreadExecutor()
    run(build_graph(config, make_sinks=lambda: [sink]), executor, starts_of(config, None))
    return sink


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> str:
    return make(tmp_path_factory.mktemp("pools") / "cam.mp4", 50, size=(64, 48), rate=10)


def test_a_slow_model_does_not_hold_up_a_fast_one(clip: str) -> None:
    fast = {"name": "fake", "canvas": {"width": 64, "height": 48}}
    cost_s = 2.0
    slow = {**fast, "options": {"cost_ms": 1000 * cost_s}, "batch": {"max_items": 1}}
    alone = watched(clip, {"fast": fast}, ["depth"]).lags_s["depth"]
    sink = watched(clip, {"fast": fast, "slow": slow}, ["depth", {"prompt": "normals", "model": "slow"}])
    beside = sink.lags_s["depth"]
    assert len(beside) >= 0.9 * len(alone) >= 40, "it is asked as many frames"
    assert median(beside) < median(alone) + cost_s / 4, (
        "behind the slow one it would be half its answer, or more"
    )
    assert max(beside) < max(alone) + cost_s, "less than a single answer of the slow one takes"
    assert 1 <= len(sink.lags_s["normals"]) < len(beside), "which answers what it can"
    frames = [
        result.header.frame_index for result in sink.results if str(result.predictions[0].prompt) == "normals"
    ]
    assert frames == sorted(frames), "in order"


# What is in time is so on a machine that takes many times as long for it, too.
@pytest.mark.parametrize(("cost_ms", "join_s", "together"), [(150, 10.0, True), (1500, 1.0, False)])
def test_masks_of_a_camera_wait_for_their_depth_from_another_model_for_a_while(
    clip: str, cost_ms: float, join_s: float, together: bool
) -> None:
    fast = {"name": "fake", "canvas": {"width": 64, "height": 48}}
    slow = {**fast, "options": {"cost_ms": cost_ms}, "batch": {"max_items": 1}}
    prompts = ["instances:car", {"prompt": "depth", "model": "slow", "every": 10}]
    sink = watched(clip, {"fast": fast, "slow": slow}, prompts, join_s=join_s)
    asked = [result for result in sink.results if result.header.frame_index % 10 == 0]
    both = [result for result in asked if len(result.predictions) == 2]
    assert len(both) >= 3 if together else not both
    frames = [r.header.frame_index for r in sink.results if str(r.predictions[0].prompt) == "instances:car"]
    assert frames == sorted(frames), "in order"
    assert len(frames) == len(set(frames)) >= 40, "each once"
