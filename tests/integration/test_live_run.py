"""Cameras through the whole pipeline: files played at their own pace, so that the tests need no server."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import ClassVar

import duckdb
import pytest

from plantain.deploy.job import run_job
from plantain.operators.segments import Durable, Position
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.parquet.sink import ParquetSink
from plantain.operators.sinks.rows import Rows
from plantain.operators.sinks.store import Store
from plantain.operators.types import Header
from plantain.pipeline.checkpoint import Checkpoints
from plantain.pipeline.config import PipelineConfig, check
from plantain.pipeline.engine.stream import Phase
from plantain.pipeline.runner import Outcome
from tests.assets import clips


def cameras(folder: Path, num: int, frames: int, **stream: object) -> PipelineConfig:
    clip = clips.make(folder / "clip.mp4", 40)
    return check(
        {
            "streams": [
                {
                    "id": f"cam{k}",
                    "url": str(clip),
                    "max_frames": frames,
                    "options": {"realtime": "yes", "loop": "yes"},
                    **stream,
                }
                for k in range(num)
            ],
            "prompts": ["depth"],
            "model": {"name": "fake", "canvas": {"width": 64, "height": 48}},
            "output": {"out": str(folder / "out"), "segment_frames": 16},
            "read": {"workers": 1},
        }
    )


def assert_books_are_right(outcome: Outcome) -> None:
    for stream in outcome.streams:
        account = stream.account
        gone = account.failed.total() + account.lost.total() + account.skipped.total()
        assert account.decoded == account.results + gone
        assert account.in_flight == 0


def rows(folder: Path) -> list[tuple[str, int, int]]:
    query = (
        f"SELECT stream_id, epoch, count(*) FROM '{folder}/out/frames/*/*.parquet' WHERE status = 'ok' "
        "GROUP BY ALL ORDER BY ALL"
    )
    return duckdb.sql(query).fetchall()


@pytest.mark.timeout(120)
def test_cameras_share_a_reader_and_every_frame_is_in_the_books(tmp_path: Path) -> None:
    outcome = run_job(cameras(tmp_path, num=3, frames=12))
    assert [stream.phase for stream in outcome.streams] == [Phase.DONE] * 3
    assert [stream.account.results for stream in outcome.streams] == [12] * 3
    assert_books_are_right(outcome)
    assert rows(tmp_path) == [("cam0", 0, 12), ("cam1", 0, 12), ("cam2", 0, 12)]


@pytest.mark.timeout(120)
def test_what_is_not_sampled_is_counted_as_not_wanted(tmp_path: Path) -> None:
    outcome = run_job(cameras(tmp_path, num=1, frames=4, fps=5))
    (stream,) = outcome.streams
    assert stream.account.results == 4
    assert stream.account.skipped["not sampled"] > 0
    assert_books_are_right(outcome)


@pytest.mark.timeout(120)
def test_a_camera_that_is_watched_again_begins_a_new_epoch_and_keeps_what_was_stored(tmp_path: Path) -> None:
    for _ in range(2):
        assert run_job(cameras(tmp_path, num=1, frames=6)).exit_code == 0
    assert rows(tmp_path) == [("cam0", 0, 6), ("cam0", 1, 6)]


class Witness(ParquetSink):
    """Looks, whenever results come, which epoch the checkpoint knows."""

    seen: ClassVar[list[tuple[int, int]]] = []

    def __init__(self, url: str, run_id: str) -> None:
        del run_id
        super().__init__(url)

    def write(self, segment: Segment, rows: Rows) -> None:
        durable = Checkpoints(Store(self.url)).load(segment.stream_id)
        self.seen.append((segment.epoch, -1 if durable is None else durable.epoch))
        super().write(segment, rows)


@pytest.mark.timeout(120)
def test_an_epoch_is_on_disk_before_any_result_of_it_leaves(tmp_path: Path) -> None:
    """Killed at any moment, a run leaves an epoch behind that the next one does not use again."""
    config = cameras(tmp_path, num=1, frames=6)
    sinks = (f"{Witness.__module__}:{Witness.__name__}",)
    config = config.model_copy(update={"output": config.output.model_copy(update={"sinks": sinks})})
    for _ in range(3):
        assert run_job(config).exit_code == 0
    module = importlib.import_module(Witness.__module__)
    assert {epoch for epoch, _ in module.Witness.seen} == {0, 1, 2}
    assert all(known == epoch for epoch, known in module.Witness.seen)


def test_a_live_stream_that_has_to_go_back_loses_what_was_in_flight_and_says_so(tmp_path: Path) -> None:
    from plantain.operators.streams import Start, StreamSpec
    from plantain.pipeline.engine.stream import Stream

    stream = Stream.of(Start.fresh(StreamSpec("cam", "rtsp://127.0.0.1/x"), (), is_live=True))
    stream.account.begin(stream.start.durable)
    stream.phase, stream.epoch = Phase.READING, 2
    for number in range(10):
        header = Header("cam", 2, number, prompts=("depth",))
        stream.account.enter([header], ("depth", "normals"))
        if number < 7:
            stream.account.leave(header, {})
    stream.num_items = 3
    stream.take_durable(Durable("cam", 2, Position(5, None, 5), answers=(("depth", "", 5),)))
    stream.rewind()
    assert (stream.account.results, stream.account.lost) == (5, {"worker died": 5})
    depth, normals = stream.account.prompts.values()
    assert (depth.decoded, depth.results, depth.lost) == (10, 5, {"worker died": 5})
    assert (normals.decoded, normals.results, normals.skipped) == (10, 0, {"not due": 10})
    assert stream.account.in_flight == depth.in_flight == normals.in_flight == 0
    assert stream.start.durable == Durable("cam", 3, Position())
