"""One suite over every place where workers live: the rows must be identical."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from plantain.deploy.job import run_job
from plantain.deploy.ray.executor import RayExecutor
from plantain.operators.errors import ModelUnavailableError
from plantain.pipeline.calls import Call
from plantain.pipeline.config import PipelineConfig, check
from plantain.pipeline.engine.stream import Phase
from plantain.pipeline.executor import InlineExecutor
from plantain.pipeline.graph import Graph
from tests.assets.clips import make
from tests.stored import Row, key_of, rows_in

FRAMES = 24
PROMPTS = ["depth", "normals", "semantic:dark,bright", "instances:bar", "refer:the bright bar"]
REFUSED = (3, 4, 17)

Rows = dict[str, list[Row]]


class KillingExecutor(RayExecutor):
    """A Ray whose workers of one stage are killed once, as the kernel does when memory runs out.

    Args:
        stage: Whose workers.
        after_calls: Calls that they are given before.
    """

    def __init__(self, stage: str, after_calls: int) -> None:
        super().__init__()
        self._stage = stage
        self._calls_left = after_calls
        self._victims: list[int] = []

    @property
    def has_killed(self) -> bool:
        return self._calls_left == 0

    def start(self, graph: Graph) -> None:
        super().start(graph)
        self._victims = self.actor_pids(self._stage)

    def submit(self, call: Call) -> None:
        super().submit(call)
        if call.stage == self._stage and self._calls_left:
            self._calls_left -= 1
            if not self._calls_left:
                for pid in self._victims:
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    return [
        make(folder / f"{name}.mp4", FRAMES, size=(64, 48), rate=rate)
        for name, rate in (("anna", 25), ("bert", 10), ("cara", 30))
    ]


def config_of(clips: list[Path], out: Path, model: str = "PickyModel") -> PipelineConfig:
    """Three streams, five questions; frames that the model refuses, and a source that breaks."""
    streams = [{"url": str(clip), "id": clip.stem} for clip in clips]
    streams[2]["source"] = "tests.plugins:TornSource"
    return check(
        {
            "streams": streams,
            "prompts": PROMPTS,
            "model": {"name": f"tests.plugins:{model}", "options": {"refuses": ",".join(map(str, REFUSED))}},
            "read": {"workers": 2, "chunk_frames": 5, "max_frames_in_flight": 30},
            "batch": {"max_items": 4, "max_wait_ms": 5},
            "output": {"out": str(out), "segment_frames": 10},
        }
    )


@pytest.fixture(scope="module")
def expected(clips, tmp_path_factory) -> Rows:
    """The rows of the simplest executor, which the other tests check in detail."""
    out = tmp_path_factory.mktemp("inline")
    run_job(config_of(clips, out), executor=InlineExecutor())
    return rows_in(out)


def test_rows_and_outcome_are_the_same_everywhere(executor, clips, tmp_path, expected):
    outcome = run_job(config_of(clips, tmp_path), executor=executor)
    assert rows_in(tmp_path) == expected
    streams = {stream.stream_id: stream for stream in outcome.streams}
    assert [streams[name].phase for name in ("anna", "bert", "cara")] == [
        Phase.DONE,
        Phase.DONE,
        Phase.FAILED,
    ]
    assert streams["cara"].error == "OSError: the tape is torn"
    assert outcome.exit_code == 1
    for name, count in (("anna", FRAMES), ("bert", FRAMES), ("cara", 13)):
        account = streams[name].account
        refused = sum(number < count for number in REFUSED)
        assert (account.decoded, account.results, account.failed["infer"]) == (
            count,
            count - refused,
            refused,
        )


def test_every_frame_has_one_row_for_each_prompt_in_order(expected):
    for name, count in (("anna", FRAMES), ("bert", FRAMES), ("cara", 13)):
        rows = [row for row in expected["frames"] if row["stream_id"] == name]
        assert [row["frame_index"] for row in rows] == [index for index in range(count) for _ in PROMPTS]
        assert len({row["prompt"] for row in rows}) == len(PROMPTS)


def test_frames_that_the_model_refused_are_failed_with_the_reason_and_the_others_are_not(expected):
    for row in expected["frames"]:
        if row["frame_index"] in REFUSED:
            assert (row["status"], row["num_objects"], row["raster"]) == ("failed", None, None)
            assert row["reason"] == f"infer: ValueError: I will not look at {row['frame_index']}"
        else:
            assert (row["status"], row["reason"]) == ("ok", None)
    assert not {row["frame_index"] for row in expected["objects"]} & {*REFUSED}


def test_objects_are_counted_in_their_frames_row(expected):
    counted = {key_of(row): row["num_objects"] for row in expected["frames"] if row["num_objects"]}
    assert counted
    assert counted == Counter(map(key_of, expected["objects"]))
    assert {row["distance_m"] is None for row in expected["objects"]} != {True}, (
        "depth was asked of each frame"
    )


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(("stage", "after_calls"), [("read", 7), ("infer", 5), ("analyse", 6), ("write", 6)])
def test_a_killed_worker_changes_nothing(stage, after_calls, clips, tmp_path, expected):
    executor = KillingExecutor(stage, after_calls)
    outcome = run_job(config_of(clips, tmp_path), executor=executor)
    assert executor.has_killed
    assert rows_in(tmp_path) == expected
    assert [stream.error for stream in outcome.streams] == ["", "", "OSError: the tape is torn"]


def test_a_model_that_cannot_run_here_is_said_before_anything_is_read(executor, clips, tmp_path):
    with pytest.raises(ModelUnavailableError, match="needs a quantum computer"):
        run_job(config_of(clips, tmp_path, "Unavailable"), executor=executor)
    assert not list(tmp_path.glob("frames/*/*"))
