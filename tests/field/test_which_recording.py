"""Watched folders: which recording is next, and what it is called."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from plantain.operators.errors import UsageError
from plantain.operators.sources.recordings import AGAIN_S, MOST_AGAIN_S, SETTLED_S, Recordings, recording_name
from plantain.operators.sources.takes import Takes
from plantain.pipeline.checking import check_run
from plantain.pipeline.config import check


def write(path: Path, text: str = "x", mtime_s: float | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if mtime_s is not None:
        os.utime(path, (mtime_s, mtime_s))
    return path


def taken(found: Recordings, now_s: float, folder: Path) -> list[str]:
    """What is taken up at a time, each read at once."""
    names = []
    found.look(now_s)
    for path in found.due(now_s):
        found.take(path)
        found.done(path, now_s, is_good=True)
        names.append(str(path.relative_to(folder)))
    return names


def test_recordings_are_taken_in_the_order_of_their_names_whatever_their_times(tmp_path: Path) -> None:
    for number, mtime_s in ((10, 100.0), (2, 900.0), (1, 500.0)):
        write(tmp_path / f"2026-11-{number}" / "rec_9.ts", mtime_s=mtime_s)
        write(tmp_path / f"2026-11-{number}" / "rec_10.ts", mtime_s=mtime_s - 50)
    found = Recordings(tmp_path)
    assert taken(found, 0.0, tmp_path) == [], "they may be written still"
    days = [f"2026-11-{number}/rec_{part}.ts" for number in (1, 2, 10) for part in (9, 10)]
    assert taken(found, SETTLED_S, tmp_path) == days
    assert taken(found, SETTLED_S + 1, tmp_path) == [], "once"


@pytest.mark.parametrize("name", ["a.ts.part", "a.tmp", ".a.mp4", "._a.mp4", "a.jpg", "a", ".hidden/a.ts"])
def test_what_has_another_name_until_it_is_whole_is_taken_when_it_is_renamed(tmp_path: Path, name) -> None:
    path = write(tmp_path / name)
    found = Recordings(tmp_path)
    assert taken(found, 0.0, tmp_path) == taken(found, 100.0, tmp_path) == []
    path.rename(tmp_path / "a.ts")
    assert taken(found, 101.0, tmp_path) == []
    assert taken(found, 101.0 + SETTLED_S, tmp_path) == ["a.ts"]


def test_one_that_is_written_for_long_is_taken_as_far_as_it_goes_again_and_again(tmp_path: Path) -> None:
    path, found = tmp_path / "a.ts", Recordings(tmp_path)
    times = []
    for second in range(100):
        write(path, "x" * (second + 1), mtime_s=second)
        times += [second] if taken(found, float(second), tmp_path) else []
    assert times == [AGAIN_S, 2 * AGAIN_S, 3 * AGAIN_S]
    assert taken(found, 98.0 + SETTLED_S, tmp_path) == []
    assert taken(found, 99.0 + SETTLED_S, tmp_path) == ["a.ts"], "the rest, when it is whole"
    assert taken(found, 200.0, tmp_path) == []


def test_what_was_written_while_it_was_read_is_due_again(tmp_path: Path) -> None:
    path, found = write(tmp_path / "a.ts"), Recordings(tmp_path)
    found.look(0.0)
    found.look(SETTLED_S)
    assert found.due(SETTLED_S) == [path]
    found.take(path)
    write(path, "xx")
    found.look(SETTLED_S + 1)
    found.done(path, SETTLED_S + 1, is_good=True)
    found.look(2 * SETTLED_S + 1)
    assert found.due(2 * SETTLED_S + 1) == [path]


def test_one_that_cannot_be_read_while_it_is_written_is_tried_more_and_more_seldom(tmp_path: Path) -> None:
    path, found = tmp_path / "a.mp4", Recordings(tmp_path)
    times: list[int] = []
    for second in range(0, 4000, 10):
        path.write_text("x" * (second + 1))
        found.look(float(second))
        if found.due(float(second)):
            times.append(second)
            found.take(path)
            found.done(path, float(second), is_good=False)
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (2 * AGAIN_S, MOST_AGAIN_S)


def test_one_that_is_written_over_is_not_taken_before_it_is_whole(tmp_path: Path) -> None:
    """A ring, or a recorder that makes its files as long as they will be: half of it is old."""
    path, found = tmp_path / "a.ts", Recordings(tmp_path)
    times = []
    for second in range(100):
        write(path, "x" * 500, mtime_s=second)
        times += [second] if taken(found, float(second), tmp_path) else []
    assert times == []
    assert taken(found, 98.0 + AGAIN_S, tmp_path) == []
    assert taken(found, 99.0 + AGAIN_S, tmp_path) == ["a.ts"]
    for second in range(200, 300):  # cut, and written anew
        write(path, "y" * (second - 199), mtime_s=second)
        times += [second] if taken(found, float(second), tmp_path) else []
    assert times, "what grows again is read as far as it goes"


def test_names_that_are_used_again_are_told_apart() -> None:
    takes = Takes([])
    long, longer = f"nvr-{'x' * 90}.ts", f"nvr-{'x' * 91}.ts"
    assert takes.latest("nvr-a.ts") == "nvr-a.ts"
    given = [takes.begin(name) for name in ("nvr-a.ts", "nvr-a.ts", long, longer, "nvr-b.ts")]
    assert given[:2] == ["nvr-a.ts-take2", "nvr-a.ts-take3"]
    assert len({*given}) == 5
    assert all(len(name) <= 100 for name in given)
    known = Takes(["nvr-a.ts", *given])
    assert [known.latest(name) for name in ("nvr-a.ts", long, longer)] == given[1:4]


def test_an_empty_one_and_one_that_is_gone_are_not_taken(tmp_path: Path) -> None:
    found = Recordings(tmp_path)
    empty, gone = write(tmp_path / "empty.ts", ""), write(tmp_path / "gone.ts")
    found.look(0.0)
    gone.unlink()
    assert taken(found, SETTLED_S, tmp_path) == []
    assert empty.exists()


def test_a_name_depends_on_nothing_but_the_recording(tmp_path: Path) -> None:
    def name(below: str) -> str:
        return recording_name("nvr", tmp_path, tmp_path / below)

    assert name("rec_1.ts") == "nvr-rec_1.ts"
    odd = ["a/rec 1.ts", "a_rec_1.ts", "a/rec_1.ts", "ü.ts", "ö.ts", f"{'x' * 200}.ts", f"{'x' * 201}.ts"]
    names = [name(below) for below in odd]
    assert len({*names}) == len(odd)
    assert all(len(each) <= 100 for each in names)
    assert names == [name(below) for below in odd]


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        ({"url": "in"}, "with an id"),
        ({"url": "rtsp://camera/1", "id": "a"}, "a folder of this machine"),
        ({"url": "in", "id": "a", "source": "file"}, "without a source"),
        ({"url": "in", "id": "a", "options": {"treads": "2"}}, "no option treads"),
    ],
)
def test_what_cannot_be_watched_is_told_before_anything_runs(stream: dict, said: str) -> None:
    with pytest.raises(UsageError) as refusal:
        check_run(check({"streams": [{"watch": True, **stream}], "prompts": ["depth"]}))
    assert said in str(refusal.value)
