"""Files played as if they were cameras, and what many cameras leave behind: nothing."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from plantain.operators.errors import NoVideoError, SourceError, SourceNotFoundError, UsageError
from plantain.operators.segments import Position
from plantain.operators.sources import open_source, source_for
from plantain.operators.sources.live.source import LiveSource
from plantain.operators.streams import Sampling, StreamSpec
from plantain.operators.types import Frame
from tests.assets import clips
from tests.scripted import LONG_S, VIEW, ManualClock, holds, indices, read_on, states


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.make(tmp_path_factory.mktemp("live") / "clip.mp4", 12, size=(64, 36), gop=6)


def realtime(url: object, clock: ManualClock, sampling: Sampling | None = None, **options: str) -> LiveSource:
    spec = StreamSpec(
        "file", str(url), sampling=sampling or Sampling(), options={"realtime": "true", **options}
    )
    assert source_for(spec) == "live"
    return LiveSource(spec, VIEW, Position(), clock=clock)


def played(source: LiveSource) -> list[Frame]:
    frames = read_on(source)
    source.close()
    return frames


def test_a_realtime_file_plays_at_its_own_pace_and_ends(clip: Path) -> None:
    clock = ManualClock()
    source = realtime(clip, clock, policy="block")
    assert (source.info.width, source.info.fps) == (64, 25.0)
    frames = played(source)
    assert [clips.number_of(frame.image) for frame in frames] == list(range(12))
    assert clock.monotonic_s() == pytest.approx(1000 + 11 / 25, abs=1e-6)
    assert {frame.info.captured_by for frame in frames} == {"arrival"}
    assert states(source.events()) == ["connecting", "live", "ended"]
    holds(source)


def test_a_looped_file_goes_on_in_the_same_epoch_with_times_that_go_on(clip: Path) -> None:
    source = realtime(clip, ManualClock(), Sampling(max_frames=30), policy="block", loop="true")
    frames = played(source)
    assert [clips.number_of(frame.image) for frame in frames] == [number % 12 for number in range(30)]
    assert {frame.header.epoch for frame in frames} == {0}
    times = [frame.info.time_s or 0.0 for frame in frames]
    assert np.diff(times) == pytest.approx(np.full(29, 0.04))


def test_a_realtime_file_that_waits_for_its_time_is_not_silent(clip: Path) -> None:
    spec = StreamSpec("file", str(clip), options={"realtime": "true", "timeout_s": "0.01", "policy": "block"})
    source = LiveSource(spec, VIEW, Position())
    seen = set()
    while not source.ended:
        source.wait(0.02)
        seen.add(source.state)
        source.read(5)
    source.close()
    assert seen <= {"connecting", "live", "ended"}


def test_only_keyframes_of_a_realtime_file(clip: Path) -> None:
    assert indices(played(realtime(clip, ManualClock(), policy="block", keyframes_only="yes"))) == [0, 6]


def test_a_realtime_file_that_is_not_there_or_no_video_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError):
        realtime(tmp_path / "missing.mp4", ManualClock())
    with pytest.raises(NoVideoError):
        realtime(clips.sound(tmp_path / "sound.wav"), ManualClock())


def test_a_realtime_file_that_breaks_between_two_loops_fails(clip: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(clip.read_bytes())
    source = realtime(copy, ManualClock(), policy="block", loop="true", ring="1")
    assert source.wait(LONG_S)
    copy.unlink()
    read_on(source)
    with pytest.raises(SourceError, match="does not exist"):
        source.read(1)
    source.close()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("rtsp://camera/1", "live"),
        ("RTSPS://camera/1", "live"),
        ("udp://239.0.0.1:1234", "live"),
        ("tcp://encoder:1234", "live"),
        ("https://camera/live.m3u8?token=1", "live"),
        ("/dev/video0", "live"),
        ("https://camera/clip.mp4", "file"),
        ("clip.mp4", "file"),
    ],
)
def test_the_form_of_an_address_says_whether_it_is_live(url: str, name: str) -> None:
    assert source_for(StreamSpec("s", url)) == name


def test_a_hundred_cameras_leave_nothing_behind(clip: Path) -> None:
    def resources() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    def cycle() -> None:
        spec = StreamSpec("file", str(clip), options={"realtime": "true", "loop": "true"})
        source = open_source(spec, VIEW, Position())
        assert isinstance(source, LiveSource)
        assert source.wait(LONG_S)
        source.close()
        holds(source)

    for _ in range(20):
        cycle()
    before, pages_before = resources(), resident_pages()
    for _ in range(100):
        cycle()
    assert resources() == before
    assert (resident_pages() - pages_before) * os.sysconf("SC_PAGE_SIZE") < 8 * 2**20


def resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


@pytest.mark.parametrize("url", ["synthetic://street", "rtsp://camera/street"])
def test_only_a_file_is_played_at_its_own_pace(url):
    with pytest.raises(UsageError, match="realtime is for files"):
        source_for(StreamSpec("s", url, options={"realtime": "yes"}))
