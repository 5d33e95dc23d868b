"""Clips of every sort, whole and damaged, against a decode packet by packet."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

from plantain.operators.decode import scan
from plantain.operators.errors import NoVideoError, SourceError
from plantain.operators.segments import Position
from plantain.operators.sources import open_source
from plantain.operators.streams import StreamSpec, View
from plantain.operators.types import Frame
from tests.assets import clips
from tests.field.recordings import can

VIEW = View((112, 192))
SMALL = (96, 64)
FASTSTART = {"movflags": "faststart"}


def _h264(path: Path, **options: object) -> Path:
    """75 pictures in a container whose index comes first."""
    return clips.make(path, 75, size=(160, 96), container_options=FASTSTART, **options)  # type: ignore[arg-type]


def _damaged(damage: Callable[[Path, Path], Path], path: Path) -> Path:
    return damage(_h264(path.with_name(f"whole.{path.name}")), path)


def _flipped(source: Path, path: Path) -> Path:
    """Single bits in the middle are wrong, which no demuxer notices."""
    data = bytearray(source.read_bytes())
    for place in np.random.default_rng(7).integers(len(data) // 2, len(data), 40).tolist():
        data[place] ^= 1 << place % 8
    path.write_bytes(data)
    return path


def _mid_gop(path: Path) -> Path:
    """A transport stream that is joined in the middle, as a camera's is."""
    return clips.cut_front(clips.make(path.with_name(f"whole.{path.name}"), 75, gop=25), path, 0.4)


