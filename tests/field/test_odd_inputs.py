"""Inputs that are no plain file of one recording: each has its rows, or one true sentence, and the others go on."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from PIL import Image

from plantain.operators.decode.container import open_video
from plantain.operators.errors import SourceError, UsageError
from plantain.operators.models.fake import FakeModel
from plantain.operators.sources.recordings import Recordings
from tests.assets.clips import make
from tests.field.runs import CANVAS, indices, run


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


class Meddling(FakeModel):
    """Does something to a file when it is asked for the first time."""

    name = "meddling"
    do: ClassVar[Callable[[], object]]

    def answer(self, frames, image_of, prompts):
        Meddling.do()
        Meddling.do = int
        return super().answer(frames, image_of, prompts)


def cut(path: Path, other: bytes) -> None:
    os.truncate(path, path.stat().st_size // 3)


def write_over(path: Path, other: bytes) -> None:
    with path.open("r+b") as file:
        file.write(other)
        file.truncate()


def put_in_its_place(path: Path, other: bytes) -> None:
    path.with_suffix(".new").write_bytes(other)
    path.with_suffix(".new").replace(path)


def take_away(path: Path, other: bytes) -> None:
    path.unlink()


def lengthen(path: Path, other: bytes) -> None:
    with path.open("ab") as file:
        file.write(path.read_bytes()[: 188 * 4])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("do", "is_well"),
    [(cut, False), (write_over, False), (put_in_its_place, True), (take_away, True), (lengthen, True)],
)
def test_a_file_that_is_written_over_while_it_is_read_is_not_complete(tmp_path, do, is_well, threads) -> None:
    path = make(tmp_path / "a.ts", 200, size=(256, 192), gop=10)
    other = make(tmp_path / "b.ts", 120, size=(128, 96), gop=10).read_bytes()
    Meddling.do = lambda: do(path, other)
    model = {"name": f"{__name__}:Meddling", "canvas": CANVAS}
    outcome = run([path], tmp_path / "out", threads=threads, model=model)
    assert outcome.exit_code == (0 if is_well else 1)
    if not is_well:
        assert "while it was read" in outcome.failed[0].error
        with pytest.raises(UsageError, match="--replace"):
            run([path], tmp_path / "out", threads=threads, model=model)
    elif do is not lengthen:
        assert indices(tmp_path / "out") == list(range(200))


@pytest.mark.parametrize("threads", [1, 2])
def test_recordings_that_were_joined_under_other_numbers_are_not_complete_with_the_first(
    tmp_path, threads
) -> None:
    other = {"mpegts_pmt_start_pid": "0x1020", "mpegts_start_pid": "0x300"}
    one = make(tmp_path / "one.ts", 20, size=(64, 48))
    two = make(tmp_path / "two.ts", 12, size=(64, 48), container_options=other)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(one.read_bytes() + two.read_bytes())
    outcome = run([joined], tmp_path / "out", threads=threads)
    assert outcome.exit_code == 1
    assert "goes on in another video stream" in outcome.failed[0].error
    assert indices(tmp_path / "out") == list(range(20)), "what was read is stored"
    for stream, count in (("0", 20), ("1", 12)):
        named = {"url": str(joined), "options": {"stream": stream}}
        assert run([named], tmp_path / stream).exit_code == 0
        assert indices(tmp_path / stream) == list(range(count))


def test_streams_beside_each_other_are_no_matter(tmp_path) -> None:
    path = make(tmp_path / "two.ts", 20, size=(128, 96), num_streams=2)
    assert run([path], tmp_path / "out").exit_code == 0
    assert indices(tmp_path / "out") == list(range(20))


@pytest.mark.parametrize("said", [errno.EIO, errno.ESTALE])
def test_a_disk_that_is_away_for_a_moment_damages_no_still(tmp_path, monkeypatch, said) -> None:
    folder, away = tmp_path / "in", [2, 3, 9]
    folder.mkdir()
    for number in range(12):
        Image.new("RGB", (64, 48)).save(folder / f"{number}.png")

    def opened(file: Path) -> Image.Image:
        if away and file.stem == str(away[0]):
            away.pop(0)
            raise OSError(said, os.strerror(said))
        return Image.open(file)

    monkeypatch.setattr("plantain.operators.sources.images._opened", opened)
    outcome = run([folder], tmp_path / "out", executor="threads")
    assert (outcome.exit_code, outcome.streams[0].num_damaged, away) == (0, 0, [])
    assert indices(tmp_path / "out") == list(range(12))


@pytest.mark.parametrize("num_gone", [1, 20, 40])
def test_stills_that_vanish_while_they_are_read_are_no_damage(tmp_path, num_gone) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(40):
        Image.new("RGB", (64, 48)).save(folder / f"{number}.png")
    (folder / "0b.png").symlink_to("nothing")
    gone = [folder / f"{number}.png" for number in range(40 - num_gone, 40)]
    Meddling.do = lambda: [path.rename(tmp_path / path.name) for path in gone]
    model = {"name": f"{__name__}:Meddling", "canvas": CANVAS}
    outcome = run([folder], tmp_path / "out", model=model)
    assert outcome.exit_code == 1
    assert "cannot be reached any more" in outcome.failed[0].error
    assert outcome.streams[0].num_damaged == 1, "the link that leads nowhere"
    for path in gone:
        (tmp_path / path.name).rename(path)
    assert run([folder], tmp_path / "out", model=model).exit_code == 0
    assert len(indices(tmp_path / "out")) == 40


@pytest.mark.parametrize("name", ["streams.json", "run.json", "deleted.json"])
@pytest.mark.parametrize("content", [b"", b'{"x"', b"[]", b"\xff\xfe", b"null"])
def test_bookkeeping_that_is_damaged_is_one_sentence(tmp_path, name, content) -> None:
    clip = make(tmp_path / "a.mp4", 3, size=(64, 48))
    run([clip], tmp_path / "out")
    (tmp_path / "out" / ".plantain" / name).write_bytes(content)
    with pytest.raises(UsageError, match=f"{name} in the output folder is damaged"):
        run([clip], tmp_path / "out")
