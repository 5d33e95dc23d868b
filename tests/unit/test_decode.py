from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from plantain.operators.decode import PictureConverter, VideoReader, open_video, scan
from plantain.operators.decode.packets import MAX_FAILED_READS
from plantain.operators.errors import NoVideoError, SourceError, SourceNotFoundError
from tests.assets import clips

OPEN_GOP = {"x264-params": "open-gop=1:keyint=12:min-keyint=12:scenecut=0:bframes=3:b-pyramid=0"}
INTERLACED = {"x264-params": "tff=1"}


def numbers(reader: VideoReader, model_hw: tuple[int, int] = (90, 160)) -> list[int]:
    converter = PictureConverter(model_hw, "stretch")
    found = []
    while (picture := reader.next()) is not None:
        found.append(clips.number_of(converter.canvas(picture.frame)))
    reader.close()
    return found


KINDS: dict[str, dict[str, object]] = {
    "plain.mp4": {},
    "plain.mkv": {},
    "plain.ts": {},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mpeg2.mpg": {"codec": "mpeg2video"},
    "bare.h264": {},
    "vp9.webm": {"codec": "libvpx-vp9", "codec_options": {"deadline": "realtime", "cpu-used": "8"}},
    "open_gop.mp4": {"codec_options": OPEN_GOP},
    "open_gop.mkv": {"codec_options": OPEN_GOP},
    "interlaced.ts": {"codec_options": INTERLACED},
    "interlaced.mp4": {"codec_options": INTERLACED},
    "vfr.mp4": {"pts": [7 * k * k for k in range(50)]},
    "late.mp4": {"pts": [4000 + 40 * k for k in range(50)]},
    "intra_refresh.ts": {"codec_options": {"x264-params": "intra-refresh=1"}},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    return {name: clips.make(folder / name, **options) for name, options in KINDS.items()}  # type: ignore[arg-type]


@pytest.mark.parametrize("num_threads", [1, 4])
@pytest.mark.parametrize("name", KINDS)
def test_pictures_come_in_display_order_and_none_is_lost(
    made: dict[str, Path], name: str, num_threads: int
) -> None:
    reader = VideoReader(str(made[name]), num_threads=num_threads)
    assert numbers(reader) == list(range(50))
    assert reader.num_damaged == 0


@pytest.mark.parametrize("name", KINDS)
def test_any_frame_can_be_the_first_after_a_restart(made: dict[str, Path], name: str) -> None:
    whole = VideoReader(str(made[name]))
    converter = PictureConverter((90, 160), "stretch")
    once = []
    while (picture := whole.next()) is not None:
        once.append((picture.pts, converter.canvas(picture.frame)))
    whole.close()
    for at in (1, 11, 12, 13, 24, 35, 36, 49):
        reader = VideoReader(str(made[name]))
        reader.start_at(at, once[at][0])
        first = reader.next()
        assert first is not None
        assert (first.index, first.pts) == (at, once[at][0])
        assert clips.number_of(converter.canvas(first.frame)) == at
        if "intra" not in name:  # there a picture is only nearly the same after joining in
            np.testing.assert_array_equal(converter.canvas(first.frame), once[at][1])
        assert reader.first_pts == once[0][0]
        reader.close()


def test_a_position_that_the_file_does_not_confirm_is_counted_from_the_start(made: dict[str, Path]) -> None:
    reader = VideoReader(str(made["plain.mp4"]))
    reader.start_at(30, 12345)
    assert numbers(reader) == list(range(30, 50))


def test_a_file_that_became_shorter_says_so(tmp_path: Path) -> None:
    reader = VideoReader(str(clips.make(tmp_path / "short.mp4", 5)))
    with pytest.raises(SourceError, match="ended before frame 9"):
        reader.start_at(9, None)
    reader.close()


def test_frames_that_an_edit_list_hides_are_not_delivered(tmp_path: Path) -> None:
    clip = clips.make(
        tmp_path / "edited.mp4",
        pts=[40 * (k - 10) for k in range(50)],
        container_options={"avoid_negative_ts": "disabled"},
    )
    assert "edit list" in scan(str(clip)).doubt
    assert numbers(VideoReader(str(clip))) == list(range(10, 50))
    reader = VideoReader(str(clip))
    reader.start_at(7, None)
    assert numbers(reader) == list(range(17, 50))


@pytest.mark.parametrize("num_threads", [1, 2, 4, 8])
@pytest.mark.parametrize("share", [0.35, 0.5, 0.8])
def test_a_file_cut_off_gives_all_that_is_in_it_whatever_the_threads(
    tmp_path: Path, share: float, num_threads: int
) -> None:
    whole = clips.make(tmp_path / "whole.mp4", container_options={"movflags": "faststart"})
    cut = clips.cut_off(whole, tmp_path / "cut.mp4", share)
    times = clips.packet_by_packet(cut)
    reader = VideoReader(str(cut), num_threads=num_threads)
    found = []
    while (picture := reader.next()) is not None:
        found.append(picture.pts)
    reader.close()
    assert found == times
    assert 0 < len(found) < 50


def opened_by(monkeypatch: pytest.MonkeyPatch, kind: Callable[[InputContainer], Any]) -> None:
    """Has a `VideoReader` read through what `kind` makes of its containers."""

    def opened(*args: Any, **kwargs: Any) -> tuple[Any, VideoStream]:
        container, video = open_video(*args, **kwargs)
        return kind(container), video

    monkeypatch.setattr("plantain.operators.decode.packets.open_video", opened)


class Refusing:
    """Stands for a container whose demuxer says of damage what a disk would."""

    def __init__(self, container: InputContainer) -> None:
        self._container = container

    def __getattr__(self, name: str) -> object:
        return getattr(self._container, name)

    def demux(self, video: VideoStream) -> Iterator[Packet]:
        raise av.error.OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize(
    ("away_from", "num_looks", "num_damaged"),
    [(None, 2, MAX_FAILED_READS), (1, 1, 0), (2, 2, MAX_FAILED_READS - 1)],
)
def test_a_damaged_file_is_read_to_its_end_once_and_once_more_before_it_is_given_up(
    tmp_path: Path, monkeypatch, away_from: int | None, num_looks: int, num_damaged: int
) -> None:
    clip = clips.make(tmp_path / "a.mp4", 4)
    opened_by(monkeypatch, Refusing)
    reader = VideoReader(str(clip))
    looks = []

    def look(url: str, error: Exception) -> bool:
        looks.append(url)
        return away_from is not None and len(looks) >= away_from

    monkeypatch.setattr("plantain.operators.decode.packets.is_unreadable", look)
    with pytest.raises(SourceError, match="broke off") if away_from else nullcontext():
        assert reader.next() is None
    assert (len(looks), reader.num_damaged) == (num_looks, num_damaged)
    reader.close()


class Away:
    """Makes containers whose disk is away, each time behind so many packets of all."""

    def __init__(self, *behind: int) -> None:
        self.left = [*behind]

    def __call__(self, container: InputContainer) -> AwayOnce:
        return AwayOnce(container, self)


class AwayOnce:
    def __init__(self, container: InputContainer, away: Away) -> None:
        self._container = container
        self._away = away

    def __getattr__(self, name: str) -> object:
        return getattr(self._container, name)

    def demux(self, video: VideoStream) -> Iterator[Packet]:
        for packet in self._container.demux(video):
            self._away.left = [left - 1 for left in self._away.left]
            if -1 in self._away.left:
                raise av.error.OSError(errno.EIO, "Input/output error")
            yield packet


@pytest.mark.parametrize("start", [0, 17])
@pytest.mark.parametrize("num_threads", [1, 4])
@pytest.mark.parametrize("behind", [0, 1, 20])
@pytest.mark.parametrize("name", KINDS)
def test_a_disk_that_was_away_for_a_moment_costs_nothing(
    made: dict[str, Path], monkeypatch, name: str, behind: int, num_threads: int, start: int
) -> None:
    whole = VideoReader(str(made[name]))
    times = [picture.pts for picture in iter(whole.next, None)]
    whole.close()
    away = Away(behind)
    opened_by(monkeypatch, away)
    reader = VideoReader(str(made[name]), num_threads=num_threads)
    reader.start_at(start, times[start])
    found = [picture.pts for picture in iter(reader.next, None)]
    reader.close()
    assert max(away.left) < 0
    assert (found, reader.num_damaged) == (times[start:], 0)


@pytest.mark.parametrize("behind", [(5, 30), (5, 8, 30, 60), (5, 12), (1, 3, 6)])
@pytest.mark.parametrize("name", ["plain.mp4", "plain.mkv", "plain.ts"])
def test_a_disk_may_go_again_while_its_file_is_looked_for_behind_the_last_packet(
    made: dict[str, Path], monkeypatch, name: str, behind: tuple[int, ...]
) -> None:
    """Then it is taken for damage, which costs a packet; reading goes on with what is open."""
    opened_by(monkeypatch, Away(*behind))
    reader = VideoReader(str(made[name]))
    found = [picture.pts for picture in iter(reader.next, None)]
    reader.close()
    assert len(found) >= 50 - 3 * len(behind)
    assert found == sorted(set(found))


@pytest.mark.parametrize("num_threads", [1, 4])
def test_a_hole_costs_only_the_frames_in_it(tmp_path: Path, num_threads: int) -> None:
    whole = clips.make(tmp_path / "whole.mp4", container_options={"movflags": "faststart"})
    broken = clips.hole(whole, tmp_path / "hole.mp4", 0.4, 3000)
    reader = VideoReader(str(broken), num_threads=num_threads)
    found = []
    while (picture := reader.next()) is not None:
        found.append(picture.pts)
    reader.close()
    assert found == clips.packet_by_packet(broken)
    assert reader.num_damaged > 0
    assert len(found) < 50


def test_a_stream_joined_in_the_middle_begins_with_its_first_whole_picture(
    made: dict[str, Path], tmp_path: Path
) -> None:
    joined = clips.cut_front(made["plain.ts"], tmp_path / "joined.ts", 0.3)
    found = numbers(VideoReader(str(joined)))
    assert found == list(range(found[0], 50))
    assert len(found) == len(clips.packet_by_packet(joined))


@pytest.mark.parametrize("num_parts", [1, 2, 3, 50])
@pytest.mark.parametrize(
    "name", ["plain.mp4", "plain.mkv", "plain.ts", "open_gop.mp4", "vfr.mp4", "interlaced.ts"]
)
def test_parts_cover_the_file_and_begin_with_keyframes(
    made: dict[str, Path], name: str, num_parts: int
) -> None:
    index = scan(str(made[name]))
    parts = index.ranges(num_parts)
    assert 1 <= len(parts) <= num_parts
    assert parts[0].first == 0
    assert parts[-1].end is None
    for part, following in pairwise(parts):
        assert (part.end, part.end_pts) == (following.first, following.pts)
        assert following.pts in index.keyframe_pts


def test_a_file_whose_index_proves_nothing_is_one_part(made: dict[str, Path]) -> None:
    assert scan(str(made["bare.h264"])).ranges(4) == []
    assert "pts" in scan(str(made["bare.h264"])).doubt


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_pictures_stand_upright(tmp_path: Path, degrees: int) -> None:
    upright = clips.numbered(0b10110010)
    stored = np.rot90(upright, degrees // 90)
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = stored.shape[0], stored.shape[1], "yuv420p"
        stream.set_display_rotation(-degrees)
        for _ in range(3):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(stored), format="rgb24"))
            )
        container.mux(stream.encode(None))
    reader = VideoReader(str(path))
    picture = reader.next()
    assert picture is not None
    converter = PictureConverter((180, 320), "letterbox", picture_long_side=160)
    fit = converter.fit(picture.frame)
    assert fit.source_hw == (180, 320)
    shown = converter.canvas(picture.frame)
    display = converter.display(picture.frame)
    reader.close()
    assert display is not None
    assert display.shape == (90, 160, 3)
    assert np.abs(shown.astype(int) - upright).mean() < 6
    assert clips.number_of(shown) == clips.number_of(display) == 0b10110010


