"""Inputs that are no plain file of one recording: each has its rows, or one true sentence, and the others go on."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from PIL import Image

from plantain.operators.decode.container import open_video
from plantain.operators.errors import SourceError
from plantain.operators.sources.recordings import Recordings
from tests.assets.clips import make
from tests.field.runs import indices, run


def pipe(path: Path) -> None:
    os.mkfifo(path)


def plug(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def to_device(path: Path) -> None:
    path.symlink_to("/dev/tty")


@pytest.mark.parametrize("odd", [pipe, plug, to_device])
def test_what_may_never_end_is_not_waited_for(tmp_path: Path, odd) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    odd(folder / "a.mp4")
    make(folder / "b.mp4", 3, size=(64, 48))
    with pytest.raises(SourceError, match="a pipe or a device"):
        open_video(str(folder / "a.mp4"))
    outcome = run([folder], tmp_path / "out")
    assert outcome.exit_code == 1
    assert [stream.stream_id for stream in outcome.failed] == ["a"]
    assert indices(tmp_path / "out", "b") == [0, 1, 2]
    found = Recordings(folder)
    found.look(0.0)
    assert [path.name for path in found.due(100.0)] == ["b.mp4"]


@pytest.mark.parametrize("odd", [pipe, plug, to_device])
def test_a_still_that_is_none_is_counted_and_passed_over(tmp_path: Path, odd) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    odd(folder / "a.png")
    Image.new("RGB", (64, 48)).save(folder / "b.png")
    outcome = run([folder], tmp_path / "out")
    assert (outcome.exit_code, outcome.streams[0].num_damaged) == (0, 1)
    assert len(indices(tmp_path / "out")) == 1
