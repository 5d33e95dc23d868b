"""Joined recordings in which FFmpeg stops: what was not read is told, and nothing is told of whole files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from plantain.deploy.cli.progress import describe_end, summary
from plantain.deploy.report.page import write_report
from plantain.operators.segments import Position
from plantain.operators.sources import open_source
from plantain.operators.streams import Sampling, StreamSpec
from tests.assets.clips import cut_off, hole, make, packet_by_packet, sound
from tests.field.runs import rows, run
from tests.field.test_recordings import VIEW

SIZES = {"h263": (176, 144)}
PIX_FMTS = {"mjpeg": "yuvj420p", "apng": "rgb24", "gif": "rgb8", "prores_ks": "yuv422p10le"}
MP4 = {
    "index last": {},
    "index first": {"movflags": "faststart"},
    "fragments": {"movflags": "frag_keyframe+empty_moov"},
    "hybrid": {"movflags": "hybrid_fragmented"},
    "dash": {"movflags": "dash+frag_keyframe"},
    "room before": {"moov_size": "60000"},
}
# (codec, container, options): FFmpeg does not go on to what is joined to these.
STOPPING: list[tuple[str, str, dict[str, str]]] = [
    *(("libx264", "mp4", options) for name, options in MP4.items()),
    ("prores_ks", "mov", {}),
    ("h263", "3gp", {}),
    ("libx264", "flv", {}),
    ("wmv2", "asf", {}),
    ("mpeg4", "nut", {}),
    ("libvpx", "ivf", {}),
    ("apng", "apng", {}),
    ("rv10", "rm", {}),
]
GOING_ON = [
    ("libx264", "mkv", {}),
    ("libx264", "mkv", {"reserve_index_space": "20000"}),
    ("libvpx", "webm", {}),
    ("libx264", "avi", {}),
    ("libx264", "ts", {}),
    ("libx264", "ts", {"muxrate": "2000000"}),
    ("libx264", "m2ts", {}),
    ("mpeg2video", "mpg", {}),
    ("mjpeg", "mjpeg", {}),
    ("libx264", "h264", {}),
    ("gif", "gif", {}),
]


def name_of(value: object) -> str:
    return "-".join(map(str, value.values())) if isinstance(value, dict) else str(value)


def clip(path: Path, length: int, codec: str, options: dict[str, str] | None = None, **more: Any) -> Path:
    return make(
        path, length, codec=codec, size=SIZES.get(codec, (64, 48)), pix_fmt=PIX_FMTS.get(codec, "yuv420p"),
        gop=6, b_frames=0, container_options=options, **more,
    )  # fmt: skip


def joined(tmp_path: Path, codec: str, container: str, options: dict[str, str]) -> tuple[Path, int]:
    """A recording of two parts, and how many bytes the second one has."""
    first = clip(tmp_path / f"p.{container}", 20, codec, options)
    second = clip(tmp_path / f"q.{container}", 12, codec, options)
    path = tmp_path / f"joined.{container}"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    return path, second.stat().st_size


def unread(path: Path, position: Position | None = None, kind: str = "file", **options: str) -> int:
    source = open_source(StreamSpec("s", str(path), kind, Sampling(), options), VIEW, position or Position())
    while not source.ended:
        source.read(7)
    source.close()
    return source.unread_bytes


@pytest.mark.parametrize(("codec", "container", "options"), STOPPING, ids=name_of)
def test_what_is_joined_and_not_read_is_told(
    tmp_path: Path, codec: str, container: str, options: dict[str, str]
) -> None:
    path, size = joined(tmp_path, codec, container, options)
    assert unread(path) == size
    assert unread(path, threads="3") == size
    assert unread(path, kind="parts", threads="3") == size
    times = packet_by_packet(path)
    assert unread(path, Position(15, times[15], 15)) == size
    assert unread(tmp_path / f"p.{container}") == 0


@pytest.mark.parametrize(("codec", "container", "options"), GOING_ON, ids=name_of)
def test_of_what_is_read_on_nothing_is_told(
    tmp_path: Path, codec: str, container: str, options: dict[str, str]
) -> None:
    path, _ = joined(tmp_path, codec, container, options)
    assert len(packet_by_packet(path)) == 32
    assert unread(path) == unread(tmp_path / f"p.{container}") == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [("mpeg2video", "libx264"), ("libx264", "mpeg4"), ("libx265", "mpeg2video"), ("mpeg4", "libx265")],
)
@pytest.mark.parametrize("threads", ["1", "3"])
def test_a_codec_that_changes_is_told(tmp_path: Path, first: str, second: str, threads: str) -> None:
    """FFmpeg decodes all of it as one of the two, with errors or silently."""
    one, two = (
        make(tmp_path / f"{codec}.ts", 90, codec=codec, size=(64, 48), gop=10) for codec in (first, second)
    )
    path = tmp_path / "a.ts"
    path.write_bytes(one.read_bytes() + two.read_bytes())
    smaller, larger = sorted(part.stat().st_size for part in (one, two))
    assert 0.5 * smaller < unread(path, threads=threads) < 1.1 * larger
    assert unread(one, threads=threads) == unread(two, threads=threads) == 0


def test_padding_indexes_sound_and_damage_are_no_loss(tmp_path: Path) -> None:
    whole = clip(tmp_path / "a.mp4", 20, "libx264")
    data = whole.read_bytes()
    free = struct.pack(">I4s", 300_000, b"free") + bytes(299_992)
    large = struct.pack(">I4sQ", 1, b"free", 80_016) + bytes(80_000)
    for name, more in {
        "free": free,
        "large": large,
        "to the end": struct.pack(">I4s", 0, b"mdat") + bytes(50_000),
        "zeros": bytes(100_000),
        "rubbish": bytes(range(256)) * 300,
        "meta": struct.pack(">I4s", 16, b"udta") + bytes(8),
    }.items():
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(data + more)
        assert unread(path) == 0, name
    for container, codec in (
        ("flv", "libx264"),
        ("nut", "mpeg4"),
        ("asf", "wmv2"),
        ("avi", "libx264"),
        ("ts", "libx264"),
    ):
        path = clip(tmp_path / f"a.{container}", 20, codec)
        path.write_bytes(path.read_bytes() + bytes(60_000))
        assert unread(path) == 0, container
    nulls = clip(tmp_path / "nulls.ts", 20, "libx264")
    nulls.write_bytes(nulls.read_bytes() + (b"G\x1f\xff\x10" + b"\xff" * 184) * 2000)
    assert unread(nulls) == 0
    mkv = clip(tmp_path / "a.mkv", 60, "libx264")
    assert unread(cut_off(mkv, tmp_path / "cut.mkv", 0.6)) == 0
    assert unread(hole(mkv, tmp_path / "hole.mkv", 0.5, 100)) == 0
    with_sound = tmp_path / "sound.mkv"
    with_sound.write_bytes(mkv.read_bytes() + sound(tmp_path / "a.wav").read_bytes())
    assert unread(with_sound) == 0


def test_a_run_tells_of_it_and_goes_on(tmp_path: Path) -> None:
    path, size = joined(tmp_path, "libx264", "mp4", {})
    outcome = run([path, tmp_path / "q.mp4"], tmp_path / "out")
    assert (outcome.exit_code, len(rows(tmp_path / "out", "joined"))) == (0, 20)
    stream, other = sorted(outcome.streams, key=lambda each: each.stream_id)
    assert (stream.unread_bytes, other.unread_bytes) == (size, 0)
    assert summary(stream)["unread_bytes"] == size
    told = describe_end(stream)
    assert f"{size:,} bytes" in told
    assert "ffmpeg -f concat" in told
    assert "bytes" not in describe_end(other)


def test_a_report_and_a_later_run_say_what_was_not_read(tmp_path: Path) -> None:
    path, size = joined(tmp_path, "libx264", "mp4", {})
    out = tmp_path / "out"
    run([path, tmp_path / "p.mp4"], out)
    page = write_report(out).read_text()
    assert f"<b>{size:,}</b><span>bytes of files not read" in page
    assert f"<th scope='row'>joined</th><td class='number'>{size:,}</td>" in page
    assert "split it" in page
    assert "<th scope='row'>p</th>" not in page
    again = run([path, tmp_path / "p.mp4"], out)
    assert {stream.stream_id: stream.unread_bytes for stream in again.streams} == {"joined": size, "p": 0}
    assert "bytes of files" not in write_report_of(tmp_path / "p.mp4", tmp_path / "whole")


def write_report_of(path: Path, out: Path) -> str:
    run([path], out)
    return write_report(out).read_text()