def test_the_picture_lies_in_its_rectangle_and_the_rest_is_black(made: dict[str, Path]) -> None:
    reader = VideoReader(str(made["plain.mp4"]))
    picture = reader.next()
    assert picture is not None
    converter = PictureConverter((256, 256), "letterbox")
    canvas = converter.canvas(picture.frame)
    fit = converter.fit(picture.frame)
    reader.close()
    assert canvas.shape == (256, 256, 3)
    assert canvas.flags.c_contiguous
    assert (fit.height, fit.width, fit.top, fit.left) == (144, 256, 56, 0)
    assert not canvas[: fit.top].any()
    assert not canvas[fit.top + fit.height :].any()
    assert fit.crop(canvas).mean() > 20


def test_a_playlist_or_a_list_of_files_opens_no_other_file(made: dict[str, Path], tmp_path: Path) -> None:
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{made['plain.ts']}\n#EXT-X-ENDLIST\n")
    renamed = tmp_path / "list.mp4"
    renamed.write_text(playlist.read_text())
    for url in (str(playlist), str(renamed)):
        with pytest.raises(NoVideoError, match="playlist"):
            open_video(url)
    listed = f"concat:{made['plain.ts']}|{made['plain.ts']}"
    with pytest.raises(SourceNotFoundError, match="does not exist"):
        open_video(listed)


