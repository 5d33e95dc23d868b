from __future__ import annotations

import os
from pathlib import Path

import pytest
from pyarrow import fs

from plantain.operators.errors import SinkError
from plantain.operators.sinks import store
from plantain.operators.sinks.store import Store, open_filesystem


@pytest.fixture(params=["path", "file url", "object store"])
def kept(request, tmp_path, monkeypatch) -> Store:
    if request.param == "path":
        return Store(str(tmp_path / "out"))
    if request.param == "file url":
        return Store(f"file://{tmp_path}/out")
    bucket = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    monkeypatch.setattr(store, "open_filesystem", lambda url: (bucket, "out"))
    (tmp_path / "out" / "a").mkdir(parents=True)
    return Store("s3://bucket/out")


def test_what_is_put_is_got_replaced_listed_and_deleted(kept):
    assert kept.get("a/one.json") is None
    kept.put("a/one.json", b"1")
    kept.put("a/two.json", b"2")
    kept.put("a/one.json", b"11")
    assert kept.get("a/one.json") == b"11"
    assert kept.names("a") == ["a/one.json", "a/two.json"]
    kept.delete("a/one.json")
    kept.delete("a/one.json")
    assert kept.names("a") == ["a/two.json"]
    assert kept.names("nowhere") == []


def test_a_blob_is_replaced_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    kept = Store(str(tmp_path))
    kept.put("one", b"old")

    def refuse(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(SinkError, match="no space is left"):
        kept.put("one", b"new")
    assert kept.get("one") == b"old"


def test_names_are_those_below_a_folder_too(tmp_path):
    kept = Store(str(tmp_path))
    kept.put("frames/stream=a/part.parquet", b"")
    assert kept.names("frames") == ["frames/stream=a/part.parquet"]


def test_a_folder_that_is_a_file_holds_nothing_and_takes_nothing(tmp_path):
    (tmp_path / "out").write_text("mine")
    kept = Store(str(tmp_path / "out"))
    assert kept.get("one") is None
    with pytest.raises(SinkError, match="it is not a folder; choose another --out"):
        kept.put("one", b"1")


def test_relative_paths_are_under_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    filesystem, path = open_filesystem("out")
    assert isinstance(filesystem, fs.LocalFileSystem)
    assert Path(path) == tmp_path / "out"


def test_an_unknown_scheme_is_refused_without_its_secrets():
    with pytest.raises(SinkError, match=r"cannot open floppy://a/b") as caught:
        open_filesystem("floppy://me:secret@a/b")
    assert "secret" not in str(caught.value)
