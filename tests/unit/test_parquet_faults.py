"""The Parquet sink in trouble: segments are there as a whole or not at all, at every moment and for every reader."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyarrow import fs

import plantain.operators.sinks.parquet.local as local
import plantain.operators.sinks.parquet.sink as parquet
from plantain.operators.errors import SinkError
from plantain.operators.sinks.base import Segment
from tests.file_faults import Faults, Killed, copy_tree
from tests.parquet_sinks import NOTHING, SEGMENT, rows, seen, seen_by_duckdb, sink_at, store
from tests.results import result, written


@pytest.fixture(autouse=True)
def links_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking for them is no change that matters, and doubles the time of some tests."""
    monkeypatch.setattr(local, "has_links", lambda folder: True)


def first_time(root: Path) -> tuple[Any, Any]:
    del root
    return NOTHING, rows("new", 3)


def replacing(root: Path) -> tuple[Any, Any]:
    old = sink_at(root)
    store(old, 4, run_id="old")
    old.close()
    return rows("old", 4), rows("new", 3)


def commit_new(root: Path) -> None:
    """What the runs below do that are killed: replace segment 0, from a position behind it."""
    sink = sink_at(root)
    try:
        store(sink, 3, run_id="new", is_resumed=True)
    finally:
        sink.close()


def start_anew(root: Path) -> None:
    sink = sink_at(root)
    try:
        sink.begin("clip", is_resumed=False)
    finally:
        sink.close()


def every_fault(
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException] | OSError,
    work: Callable[[Path], None],
    root: Path,
) -> Iterator[Path]:
    """Does `work` in copies of `root`, hit by a fault after every number of changes, and gives each copy."""
    for num_good in range(1000):
        copy = root.with_name(f"{root.name}-{num_good}")
        copy_tree(root, copy)
        with monkeypatch.context() as patched:
            faults = Faults(patched, error, num_good)
            with contextlib.suppress(Killed, SinkError):
                work(copy)
        if not faults.hit:
            return
        yield copy
    raise AssertionError("it never got to its end")


@pytest.mark.parametrize("before", [first_time, replacing])
def test_killed_after_any_change_a_reader_sees_all_of_the_old_or_all_of_the_new(
    tmp_path, monkeypatch, before
):
    root = tmp_path / "out"
    root.mkdir()
    old, new = before(root)
    outcomes = []
    for copy in every_fault(monkeypatch, Killed, commit_new, root):
        found = seen(copy)
        assert found in (old, new)
        assert seen_by_duckdb(copy) == found
        outcomes.append(found)
        commit_new(copy)
        assert seen(copy) == new
        assert not list(copy.glob(".plantain/segments/clip/*")), "the workshop is left tidy"
        assert not any(path.is_symlink() for path in copy.rglob("*"))
    assert outcomes == sorted(outcomes, key=lambda found: found == new), "new is never taken back"
    assert outcomes[0] == old
    assert outcomes[-1] == new


@pytest.mark.parametrize("before", [first_time, replacing])
def test_killed_again_while_it_tidies_up_after_a_kill(tmp_path, monkeypatch, before):
    root = tmp_path / "out"
    root.mkdir()
    _old, _new = before(root)

    def resume(copy: Path) -> None:
        sink_at(copy).begin("clip", is_resumed=True)

    for copy in list(every_fault(monkeypatch, Killed, commit_new, root))[8::3]:
        found = seen(copy)
        for twice in every_fault(monkeypatch, Killed, resume, copy):
            assert seen(twice) == found, "tidying up changes nothing that a reader sees"
        resume(copy)
        assert seen(copy) == found


def test_killed_while_it_starts_over_no_reader_sees_half_a_segment(tmp_path, monkeypatch):
    root = tmp_path / "out"
    sink = sink_at(root)
    store(sink, 2, run_id="old")
    sink.write(Segment("clip", 0, 1), written(result(10)))
    sink.commit(Segment("clip", 0, 1))
    sink.close()
    for copy in every_fault(monkeypatch, Killed, start_anew, root):
        found = seen(copy)
        assert found["frames"] == found["objects"]
        start_anew(copy)
        assert seen(copy) == NOTHING