def test_each_bad_file_is_named_in_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "words.mp4").write_text("no video at all\n" * 200)
    clips.sound(tmp_path / "sound.wav")
    clips.cut_off(clips.make(tmp_path / "whole.mp4"), tmp_path / "headless.mp4", 0.5)
    for name, kind, says in (
        ("missing.mp4", SourceNotFoundError, "does not exist"),
        ("empty.mp4", NoVideoError, "is empty"),
        ("words.mp4", NoVideoError, "not a video"),
        ("headless.mp4", NoVideoError, "cut off"),
        ("sound.wav", NoVideoError, "only audio"),
        ("", SourceError, "is a folder"),
    ):
        with pytest.raises(kind, match=says) as refusal:
            open_video(str(tmp_path / name))
        assert str(tmp_path / name) in str(refusal.value)


@pytest.mark.skipif(clips.is_root(), reason="permissions do not stop root")
def test_a_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    clip = clips.make(tmp_path / "locked.mp4", 2)
    clip.chmod(0)
    with pytest.raises(SourceError, match="permission denied"):
        open_video(str(clip))


def test_the_stream_that_is_asked_for_is_read(tmp_path: Path) -> None:
    clip = clips.make(tmp_path / "two.mp4", 5, num_streams=2)
    for index, width in ((None, 320), (0, 320), (1, 160)):
        container, video = open_video(str(clip), index)
        assert video.width == width
        container.close()
    with pytest.raises(SourceError, match="its video streams are 0, 1"):
        open_video(str(clip), 7)


def test_time_stays_whole_numbers(made: dict[str, Path]) -> None:
    reader = VideoReader(str(made["vfr.mp4"]))
    times = []
    while (picture := reader.next()) is not None:
        assert isinstance(picture.pts, int)
        times.append(picture.pts * reader.time_base)
    reader.close()
    assert times == [Fraction(7 * k * k, 1000) for k in range(50)]
