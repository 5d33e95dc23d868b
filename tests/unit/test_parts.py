from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from plantain.operators.read import Read
from plantain.operators.segments import Position
from plantain.operators.sources.base import Source
from plantain.operators.sources.file.parts import FileInParts
from plantain.operators.sources.file.source import FileSource
from plantain.operators.streams import Sampling, Start, StreamSpec, View
from plantain.operators.types import Frame
from tests.assets import clips

VIEW = View((90, 160), "stretch")


def all_of(source: Source, chunk: int = 7) -> list[Frame]:
    frames: list[Frame] = []
    while not source.ended:
        frames.extend(source.read(chunk))
    source.close()
    return frames


def in_parts(path: Path, position: Position | None = None, sampling: Sampling | None = None) -> FileInParts:
    spec = StreamSpec("s", str(path), "", sampling or Sampling(), {"threads": "3"})
    return FileInParts(spec, VIEW, position or Position())


def whole(path: Path, position: Position | None = None, sampling: Sampling | None = None) -> FileSource:
    return FileSource(StreamSpec("s", str(path), "", sampling or Sampling()), VIEW, position or Position())


def assert_same(ours: list[Frame], theirs: list[Frame]) -> None:
    assert [frame.header for frame in ours] == [frame.header for frame in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.info.pts == other.info.pts
        np.testing.assert_array_equal(one.image, other.image)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.make(tmp_path_factory.mktemp("clip") / "long.mp4", 300)


def test_parts_give_the_frames_of_the_whole_in_order(clip: Path) -> None:
    source = in_parts(clip)
    frames = all_of(source)
    assert len(frames) == 300
    assert_same(frames, all_of(whole(clip)))
    assert source.num_damaged == 0


def test_parts_go_on_at_any_position(clip: Path) -> None:
    everything = all_of(whole(clip))
    for at in (1, 63, 64, 65, 250, 299):
        position = Position(at, everything[at].info.pts, at)
        assert_same(all_of(in_parts(clip, position)), everything[at:])


def test_the_position_is_where_a_restart_goes_on(clip: Path) -> None:
    everything = all_of(whole(clip))
    source = in_parts(clip)
    source.read(100)
    position = source.position
    source.close()
    assert (position.frame_index, position.delivered) == (100, 100)
    assert_same(all_of(in_parts(clip, position)), everything[100:])


def test_sampling_is_that_of_the_whole(clip: Path) -> None:
    for sampling in (Sampling(fps=5), Sampling(every=7), Sampling(max_frames=70)):
        assert_same(all_of(in_parts(clip, sampling=sampling)), all_of(whole(clip, sampling=sampling)))


def test_a_damaged_file_loses_no_more_in_parts(clip: Path, tmp_path: Path) -> None:
    for broken in (
        clips.hole(clip, tmp_path / "hole.mp4", 0.5, 4000),
        clips.cut_off(clips.make(tmp_path / "long.ts", 300), tmp_path / "cut.ts", 0.6),
    ):
        ours, theirs = in_parts(broken), whole(broken)
        frames = all_of(ours)
        assert [frame.header.frame_index for frame in frames] == list(range(len(frames)))
        assert [frame.info.pts for frame in frames] == [frame.info.pts for frame in all_of(theirs)]
        assert (ours.num_damaged > 0) == (theirs.num_damaged > 0)


def test_closing_early_leaves_no_decoder_behind(clip: Path) -> None:
    source = in_parts(clip)
    source.read(10)
    source.close()
    assert source._pool is None


@pytest.mark.parametrize(("decoders", "is_cut"), [(1, False), (2, False), (8, True)])
def test_a_single_file_is_cut_where_that_is_faster_and_has_the_same_frames(
    clip: Path, decoders: int, is_cut: bool
) -> None:
    step = Read(VIEW, decoder_threads=decoders)
    step.open(Start.fresh(StreamSpec("s", str(clip)), ()))
    assert any(thread.name.startswith("plantain-decode") for thread in threading.enumerate()) == is_cut
    frames: list[Frame] = []
    while not step.state("s").has_ended:
        frames += step("s", 8)
    step.close()
    assert_same(frames, all_of(whole(clip)))


def test_a_file_is_open_no_longer_than_it_is_read(tmp_path: Path) -> None:
    """Its frames are in flight for long after that; what is asked meanwhile is answered as before."""
    step = Read(VIEW)
    names = [str(number) for number in range(5)]
    for name in names:
        path = clips.make(tmp_path / f"{name}.mp4", 3)
        step.open(Start.fresh(StreamSpec(name, str(path)), ()))
        assert len(step(name, 8)) == 3
        assert step.state(name).has_ended
        assert str(path) not in opened()
    for name in names:
        assert step(name, 8) == []
        assert step.state(name).position.frame_index == 3
        assert [frame.header.frame_index for frame in step.peek(name)] == [2]
        step.close(name)
        assert step.peek(name) == []
    step.open(Start.fresh(StreamSpec("0", str(tmp_path / "0.mp4")), ()))
    assert len(step("0", 8)) == 3, "it may begin again"


def test_a_file_that_cannot_be_closed_was_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: FileSource) -> None:
        raise OSError("it is stuck")

    monkeypatch.setattr(FileSource, "close", refuse)
    step = Read(VIEW)
    step.open(Start.fresh(StreamSpec("s", str(clips.make(tmp_path / "s.mp4", 3))), ()))
    assert len(step("s", 8)) == 3
    assert step.state("s").has_ended
    step.close()


def opened() -> set[str]:
    """Files that this process holds open."""
    return {str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.exists()}
