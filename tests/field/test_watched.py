"""Watched folders: recordings are taken up while they are written, in order, each once, over restarts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from plantain.operators.sinks.parquet.reading import read_frames
from plantain.operators.sources import recordings
from plantain.pipeline import intake
from plantain.pipeline.config import PipelineConfig, check
from tests.assets.clips import make
from tests.field.runs import CANVAS, running
from tests.serving import eventually


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything happens within a second."""
    monkeypatch.setattr(intake, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(recordings, "SETTLED_S", 0.3)
    monkeypatch.setattr(recordings, "AGAIN_S", 0.6)


def config_of(folder: Path, out: Path) -> PipelineConfig:
    return check(
        {
            "streams": [{"id": "nvr", "url": str(folder), "watch": True}],
            "prompts": ["semantic:car"],
            "model": {"name": "fake", "canvas": CANVAS},
            "output": {"out": str(out), "segment_frames": 16, "rasters": False},
            "executor": "inline",
        }
    )


def indices(out: Path) -> dict[str, list[int]]:
    """Frame indexes of each recording's rows."""
    if not (out / "frames").is_dir():
        return {}
    found = read_frames(out, ["stream_id", "frame_index"])
    kept: dict[str, list[int]] = {}
    for name, index in sorted(zip(found["stream_id"].tolist(), found["frame_index"].tolist(), strict=True)):
        kept.setdefault(name.removeprefix("nvr-"), []).append(index)
    return kept


def has(out: Path, **counts: int) -> Callable[[], bool]:
    """Whether recordings have so many rows, by their names without the suffix."""

    def is_so() -> bool:
        found = {name.partition(".")[0]: rows for name, rows in indices(out).items()}
        return all(found.get(name) == list(range(count)) for name, count in counts.items())

    return is_so


def told(lines: list, event: str) -> list[str]:
    return [
        line["stream"].removeprefix("nvr-") for line in lines if line["event"] == event and "stream" in line
    ]


@pytest.fixture
def clips(tmp_path: Path) -> dict[int, bytes]:
    """Transport streams by their number of frames."""
    made = tmp_path / "made"
    made.mkdir()
    return {
        frames: make(made / f"{frames}.ts", frames, size=(64, 48), gop=6, b_frames=0).read_bytes()
        for frames in (12, 20, 60)
    }


@pytest.mark.usefixtures("quick")
def test_a_run_takes_up_what_comes_grows_and_is_renamed_in_order_and_each_once(tmp_path, clips) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name, frames, mtime_s in (("r10", 12, 100.0), ("r2", 20, 900.0), ("r1", 12, 500.0)):
        path = folder / f"{name}.ts"
        path.write_bytes(clips[frames])
        os.utime(path, (mtime_s, mtime_s))
    (folder / "r3.ts").write_bytes(b"no video at all" * 400)
    with capture_logs() as lines, running(config_of(folder, out)):
        eventually(lambda: len(told(lines, "read")) == 3, "what was there")
        assert told(lines, "read") == ["r1.ts", "r2.ts", "r10.ts"]
        assert has(out, r1=12, r2=20, r10=12)()
        assert told(lines, "failed") == ["r3.ts"], "the bad one holds up nobody"
        assert [line["event"] for line in lines if line.get("stream") == "nvr-r1.ts"] == ["read"]
        assert [line["answered"] for line in lines if line["event"] == "read"] == [12, 20, 12]
        aside = folder / "r11.ts.part"
        aside.write_bytes(clips[20])
        with (folder / "r12.ts").open("wb") as growing:
            data = clips[60]
            for part in range(4):
                growing.write(data[part * len(data) // 4 : (part + 1) * len(data) // 4])
                growing.flush()
                os.fsync(growing.fileno())
                if part == 1:
                    eventually(lambda: len(indices(out).get("r12.ts", [])) >= 16, "read while it is written")
                    assert len(indices(out)["r12.ts"]) < 60
        aside.rename(folder / "r11.ts")
        eventually(has(out, r12=60, r11=20), "the rest")
    assert indices(out).keys() == {"r1.ts", "r2.ts", "r10.ts", "r11.ts", "r12.ts"}


@pytest.mark.usefixtures("quick")
def test_a_run_goes_on_after_a_restart_and_knows_what_was_renamed(tmp_path, clips) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "a.ts").write_bytes(clips[12])
    (folder / "b.ts").write_bytes(clips[60][: len(clips[60]) // 2 // 188 * 188])
    with running(config_of(folder, out)):
        eventually(
            lambda: len(indices(out)) == 2 and len(indices(out)["b.ts"]) > 12, "both, as far as they go"
        )
    begun = indices(out)
    assert 16 < len(begun["b.ts"]) < 60
    (folder / "b.ts").write_bytes(clips[60])
    (folder / "a.ts").rename(folder / "a-archived.ts")
    (folder / "c.ts").write_bytes(clips[20])
    with capture_logs() as lines, running(config_of(folder, out)):
        eventually(lambda: len(told(lines, "read")) == 2, "the rest")
        assert has(out, b=60, c=20)()
        eventually(lambda: told(lines, "renamed"), "that it is the same")
    assert told(lines, "renamed") == ["a.ts"]
    assert indices(out).keys() == {"a.ts", "b.ts", "c.ts"}
    assert told(lines, "read") == ["b.ts", "c.ts"]


def _filled_in_place(path: Path, whole: bytes, between: Callable[[], None]) -> None:
    path.write_bytes(bytes(len(whole) + 50_000))
    between()
    with path.open("r+b") as file:
        file.write(whole)


def _index_moved_to_the_front(path: Path, whole: bytes, between: Callable[[], None]) -> None:
    path.write_bytes(whole[: len(whole) // 2])  # whose index would come last
    between()
    path.write_bytes(whole)


def _sent_again(path: Path, whole: bytes, between: Callable[[], None]) -> None:
    path.write_bytes(os.urandom(40_000))
    between()
    path.write_bytes(whole)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("name", "come"),
    [
        ("a.mp4", _filled_in_place),
        ("a.ts", _filled_in_place),
        ("a.mp4", _index_moved_to_the_front),
        ("a.mov", _index_moved_to_the_front),
        ("a.mkv", _sent_again),
        ("a.ts", _sent_again),
    ],
)
def test_one_that_could_not_be_read_at_first_is_read_when_it_can(tmp_path, name, come) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    whole = make(tmp_path / name, 20, size=(64, 48), gop=6, b_frames=0).read_bytes()
    with capture_logs() as lines, running(config_of(folder, out)):
        come(folder / name, whole, lambda: eventually(lambda: told(lines, "failed"), "tried"))
        eventually(has(out, a=20), "read")
    assert not told(lines, "not taken")
    assert indices(out).keys() == {name}


@pytest.mark.usefixtures("quick")
def test_a_ring_gives_each_of_its_recordings_rows_of_its_own_over_restarts(tmp_path, clips) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    recordings_of = {
        name: [nothing(letter) + clips[frames] for letter, frames in zip(letters, (12, 20, 60), strict=True)]
        for name, letters in (("r1", "abc"), ("r2", "def"))
    }
    for turn in range(3):
        with capture_logs() as lines, running(config_of(folder, out)):
            for name, films in recordings_of.items():
                (folder / f"{name}.ts").write_bytes(films[turn])
            eventually(lambda: len(told(lines, "read")) == 2, "both")
        assert len(told(lines, "name used again")) == (2 if turn else 0)
    with capture_logs() as lines, running(config_of(folder, out)):
        (folder / "r3.ts").write_bytes(clips[12])
        eventually(lambda: told(lines, "read"), "the new one")
    assert told(lines, "read") == ["r3.ts"], "each once"
    assert {name: len(found) for name, found in indices(out).items()} == {
        **{f"r{k}.ts{take}": n for k in (1, 2) for take, n in (("", 12), ("-take2", 20), ("-take3", 60))},
        "r3.ts": 12,
    }


def nothing(name: str) -> bytes:
    """A packet that tells transport streams apart, and holds nothing."""
    return b"\x47\x1f\xff\x10" + name.encode() * 184


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("order", ["abc", "acb"])
def test_names_that_are_handed_on_are_renamed_and_only_what_is_new_is_read(tmp_path, clips, order) -> None:
    """Rotated as logs are: the newest is always `a`."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name, frames in zip("abc", (12, 20, 60), strict=True):
        (folder / f"{name}.ts").write_bytes(nothing(name) + clips[frames])
    with capture_logs() as lines, running(config_of(folder, out)):
        eventually(lambda: len(told(lines, "read")) == 3, "all")
    if order == "abc":
        (folder / "b.ts").replace(folder / "c.ts")
        (folder / "a.ts").replace(folder / "b.ts")
        (folder / "a.ts").write_bytes(nothing("d") + clips[12])
    else:  # only handed round
        (folder / "a.ts").rename(folder / "kept")
        (folder / "c.ts").rename(folder / "a.ts")
        (folder / "b.ts").rename(folder / "c.ts")
        (folder / "kept").rename(folder / "b.ts")
    with capture_logs() as lines, running(config_of(folder, out)):
        eventually(lambda: len(told(lines, "renamed")) == (2 if order == "abc" else 3), "what they are")
        if order == "abc":
            eventually(lambda: told(lines, "read"), "the new one")
    assert told(lines, "read") == (["a.ts-take2"] if order == "abc" else [])
    assert not told(lines, "not taken")
    assert sum(map(len, indices(out).values())) == 12 + 20 + 60 + (12 if order == "abc" else 0)


@pytest.mark.usefixtures("quick")
def test_a_recording_that_is_not_over_goes_on_where_its_folder_is_spelled_otherwise(
    tmp_path, clips, monkeypatch
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "a.ts").write_bytes(clips[60][: len(clips[60]) // 2 // 188 * 188])
    with running(config_of(folder, out)):
        eventually(lambda: len(indices(out).get("a.ts", [])) > 16, "as far as it goes")
    monkeypatch.chdir(tmp_path)
    (folder / "a.ts").write_bytes(clips[60])
    with capture_logs() as lines, running(config_of(Path("in"), out)):
        eventually(has(out, a=60), "the rest")
    assert not told(lines, "not taken")


@pytest.mark.usefixtures("quick")
def test_what_is_known_of_recordings_is_bounded_and_none_that_is_there_is_taken_again(
    tmp_path, clips, monkeypatch
) -> None:
    monkeypatch.setattr(intake, "MOST_GONE", 2)
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    frames = dict(zip("abcdef", (12, 20, 60, 12, 20, 60), strict=True))
    for number, (name, count) in enumerate(frames.items()):
        (folder / f"{name}.ts").write_bytes(clips[count] + bytes(188 * number))
    with capture_logs() as lines, running(config_of(folder, out)):
        eventually(lambda: len(told(lines, "read")) == 6, "all")
    for name in "abcd":
        (folder / f"{name}.ts").unlink()
    (folder / "e.ts").rename(folder / "e-moved.ts")
    with capture_logs() as lines, running(config_of(folder, out)):
        eventually(lambda: told(lines, "renamed"), "that it is the same")
        (folder / "g.ts").write_bytes(clips[12] + b"g" * 188)
        eventually(lambda: told(lines, "read"), "the new one")
    assert told(lines, "read") == ["g.ts"], "what was finished is not even opened"
    known = json.loads((out / ".plantain" / "streams.json").read_bytes())
    assert {name.removeprefix("nvr-") for name in known} == {"d.ts", "e.ts", "e-moved.ts", "f.ts", "g.ts"}
    with capture_logs() as lines, running(config_of(folder, out)):
        (folder / "h.ts").write_bytes(clips[12] + b"h" * 188)
        eventually(lambda: told(lines, "read"), "the new one")
    assert told(lines, "read") == ["h.ts"]
    assert not told(lines, "renamed"), "that is known by its name now"
    known = json.loads((out / ".plantain" / "streams.json").read_bytes())
    assert {name.removeprefix("nvr-") for name in known} == {
        "d.ts",
        "e.ts",
        "e-moved.ts",
        "f.ts",
        "g.ts",
        "h.ts",
    }
    assert len(indices(out)) == 8, "their rows stay"


@pytest.mark.usefixtures("quick")
def test_a_watched_folder_that_is_the_output_folder_gives_no_videos_of_ours(tmp_path, clips) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.ts").write_bytes(clips[12])
    config = config_of(folder, folder)
    config = config.model_copy(
        update={"output": config.output.model_copy(update={"sinks": ("parquet", "overlay")})}
    )
    with capture_logs() as lines, running(config):
        eventually(lambda: (folder / "overlay" / "nvr-a.ts.mp4").exists() and told(lines, "read"), "read")
        (folder / "b.ts").write_bytes(nothing("b") + clips[20])
        eventually(lambda: len(told(lines, "read")) == 2, "the second")
        (folder / "c.ts").write_bytes(nothing("c") + clips[20])
        eventually(lambda: len(told(lines, "read")) == 3, "the third")
    assert told(lines, "read") == ["a.ts", "b.ts", "c.ts"]


@pytest.mark.usefixtures("quick")
def test_a_run_waits_for_a_folder_that_is_not_there_yet(tmp_path, clips) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    with capture_logs() as lines, running(config_of(folder, out)):
        eventually(lambda: [line for line in lines if line["event"] == "folder"], "told")
        folder.mkdir()
        (folder / "a.ts").write_bytes(clips[12])
        eventually(has(out, a=12), "read")
    assert len([line for line in lines if line["event"] == "folder"]) == 1, "once"