@pytest.mark.parametrize("before", [first_time, replacing])
def test_a_disk_that_is_full_for_a_moment_leaves_whole_segments(tmp_path, monkeypatch, before):
    root = tmp_path / "out"
    root.mkdir()
    old, new = before(root)
    full = OSError(errno.ENOSPC, "No space left on device")
    for copy in every_fault(monkeypatch, full, commit_new, root):
        assert seen(copy) in (old, new)
        commit_new(copy)
        assert seen(copy) == new


# -- trouble with the disk -------------------------------------------------------------------------------


class FullDisk:
    """Refuses every write to a Parquet file from the start or when it is closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pq.ParquetWriter, "write_table", self._refuse)
        monkeypatch.setattr(pq.ParquetWriter, "close", self._refuse)

    @staticmethod
    def _refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_so_and_closing_is_still_possible(tmp_path, monkeypatch):
    sink = sink_at(tmp_path / "out")
    sink.begin("clip", is_resumed=False)
    sink.write(SEGMENT, written(result(0)))
    with monkeypatch.context() as patched:
        FullDisk(patched)
        with pytest.raises(
            SinkError, match=r"no space is left for results in .*out: free some and run the same"
        ):
            sink.commit(SEGMENT)
        sink.write(Segment("clip", 0, 1), written(result(5)))
        sink.close()
    store(sink_at(tmp_path / "out"))
    assert seen(tmp_path / "out") == rows("run", 3)


def test_a_file_where_a_folder_should_be_is_said_so(tmp_path):
    (tmp_path / "out").write_text("I was here first")
    with pytest.raises(
        SinkError, match=r"results cannot be written to .*out: it is not a folder; choose another"
    ):
        sink_at(tmp_path / "out").begin("clip", is_resumed=False)


def test_a_folder_that_may_not_be_written_is_said_so(tmp_path, monkeypatch):
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "out")

    monkeypatch.setattr(os, "mkdir", refuse)  # root may write anywhere, so permissions alone would not do
    with pytest.raises(
        SinkError, match=r"results cannot be written to .*: it is not writable; choose another"
    ):
        sink_at(tmp_path / "out").begin("clip", is_resumed=False)


def test_an_unknown_kind_of_store_is_said_so():
    with pytest.raises(SinkError, match="cannot open floppy://a/out"):
        sink_at("floppy://a/out")


# -- object stores -----------------------------------------------------------------------------------------


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A folder that behaves as an object store does: no renames, no links."""
    (tmp_path / "bucket").mkdir()
    store_ = fs.SubTreeFileSystem(str(tmp_path / "bucket"), fs.LocalFileSystem())
    monkeypatch.setattr(parquet, "open_filesystem", lambda url: (store_, "out"))
    return tmp_path / "bucket" / "out"


def test_on_an_object_store_parts_are_put_whole_and_replaced(bucket):
    sink = sink_at("s3://bucket/out")
    store(sink, 4, run_id="old")
    assert seen(bucket) == rows("old", 4)
    again = sink_at("s3://bucket/out")
    store(again, 3, run_id="new", is_resumed=True)
    assert seen(bucket) == rows("new", 3)
    assert seen_by_duckdb(bucket) == rows("new", 3)
    again.begin("clip", is_resumed=False)
    assert seen(bucket) == NOTHING


def test_on_an_object_store_objects_are_there_before_their_frames(bucket):
    sink = sink_at("s3://bucket/out")
    sink.begin("clip", is_resumed=False)
    sink.write(SEGMENT, written(result(0)))
    (bucket / "frames").mkdir(parents=True)
    (bucket / "frames" / "stream=clip").write_text("in the way")
    with pytest.raises(SinkError, match="s3://bucket/out"):
        sink.commit(SEGMENT)
    assert [index for _, index in seen(bucket)["objects"]] == [0, 0]
