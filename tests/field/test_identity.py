"""A path is not a file: replaced, grown, cut and copied inputs, and new siblings."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plantain.operators.errors import UsageError
from plantain.operators.segments import Position
from plantain.operators.sinks.parquet.reading import read_frames
from plantain.operators.sources.identity import Change, change_of, identity_of
from plantain.operators.streams import StreamSpec
from tests.assets.clips import cut_off, make
from tests.field.films import film, still
from tests.field.killed import run_killed
from tests.field.runs import indices, rows, run


@pytest.mark.parametrize(
    ("name", "codec", "before", "after"),
    [
        ("a.ts", "mpeg2video", 40, 55),
        ("a.mp4", "libx264", 40, 33),
        ("a.mkv", "libx264", 20, 60),
        ("a.avi", "mpeg4", 30, 31),
        ("a.webm", "libvpx", 20, 24),
    ],
)
@pytest.mark.parametrize("is_begun", [False, True])
def test_another_film_under_the_same_name_is_refused_or_done_anew(
    tmp_path: Path, name: str, codec: str, before: int, after: int, is_begun: bool
) -> None:
    clip, out = tmp_path / name, tmp_path / "out"
    make(clip, before, codec=codec, size=(64, 48), b_frames=0)
    first = {"url": str(clip), "max_frames": 18} if is_begun else clip
    run([first], out)
    made = indices(out)
    make(clip, after, codec=codec, size=(96, 64), b_frames=0, gop=7)
    with pytest.raises(UsageError, match=r"a.*is not what it was.*--replace does it anew"):
        run([first], out)
    assert indices(out) == made, "refused is refused"
    assert run([first], out, replace=True).exit_code == 0
    assert indices(out) == list(range(18 if is_begun else after))
    assert run([first], out).exit_code == 0


def test_films_that_take_the_place_of_those_that_a_killed_run_was_at_share_no_rows_with_them(
    tmp_path: Path,
) -> None:
    codecs = {
        "a.ts": "mpeg2video",
        "b.mp4": "libx264",
        "c.mkv": "libx264",
        "d.avi": "mpeg4",
        "e.webm": "libvpx",
    }
    clips, out = [tmp_path / name for name in codecs], tmp_path / "out"
    for clip in clips:
        make(clip, 90, codec=codecs[clip.name], size=(64, 48), b_frames=0)
    run_killed(clips, out)
    state = json.loads((out / ".plantain" / "streams.json").read_bytes())
    assert not all(stream["durable"]["is_complete"] for stream in state.values()), "in the middle"
    left = rows(out)
    assert len(left) >= 16
    for clip in clips:
        make(clip, 40, codec=codecs[clip.name], size=(96, 64), b_frames=0, gop=7)
    with pytest.raises(UsageError) as refusal:
        run(clips, out)
    assert str(refusal.value).count("--replace does it anew") == len(clips)
    assert rows(out) == left, "refused is refused"
    assert run(clips, out, replace=True).exit_code == 0
    assert [indices(out, clip.stem) for clip in clips] == [[*range(40)]] * len(clips)
    assert {*read_frames(out, ["width"])["width"].tolist()} == {96}


def test_a_killed_run_goes_on_with_what_is_still_there(tmp_path: Path) -> None:
    clips, out = [film(tmp_path / f"{name}.ts", 70) for name in "ab"], tmp_path / "out"
    run_killed(clips, out)
    assert run(clips, out).exit_code == 0
    run(clips, tmp_path / "undisturbed")
    assert rows(out) == rows(tmp_path / "undisturbed")


def _noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(3).bytes(3000))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut_short(path: Path) -> None:
    cut_off(make(path.with_name("whole.mp4"), 30, codec="mpeg4", size=(64, 48), b_frames=0), path, 0.4)
    path.with_name("whole.mp4").unlink()


@pytest.mark.parametrize("spoil", [_noise, _empty, _cut_short])
@pytest.mark.parametrize("name", ["b.mp4", "b.ts", "b.mkv"])
def test_what_could_not_be_read_is_begun_anew_when_it_is_repaired(
    tmp_path: Path, name: str, spoil: Callable[[Path], None]
) -> None:
    folder, out = tmp_path / "films", tmp_path / "out"
    film(folder / "a.ts", 6)
    spoil(folder / name)
    assert run([folder], out).exit_code == 1
    make(folder / name, 20, codec="mpeg4", size=(64, 48), b_frames=0)
    film(folder / "c.ts", 7)
    assert run([folder], out).exit_code == 0
    assert [len(indices(out, stream)) for stream in "abc"] == [6, 20, 7]
    make(folder / name, 21, codec="mpeg4", size=(64, 48), b_frames=0, gop=3)
    with pytest.raises(UsageError, match="--replace"):
        run([folder], out)


def test_one_replaced_file_is_refused_alone_and_the_others_go_on(tmp_path: Path) -> None:
    folder, out = tmp_path / "films", tmp_path / "out"
    film(folder / "a.ts", 6)
    film(folder / "b.ts", 20)
    assert run([folder], out).exit_code == 0
    make(folder / "b.ts", 9, codec="mpeg4", size=(96, 64), b_frames=0, gop=3)
    for by, name in (("inline", "c"), ("threads", "d")):
        film(folder / f"{name}.ts", 7)
        outcome = run([folder], out, executor=by)
        assert outcome.exit_code == 1
        assert [stream.stream_id for stream in outcome.failed] == ["b"]
        assert "b.ts is not what it was" in outcome.failed[0].error
        assert "--replace does it anew" in outcome.failed[0].error
        assert [len(indices(out, stream)) for stream in ("a", "b", name)] == [6, 20, 7]
    with pytest.raises(UsageError, match="--replace"):
        run([folder], out)  # nothing else is left to do
    assert run([folder], out, replace=True).exit_code == 0
    assert [len(indices(out, stream)) for stream in "abcd"] == [6, 9, 7, 7]


@pytest.mark.parametrize("spoil", [_noise, _empty])
def test_stills_of_which_none_could_be_read_are_begun_anew_when_they_are_repaired(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    folder, out = tmp_path / "stills", tmp_path / "out"
    folder.mkdir()
    spoil(folder / "1.png")
    assert run([folder], out).exit_code == 1
    still(folder / "1.png", 1)
    assert run([folder], out).exit_code == 0
    assert [row[3] for row in rows(out)] == ["1.png"]


def test_rows_of_a_segment_that_was_never_finished_give_way_to_those_of_what_comes_in_its_place(
    tmp_path: Path,
) -> None:
    clip, out = tmp_path / "a.ts", tmp_path / "out"
    film(clip, 12)
    run([clip], out)
    state = out / ".plantain" / "streams.json"
    held = json.loads(state.read_bytes())
    held["a"]["durable"] |= {"is_complete": False, "position": asdict(Position())}
    state.write_text(json.dumps(held))
    film(clip, 9, first=20, codec="mpeg4")
    assert run([clip], out).exit_code == 0
    assert indices(out) == list(range(29))


def test_a_recording_that_has_grown_goes_on(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.ts", 100)
    clip, out = tmp_path / "cam.ts", tmp_path / "out"
    counts = []
    for share in (0.3, 0.301, 0.62, 1.0):
        cut_off(whole, clip, share)
        assert run([clip], out).exit_code == 0
        counts.append(len(rows(out)))
    assert counts[0] < counts[2] < counts[3] == 100
    assert indices(out) == list(range(100))
    run([whole], tmp_path / "alone")
    assert [row[1:] for row in rows(out)] == [row[1:] for row in rows(tmp_path / "alone")]


@pytest.mark.parametrize("name", ["a.ts", "a.h264"])
def test_a_recording_that_is_filled_where_it_is_goes_on(tmp_path: Path, name: str) -> None:
    """Recorders make their files as long as they will be, and write into them."""
    codec = "mpeg2video" if name == "a.ts" else "libx264"
    whole = make(tmp_path / f"whole-{name}", 100, codec=codec, size=(64, 48), b_frames=0, gop=5).read_bytes()
    clip, out = tmp_path / name, tmp_path / "out"
    clip.write_bytes(bytes(len(whole) + 100_000))
    assert run([clip], out).exit_code == 1
    counts = []
    for share in (0.3, 0.301, 0.62, 1.0):
        with clip.open("r+b") as file:
            file.write(whole[: round(share * len(whole))])
        assert run([clip], out).exit_code == 0
        counts.append(len(rows(out)))
    assert counts[0] < counts[2] < counts[3] == 100
    assert indices(out) == list(range(100))
    make(clip, 100, codec=codec, size=(96, 64), b_frames=0, gop=5)
    with clip.open("ab") as file:
        file.write(bytes(len(whole) + 100_000))
    with pytest.raises(UsageError, match="--replace"):
        run([clip], out)


@pytest.mark.parametrize("written", [0, 1, 4095, 4096, 4097, 100_001, 1_000_000])
def test_where_a_file_is_filled_to_is_found(tmp_path: Path, written: int) -> None:
    path = tmp_path / "a.ts"
    path.write_bytes(b"x" * written + bytes(1_000_003))
    known = identity_of(StreamSpec("a", str(path)))
    assert known is not None
    assert known["filled"] == written
    path.write_bytes(b"x" * written + b"y" * 16_384)
    known = identity_of(StreamSpec("a", str(path)))
    assert known is not None
    assert "filled" not in known


def test_a_copy_and_a_touch_change_nothing(tmp_path: Path) -> None:
    clip, out = film(tmp_path / "a.ts", 30), tmp_path / "out"
    run([clip], out)
    os.utime(clip, (1, 1))
    assert run([clip], out).exit_code == 0
    copy = tmp_path / "copy.ts"
    shutil.copy(clip, copy)
    copy.replace(clip)
    assert run([clip], out).exit_code == 0
    assert indices(out) == list(range(30))


def test_stills_that_are_added_are_done_and_replaced_ones_told(tmp_path: Path) -> None:
    folder, out = tmp_path / "stills", tmp_path / "out"
    for number in (1, 2, 3):
        still(folder / f"{number}.png", number)
    run([folder], out)
    for number in (4, 10, 11):
        still(folder / f"{number}.png", number)
    run([folder], out)
    assert [row[3] for row in rows(out)] == [f"{number}.png" for number in (1, 2, 3, 4, 10, 11)]
    Image.fromarray(np.zeros((99, 99, 3), np.uint8)).save(folder / "2.png")
    with pytest.raises(UsageError, match="--replace"):
        run([folder], out)
    assert run([folder], out, replace=True).exit_code == 0
    assert len(rows(out)) == 6


@pytest.mark.parametrize("suffix", ["bmp", "tif"])
def test_a_still_of_the_same_size_in_the_place_of_another_is_told(tmp_path: Path, suffix: str) -> None:
    """Pictures that are not compressed are all of one size; a copy of the folder is the same."""
    folder, out = tmp_path / "stills", tmp_path / "out"
    for number in (1, 2, 3):
        still(folder / f"{number}.{suffix}", number)
    run([folder], out)
    copied = Path(shutil.copytree(folder, tmp_path / "copied"))
    shutil.rmtree(folder)
    copied.rename(folder)
    run([folder], out)
    size = (folder / f"2.{suffix}").stat().st_size
    still(folder / f"2.{suffix}", 9)
    assert (folder / f"2.{suffix}").stat().st_size == size
    with pytest.raises(UsageError, match="--replace"):
        run([folder], out)


@pytest.mark.parametrize("at", [0.15, 0.5, 0.8])
def test_a_recording_of_the_same_size_and_ends_in_the_place_of_another_is_told(
    tmp_path: Path, at: float
) -> None:
    """Recorders that write in circles make files of one size, whose ends are padding."""
    path = tmp_path / "ring.ts"
    spec = StreamSpec("ring", str(path))
    size = 1 << 20
    noise = bytearray(np.random.default_rng(1).bytes(size))
    noise[:20_000] = noise[-20_000:] = bytes(20_000)
    path.write_bytes(noise)
    known = identity_of(spec)
    noise[round(at * size) - 60_000 : round(at * size) + 60_000] = np.random.default_rng(2).bytes(120_000)
    path.write_bytes(noise)
    now = identity_of(spec, known)
    assert known is not None
    assert now is not None
    assert change_of(spec, known, now) is Change.REPLACED
    older = {name: value for name, value in known.items() if name != "body"}
    assert change_of(spec, older, now) is Change.NONE, "what version 0.1 noted tells no more"


@pytest.mark.parametrize("sibling", ["2/cam.ts", "cam.mkv", "a/cam.ts", "cam/cam.ts"])
def test_siblings_change_no_name(tmp_path: Path, sibling: str) -> None:
    folder, out = tmp_path / "films", tmp_path / "out"
    film(folder / "cam.ts", 6)
    run([folder], out)
    assert {row[0] for row in rows(out)} == {"cam"}
    film(folder / sibling, 7)
    run([folder], out)
    names = {row[0] for row in rows(out)}
    assert len(names) == 2
    assert len(rows(out)) == 13
    assert indices(out, "cam") == list(range(6))
    film(folder / "9" / "cam.ts", 8)
    run([folder], out)
    assert names < {row[0] for row in rows(out)}
    assert len(rows(out)) == 21