def _interlaced(path: Path) -> Path:
    """Each picture is woven out of two."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=25, options={"flags": "+ildct+ilme", "x264-params": "tff=1"}
        )
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for number in range(30):
            woven = clips.numbered(2 * number, 160, 96)
            woven[1::2] = clips.numbered(2 * number + 1, 160, 96)[1::2]
            frame = av.VideoFrame.from_ndarray(woven, format="rgb24").reformat(format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


MAKE: dict[str, Callable[[Path], Path]] = {
    "plain.mp4": partial(_h264, b_frames=0),
    "b_frames.mp4": _h264,
    "open_gop.mkv": partial(clips.make, num_frames=60, codec_options={"x264-params": "open-gop=1:keyint=12"}),
    "with_gap.mp4": partial(
        clips.make, num_frames=40, pts=[40 * k + (500 if k > 20 else k % 3) for k in range(40)]
    ),
    "10bits.mp4": partial(clips.make, num_frames=30, pix_fmt="yuv420p10le", size=SMALL),
    "odd_444.mp4": partial(clips.make, num_frames=25, pix_fmt="yuv444p", size=(121, 81)),
    "hevc.mp4": partial(clips.make, num_frames=20, codec="libx265", size=SMALL),
    "hevc_12bits.mkv": partial(clips.make, num_frames=12, codec="libx265", pix_fmt="yuv420p12le", size=SMALL),
    "vp8.webm": partial(clips.make, num_frames=20, codec="libvpx", b_frames=0, size=SMALL),
    "odd_vp9.webm": partial(clips.make, num_frames=20, codec="libvpx-vp9", b_frames=0, size=(121, 81)),
    "av1.mkv": partial(clips.make, num_frames=20, codec="libsvtav1", b_frames=0, size=SMALL),
    "mpeg1.mpg": partial(clips.make, num_frames=30, codec="mpeg1video", size=SMALL),
    "mpeg2.ts": partial(clips.make, num_frames=30, codec="mpeg2video", size=SMALL),
    "mpeg4.avi": partial(clips.make, num_frames=30, codec="mpeg4", b_frames=0, size=SMALL),
    "mjpeg.avi": partial(
        clips.make, num_frames=25, codec="mjpeg", pix_fmt="yuvj420p", b_frames=0, size=SMALL
    ),
    "interlaced.ts": _interlaced,
    "two_streams.mp4": partial(clips.make, num_frames=30, num_streams=2),
    "cut.mp4": partial(_damaged, partial(clips.cut_off, share=0.5)),
    "bitflips.mp4": partial(_damaged, _flipped),
    "hole.mp4": partial(_damaged, partial(clips.torn, picture=30, size=1500)),
    "mid_gop.ts": _mid_gop,
}
NO_VIDEO: dict[str, tuple[Callable[[Path], object], str]] = {
    "sound.wav": (clips.sound, "only audio"),
    "no_index.mp4": (
        lambda path: clips.cut_off(clips.make(path.with_name("whole.mp4")), path, 0.5),
        "not a video that can be read",
    ),
    "text.mp4": (lambda path: path.write_text("no film\n" * 500), "not a video that can be read"),
    "empty.mp4": (lambda path: path.touch(), "is empty"),
}
# Where a resumed reader may have to decode from the start: frames were lost before.
LOSSY = {"hole.mp4", "mid_gop.ts", "cut.mp4"}
# What stands in for damaged pixels differs from one decoder run to the next.
UNSTEADY = {"bitflips.mp4", "hole.mp4"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A clip by its name, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("clips")

    def get(name: str) -> Path:
        path = folder / name
        if not path.exists():
            recipe = MAKE[name]
            codec = recipe.keywords.get("codec", "libx264") if isinstance(recipe, partial) else "libx264"
            if not can(codec):
                pytest.skip(f"this build of PyAV has no encoder {codec}")
            recipe(path)
        return path

    return get


def read(
    path: Path, position: Position | None = None, num: int | None = None, **options: str
) -> tuple[list[Frame], int]:
    source = open_source(StreamSpec("s", str(path), options=options), VIEW, position or Position())
    frames: list[Frame] = []
    while not source.ended and (num is None or len(frames) < num):
        frames.extend(source.read(16 if num is None else min(16, num - len(frames))))
    source.close()
    return frames, source.num_damaged


def is_like_packet_by_packet(path: Path, threads: str) -> list[Frame]:
    """The frames of a file, which are those that PyAV gives when packets are decoded one by one."""
    frames, num_damaged = read(path, threads=threads)
    expected = clips.packet_by_packet(path)
    assert [frame.header.frame_index for frame in frames] == list(range(len(expected)))
    assert [frame.info.pts for frame in frames] == expected
    if path.name in ("hole.mp4", "cut.mp4"):
        assert num_damaged > 0
    elif path.name in MAKE and path.name not in UNSTEADY:
        assert num_damaged == 0
    return frames


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("name", MAKE)
def test_frames_are_those_of_a_decode_packet_by_packet(made, name: str, threads: str) -> None:
    frames = is_like_packet_by_packet(made(name), threads)
    assert frames
    assert any(frame.info.is_corrupt for frame in frames) == (name in ("bitflips.mp4", "hole.mp4"))


@pytest.mark.skipif(not clips.DATA.is_dir(), reason="the folder with clips of others is not here")
def test_clips_of_others_are_read_as_packet_by_packet() -> None:
    for path in sorted(file for folder in ("odd", "odd_made") for file in (clips.DATA / folder).iterdir()):
        with suppress(NoVideoError):
            is_like_packet_by_packet(path, "3")


@pytest.mark.parametrize("name", NO_VIDEO)
def test_what_is_no_video_is_refused_in_one_sentence_that_names_it(tmp_path: Path, name: str) -> None:
    make, why = NO_VIDEO[name]
    make(tmp_path / name)
    with pytest.raises(NoVideoError, match=why) as refusal:
        read(tmp_path / name)
    assert name in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("name", MAKE)
def test_a_resumed_reader_gives_the_frames_of_an_undisturbed_one(made, name: str, threads: str) -> None:
    path = made(name)
    whole, _ = read(path, threads=threads)
    for at in sorted({1, len(whole) // 3, len(whole) // 2, len(whole) - 1}):
        first = whole[at]
        for pts in (first.info.pts, None):
            rest, _ = read(path, Position(at, pts, at), 12, threads=threads)
            assert [frame.header for frame in rest] == [frame.header for frame in whole[at : at + 12]]
            assert [frame.info.pts for frame in rest] == [frame.info.pts for frame in whole[at : at + 12]]
            if name not in UNSTEADY:
                for again, once in zip(rest, whole[at:], strict=False):
                    np.testing.assert_array_equal(again.image, once.image)


@pytest.mark.parametrize("name", [name for name in MAKE if name not in LOSSY | UNSTEADY])
def test_the_parts_of_a_file_are_the_whole(made, name: str) -> None:
    path = made(name)
    whole, _ = read(path)
    frames: list[Frame] = []
    for part in scan(str(path)).ranges(3):
        options = {} if part.end is None else {"end_frame": str(part.end), "end_pts": str(part.end_pts)}
        if part.first < len(whole):
            frames.extend(read(path, Position(part.first, part.pts, part.first), 200, **options)[0])
    assert len(frames) == len(whole)
    for once, again in zip(whole, frames, strict=True):
        assert (once.header, once.info.pts) == (again.header, again.info.pts)
        np.testing.assert_array_equal(once.image, again.image)


def test_a_damaged_file_refuses_to_be_read_in_parts(made) -> None:
    path = made("hole.mp4")
    parts = scan(str(path)).ranges(3)
    assert len(parts) == 3

    def read_parts() -> None:
        for part in parts[:-1]:
            read(path, Position(part.first, part.pts), end_frame=str(part.end), end_pts=str(part.end_pts))

    with pytest.raises(SourceError, match="read it as a whole"):
        read_parts()


def test_a_stream_of_several_is_chosen_on_purpose(made) -> None:
    best, _ = read(made("two_streams.mp4"))
    other, _ = read(made("two_streams.mp4"), stream="1")
    assert best[0].info.fit.source_hw == (180, 320)
    assert other[0].info.fit.source_hw == (90, 160)


def test_the_range_that_a_file_states_decides_about_its_colours(tmp_path: Path) -> None:
    """The same samples, once said to be limited, as they are, and once full: paler then."""
    reds = []
    for number in (1, 2):  # limited, full
        path = tmp_path / f"{number}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            stream.codec_context.color_range = number
            picture = np.full((64, 64, 3), (255, 0, 0), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            samples = frame.reformat(format="yuv420p", dst_colorspace=5, src_color_range=2, dst_color_range=1)
            samples.color_range = number
            container.mux(stream.encode(samples))
            container.mux(stream.encode(None))
        (shown,), _ = read(path, num=1)
        reds.append(shown.info.fit.crop(shown.image)[30, 30].astype(int))
    assert np.abs(reds[0] - (255, 0, 0)).max() <= 4
    assert reds[1][0] < 245
    assert min(reds[1][1:]) > 5


def test_deinterlacing_smooths_the_comb_and_keeps_every_frame(made) -> None:
    woven, _ = read(made("interlaced.ts"), deinterlace="off")
    smooth, _ = read(made("interlaced.ts"))
    assert [frame.info.pts for frame in woven] == [frame.info.pts for frame in smooth]
    combs = [np.abs(np.diff(frame.image.astype(int), axis=0)).mean() for frame in (woven[9], smooth[9])]
    assert combs[1] < combs[0]


def test_capture_time_comes_from_the_container(tmp_path: Path, made) -> None:
    path = clips.make(tmp_path / "dated.mp4", 5, metadata={"creation_time": "2016-08-28T20:09:28Z"})
    frames, _ = read(path, num=3)
    assert [frame.info.captured_ns for frame in frames] == [
        1_472_414_968_000_000_000 + number * 40_000_000 for number in range(3)
    ]
    frames, _ = read(made("plain.mp4"), num=1)
    assert frames[0].info.captured_ns is None
