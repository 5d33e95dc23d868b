"""File systems that lack something: said at the start, and results are stored all the same."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest
import structlog
from pyarrow import fs

import plantain.operators.sinks.parquet.sink as parquet
import plantain.operators.sinks.store as stores
from plantain.operators.errors import SinkBackpressureError
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.parquet.tidy import Keep, Tidy
from plantain.operators.sinks.store import Store, storage_error
from tests.parquet_sinks import NOTHING, rows, seen, sink_at, store


def refuse(code: int) -> Any:
    def refused(*args: Any, **kwargs: Any) -> None:
        raise OSError(code, os.strerror(code))

    return refused


@pytest.mark.parametrize("missing", ["link", "symlink"])
def test_without_links_segments_are_stored_replaced_and_taken_away_and_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(os, missing, refuse(errno.EPERM))
    root = tmp_path / "out"
    with structlog.testing.capture_logs() as logs:
        sink = sink_at(root)
        sink.begin("clip", is_resumed=False)
        assert [entry["event"] for entry in logs] == ["no links"], "before anything is written"
        store(sink, 4, run_id="old")
        assert seen(root) == rows("old", 4)
        store(sink_at(root), 3, run_id="new", is_resumed=True)
        assert seen(root) == rows("new", 3)
    assert len(logs) == 1
    sink_at(root).begin("clip", is_resumed=False)
    assert seen(root) == NOTHING


def test_without_links_days_are_tidied_and_deleted_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refuse(errno.ENOTSUP))
    root = tmp_path / "out"
    sink = sink_at(root)
    for index in range(3):
        store(sink, 2, segment=Segment("clip", 0, index), is_resumed=True)
    tomorrow = Tidy(str(root), lambda _: (0, 3), lambda: time.time_ns() + 86_400 * 10**9)
    before = seen(root)
    assert [change.parts for change in tomorrow.compact()] == [3]
    assert seen(root) == before
    assert len(list(root.glob("frames/*/*.parquet"))) == 1
    list(tomorrow.expire(Keep(rows_s=0)))
    assert seen(root) == NOTHING


def test_a_file_system_that_cannot_sync_is_said_once_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores._say_unsynced.cache_clear()
    monkeypatch.setattr(os, "fsync", refuse(errno.EINVAL))
    with structlog.testing.capture_logs() as logs:
        Store(str(tmp_path / "out")).put("a/b", b"c")
        store(sink_at(tmp_path / "out"), 3)
    assert seen(tmp_path / "out") == rows("run", 3)
    assert [entry["event"] for entry in logs].count("no fsync") == 1


def test_an_object_store_that_throttles_is_waited_for_and_nothing_is_there_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bucket").mkdir()
    bucket = fs.SubTreeFileSystem(str(tmp_path / "bucket"), fs.LocalFileSystem())
    slow = "AWS Error SLOW_DOWN during PutObject operation: Please reduce your request rate"
    refusals = [OSError(slow), OSError(slow)]

    class Throttled:
        """Refuses some uploads, the second one first."""

        num_uploads = 0

        def open_output_stream(self, path: str) -> Any:
            self.num_uploads += 1
            if self.num_uploads > 1 and refusals:
                raise refusals.pop()
            return bucket.open_output_stream(path)

        def __getattr__(self, name: str) -> Any:
            return getattr(bucket, name)

    monkeypatch.setattr(parquet, "open_filesystem", lambda url: (Throttled(), "out"))
    for table in ("frames", "objects"):
        for folder in ("clip", "_shared"):
            (tmp_path / "bucket" / "out" / table / f"stream={folder}").mkdir(parents=True)
    sink = sink_at("s3://bucket/out")
    with pytest.raises(SinkBackpressureError, match="asks for fewer requests"):
        store(sink, 3)
    with pytest.raises(SinkBackpressureError):
        sink.commit(Segment("clip", 0, 0))
    sink.commit(Segment("clip", 0, 0))
    assert seen(tmp_path / "bucket" / "out") == rows("run", 3)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOSPC, "no space is left"),
        (errno.EROFS, "not writable"),
        (errno.EACCES, "not writable"),
        (errno.EDQUOT, "no space is left"),
    ],
)
def test_what_a_disk_refuses_is_said_with_a_remedy(code: int, said: str) -> None:
    assert said in str(storage_error("out", OSError(code, os.strerror(code))))
