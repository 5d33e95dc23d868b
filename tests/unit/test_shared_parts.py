"""Parts that several cameras share: few files and few fsyncs, however many cameras are committed together."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import pytest

from plantain.operators.errors import SinkError
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.parquet.reading import read_frames, read_objects, read_results
from plantain.operators.sinks.parquet.sink import ParquetSink
from plantain.operators.sinks.rows import Rows
from tests.results import result

CAMERAS = [f"cam{k}" for k in range(20)]


def filled(out: Path, streams: list[str], index: int = 0, *, is_live: bool = True, **options) -> ParquetSink:
    """A sink with a segment of two frames of each stream that nobody has committed."""
    sink = ParquetSink(str(out), **options)
    for stream_id in streams:
        sink.begin(stream_id, is_resumed=True)
        made = [result(2 * index + k, stream_id=stream_id) for k in (0, 1)]
        sink.write(Segment(stream_id, 0, index, is_live), Rows(made, "run", "rtsp://x"))
    return sink


def segments(streams: list[str], index: int = 0, *, is_live: bool = True) -> list[Segment]:
    return [Segment(stream_id, 0, index, is_live) for stream_id in streams]


def parts(out: Path, table: str) -> list[Path]:
    return sorted(out.glob(f"{table}/*/*.parquet"))


def test_cameras_that_are_committed_together_share_a_part_of_each_table(tmp_path: Path) -> None:
    filled(tmp_path, CAMERAS).commit_together(segments(CAMERAS))
    assert [len(parts(tmp_path, table)) for table in ("frames", "objects")] == [1, 1]
    everything = read_frames(tmp_path, ["stream_id", "frame_index"])
    assert sorted(set(everything["stream_id"])) == sorted(CAMERAS)
    assert [each.header.frame_index for each in read_results(tmp_path, "cam7")] == [0, 1]
    assert set(read_objects(tmp_path, ["stream_id"], stream_id="cam3")["stream_id"]) == {"cam3"}
    counted = duckdb.sql(
        f"SELECT stream_id, count(*) FROM read_parquet('{tmp_path}/frames/*/*.parquet', hive_partitioning = true) "
        "GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert [name for name, _ in counted] == sorted(CAMERAS)
    assert {count for _, count in counted} == {4}


def test_a_commit_costs_one_fsync_a_table_whatever_the_number_of_cameras(tmp_path: Path, monkeypatch) -> None:
    sink = filled(tmp_path, CAMERAS)
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(descriptor), fsync(descriptor)))
    sink.commit_together(segments(CAMERAS))
    assert len(synced) <= 3


def test_files_keep_parts_of_their_own_which_can_be_made_again(tmp_path: Path) -> None:
    files = ["clip1", "clip2"]
    sink = filled(tmp_path, [*files, *CAMERAS[:2]])
    for stream_id in files:
        sink.forget(stream_id)
        sink.write(Segment(stream_id, 0, 0), Rows([result(0, stream_id=stream_id)], "run"))
    sink.commit_together([*segments(files, is_live=False), *segments(CAMERAS[:2])])
    folders = {path.parent.name for path in parts(tmp_path, "frames")}
    assert folders == {"stream=clip1", "stream=clip2", "stream=_shared"}


def test_nothing_is_shared_where_somebody_names_the_parts(tmp_path: Path) -> None:
    filled(tmp_path, CAMERAS[:3], shares=False).commit_together(segments(CAMERAS[:3]))
    assert len(parts(tmp_path, "frames")) == 3


def test_a_stream_that_is_begun_anew_leaves_the_parts_that_it_shared(tmp_path: Path) -> None:
    filled(tmp_path, CAMERAS[:3]).commit_together(segments(CAMERAS[:3]))
    ParquetSink(str(tmp_path)).begin("cam1", is_resumed=False)
    assert set(read_frames(tmp_path, ["stream_id"])["stream_id"]) == {"cam0", "cam2"}
    for stream_id in ("cam0", "cam2"):
        ParquetSink(str(tmp_path)).begin(stream_id, is_resumed=False)
    assert parts(tmp_path, "frames") == parts(tmp_path, "objects") == []


@pytest.mark.parametrize("at", ["fsync", "the folder's rename", "the first file's rename"])
def test_a_crash_while_parts_are_shared_leaves_all_of_it_or_nothing(
    tmp_path: Path, monkeypatch, at: str
) -> None:
    filled(tmp_path, CAMERAS).commit_together(segments(CAMERAS))
    sink = filled(tmp_path, CAMERAS, 1)
    renames = {"the folder's rename": 0, "the first file's rename": 1}
    rename, done = Path.rename, []

    def dying(path: Path, target: Path) -> Path:
        if len(done) == renames[at]:
            raise OSError("the machine is gone")
        done.append(path)
        return rename(path, target)

    def torn(descriptor: int) -> None:
        raise OSError("the machine is gone")

    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 2**30)  # of nobody who lives
        if at == "fsync":
            patch.setattr(os, "fsync", torn)
        else:
            patch.setattr(Path, "rename", dying)
        with pytest.raises(SinkError, match="the machine is gone"):
            sink.commit_together(segments(CAMERAS, 1))
    ParquetSink(str(tmp_path))  # whoever opens the folder next
    rows = read_frames(tmp_path, ["stream_id", "frame_index"])
    assert len(set(zip(*rows.values(), strict=True))) == (80 if at == "the first file's rename" else 40)
    assert not list((tmp_path / ".plantain" / "shared").iterdir())


def test_what_another_writer_is_at_is_left_to_it(tmp_path: Path) -> None:
    filled(tmp_path, CAMERAS[:2]).commit_together(segments(CAMERAS[:2]))
    at_work = tmp_path / ".plantain" / "shared" / f"part-1-{os.getpid()}.parquet.new"
    at_work.mkdir()
    ParquetSink(str(tmp_path))
    assert at_work.exists()
